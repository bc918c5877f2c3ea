/** All that differs between a browser and Node, in one place. The same bundles load in both. */

import type { Worker as NodeWorker } from "node:worker_threads";

import { CraError, messageOf } from "./errors.js";
import type { AliveMessage, ConnectMessage, StorageKind } from "./protocol.js";

/** True in Node's main thread and in its worker threads. */
export const isNode: boolean = typeof process === "object" && typeof process.versions.node === "string";

export const defaultStorage: StorageKind = isNode ? "file" : "indexeddb";

/** Let what waits in this thread's event loop run: messages, and answers of a store. A timer would sleep 4 ms in browsers. */
export const nextTask: () => Promise<void> = isNode ? nextImmediate : nextMessage;

function nextImmediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function nextMessage(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** A started worker, before its channels are connected. */
export interface WorkerHandle {
  /** Hand over the worker's channels; the only message on its own port. */
  connect(message: Omit<ConnectMessage, "life">): void;
  /** Call `listener` when the worker's script cannot run (any more); at once when that is known already. */
  onDeath(listener: (error: CraError) => void): void;
  terminate(): Promise<void>;
}

/**
 * Start a module worker. A script that cannot be loaded is told by onDeath. Rejects with `boot_failed` where the platform
 * starts none from there, as Node does from http and a page from another origin.
 */
export async function startWorker(url: URL, name: string): Promise<WorkerHandle> {
  try {
    return isNode ? await startNodeWorker(url, name) : startBrowserWorker(url, name);
  } catch (cause) {
    throw new CraError("boot_failed", `the ${name} cannot be started: ${messageOf(cause)}`, { url: url.href });
  }
}

async function startNodeWorker(url: URL, name: string): Promise<WorkerHandle> {
  const threads = await import("node:worker_threads");
  const worker: NodeWorker = new threads.Worker(url, { name });
  const death = new Death(name);
  worker.on("error", (cause) => {
    death.tell(messageOf(cause));
  });
  worker.on("exit", () => {
    death.tell("it ended");
  });
  return {
    connect: (message) => {
      const whole: ConnectMessage = { ...message, life: "" };
      worker.postMessage(whole, [message.control, message.traces] as unknown as never[]);
    },
    onDeath: (listener) => {
      death.listen(listener);
    },
    terminate: async () => {
      await worker.terminate();
    },
  };
}

function startBrowserWorker(url: URL, name: string): WorkerHandle {
  const worker = new Worker(url, { type: "module", name });
  const death = new Death(name);
  worker.addEventListener("error", (event) => {
    death.tell(event.message || `\`${url.pathname}\` could not be loaded`);
  });
  // Browsers tell nobody when a worker is ended or runs out of memory, and Chromium 156 fires no `close` on its ports
  // then. But they free its locks: the worker holds one, and whoever waits for that gets it when the worker is gone.
  const life = `cra-wasm worker ${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  worker.addEventListener("message", () => {
    void navigator.locks.request(life, () => {
      death.tell("it ended");
    });
  });
  return {
    connect: (message) => {
      const whole: ConnectMessage = { ...message, life };
      worker.postMessage(whole, [message.control, message.traces]);
    },
    onDeath: (listener) => {
      death.listen(listener);
    },
    terminate: () => {
      worker.terminate();
      return Promise.resolve();
    },
  };
}

/** Remembers how a worker died, for listeners that come later: a script that cannot be loaded dies before its first. */
class Death {
  readonly #name: string;
  readonly #listeners: ((error: CraError) => void)[] = [];
  #error: CraError | null = null;

  constructor(name: string) {
    this.#name = name;
  }

  tell(why: string): void {
    if (this.#error !== null) return;
    this.#error = new CraError("worker_dead", `the ${this.#name} is gone: ${why}`);
    for (const listener of this.#listeners) listener(this.#error);
  }

  listen(listener: (error: CraError) => void): void {
    if (this.#error === null) this.#listeners.push(listener);
    else listener(this.#error);
  }
}

/** Inside a worker: wait for its channels. Must run before the script's first turn ends, or the message is lost. */
export async function receiveChannels(): Promise<ConnectMessage> {
  if (isNode) {
    const { parentPort } = await import("node:worker_threads");
    return new Promise((resolve) => parentPort?.once("message", resolve));
  }
  const message = await new Promise<ConnectMessage>((resolve) => {
    globalThis.addEventListener(
      "message",
      (event: MessageEvent<ConnectMessage>) => {
        resolve(event.data);
      },
      { once: true },
    );
  });
  holdForLife(message.life);
  return message;
}

/** Hold the worker's lock until its end. Pages that are not served securely have no locks; there deadlines remain. */
function holdForLife(life: string): void {
  if (!("locks" in navigator)) return;
  void navigator.locks.request(life, () => {
    const alive: AliveMessage = { kind: "alive" };
    (globalThis as unknown as { postMessage(message: AliveMessage): void }).postMessage(alive);
    return new Promise<never>(() => undefined);
  });
}

/**
 * Return `base` as the URL of a folder. Relative ones are meant from the page, or from Node's working directory. Rejects
 * with `invalid_arguments` where it is none.
 */
export async function folderUrl(base: string | URL): Promise<URL> {
  const text = base instanceof URL ? base.href : base;
  try {
    const url = await absoluteUrl(text);
    // Not from `data:` and the like.
    return new URL(".", url);
  } catch {
    const message = `\`${text.slice(0, SHOWN_ADDRESS_CHARS)}\` is no folder's address: give that of the site, with lib/ in it`;
    throw new CraError("invalid_arguments", message, { pointer: "/baseUrl" });
  }
}

const SHOWN_ADDRESS_CHARS = 200;

async function absoluteUrl(text: string): Promise<URL> {
  const folder = text.endsWith("/") ? text : `${text}/`;
  if (!isNode) return new URL(folder, globalThis.location.href);
  if (/^[a-z][a-z0-9+.-]+:/i.test(folder)) return new URL(folder);
  const { pathToFileURL } = await import("node:url");
  return pathToFileURL(folder);
}

/** Return what loadPyodide takes as `indexURL`: a path in Node, an address in browsers. */
export async function pyodideIndex(folder: URL): Promise<string> {
  if (folder.protocol !== "file:") return folder.href;
  const { fileURLToPath } = await import("node:url");
  return fileURLToPath(folder);
}
