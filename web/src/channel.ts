/**
 * Calls over a MessagePort. Both ends may ask, every request is answered, every call has a deadline.
 *
 * Comlink was rejected: with it a call on a dead worker waits for ever, and errors cross without their codes.
 */

import { CraError, messageOf } from "./errors.js";
import type { ErrorBody, Message, Method, RequestMessage } from "./protocol.js";

type Methods<M> = { readonly [K in keyof M]: Method };

/** What one end answers, by method. */
export type Handlers<M extends Methods<M>> = {
  readonly [K in keyof M]: (params: M[K]["params"]) => Answer<M[K]["result"]> | Promise<Answer<M[K]["result"]>>;
};

type Answer<T> = T | Reply<T>;

/** What one end does with the other's notes, by topic. */
export type NoteHandlers<N> = { readonly [K in keyof N]: (body: N[K]) => void };

/** No methods, or no notes, in one direction. */
export type None = object;

/** A result whose buffers are handed over instead of copied. */
export class Reply<T> {
  readonly result: T;
  readonly transfer: readonly Transferable[];

  constructor(result: T, transfer: readonly ArrayBufferLike[]) {
    this.result = result;
    this.transfer = transfer as readonly ArrayBuffer[];
  }
}

interface PendingCall {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CraError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Anything that is called with a value it has to check itself. */
type Untyped = (value: unknown) => unknown;

/** Names of the other end, for messages. */
export interface ChannelOptions<Local extends Methods<Local>, NotesIn> {
  readonly peer: string;
  readonly handlers: Handlers<Local>;
  readonly notes: NoteHandlers<NotesIn>;
}

/** One end of a channel: `Remote` are the methods that the other end answers, `Local` those that this end does. */
export class Channel<
  Remote extends Methods<Remote>,
  Local extends Methods<Local> = None,
  NotesIn = None,
  NotesOut = None,
> {
  readonly #port: MessagePort;
  readonly #peer: string;
  readonly #handlers: ReadonlyMap<string, Untyped>;
  readonly #notes: ReadonlyMap<string, Untyped>;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 1;
  #failure: CraError | null = null;
  #onFailure: ((error: CraError) => void)[] = [];

  constructor(port: MessagePort, options: ChannelOptions<Local, NotesIn>) {
    this.#port = port;
    this.#peer = options.peer;
    this.#handlers = new Map(Object.entries(options.handlers) as [string, Untyped][]);
    this.#notes = new Map(Object.entries(options.notes) as [string, Untyped][]);
    port.addEventListener("message", (event: MessageEvent<Message>) => {
      this.#receive(event.data);
    });
    port.addEventListener("messageerror", () => {
      this.fail(new CraError("worker_failed", `a message of the ${this.#peer} could not be read`));
    });
    // Fired when the other end's thread is gone, in Node; in browsers platform.ts finds that out by a lock.
    port.addEventListener("close", () => {
      this.fail(new CraError("worker_dead", `the ${this.#peer} is gone, start a new one`));
    });
    port.start();
  }

  /** Why this channel takes no calls any more, or null while it does. */
  get failure(): CraError | null {
    return this.#failure;
  }

  /** Call `listener` once when the channel fails; at once if it already has. */
  onFailure(listener: (error: CraError) => void): void {
    if (this.#failure === null) this.#onFailure.push(listener);
    else listener(this.#failure);
  }

  /** Ask the other end; `transfer` is handed over. Rejects with its error, with `deadline_exceeded`, or with what the channel failed of. */
  call<K extends keyof Remote & string>(
    method: K,
    params: Remote[K]["params"],
    deadlineMs: number,
    transfer: readonly Transferable[] = [],
  ): Promise<Remote[K]["result"]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise<Remote[K]["result"]>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        const details = { method, deadline_ms: deadlineMs };
        reject(new CraError("deadline_exceeded", `no answer to ${method} from the ${this.#peer} in ${deadlineMs} ms`, details));
      }, deadlineMs);
      this.#pending.set(id, { resolve, reject, timer });
      try {
        this.#post({ kind: "request", id, method, params }, transfer);
      } catch (cause) {
        this.#settle(id)?.reject(CraError.from(cause, "uncloneable_arguments"));
      }
    });
  }

  /** Tell the other end something that needs no answer. */
  note<K extends keyof NotesOut & string>(topic: K, body: NotesOut[K]): void {
    if (this.#failure === null) this.#post({ kind: "note", topic, body }, []);
  }

  /** Reject every pending call and all later ones with `error`. Only the first failure counts. */
  fail(error: CraError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(error);
    this.#port.close();
    const listeners = this.#onFailure;
    this.#onFailure = [];
    for (const listener of listeners) listener(error);
  }

  /** End the channel from this side; the other one hears that this end is gone. */
  close(): void {
    this.fail(new CraError("closed", `the channel to the ${this.#peer} was closed`));
  }

  #post(message: Message, transfer: readonly Transferable[]): void {
    this.#port.postMessage(message, [...transfer]);
  }

  #settle(id: number): PendingCall | undefined {
    const call = this.#pending.get(id);
    if (call !== undefined) clearTimeout(call.timer);
    this.#pending.delete(id);
    return call;
  }

  #receive(message: Message): void {
    if (message.kind === "request") void this.#answer(message);
    else if (message.kind === "note") this.#notes.get(message.topic)?.(message.body);
    else {
      // A reply after its deadline finds no call: it was rejected already.
      const call = this.#settle(message.id);
      if (message.error === undefined) call?.resolve(message.result);
      else call?.reject(CraError.fromBody(message.error));
    }
  }

  async #answer(request: RequestMessage): Promise<void> {
    const { id, method, params } = request;
    try {
      const handler = this.#handlers.get(method);
      if (handler === undefined) throw new CraError("unknown_method", `no method \`${method}\` here`);
      const answer = await handler(params);
      if (this.#failure !== null) return;
      if (answer instanceof Reply) this.#post({ kind: "reply", id, result: answer.result }, answer.transfer);
      else this.#post({ kind: "reply", id, result: answer }, []);
    } catch (cause) {
      if (this.#failure === null) this.#post({ kind: "reply", id, error: errorBody(cause) }, []);
    }
  }
}

/** What can cross of anything that was thrown: an executor is the host's, and a reply that cannot be sent is none. */
function errorBody(thrown: unknown): ErrorBody {
  const cause = CraError.from(thrown, "worker_failed");
  const details = thrown instanceof CraError ? cloneOf(cause.details) : {};
  const message = typeof (cause.message as unknown) === "string" ? cause.message : messageOf(cause);
  return { code: cause.code, message, details };
}

function cloneOf(details: unknown): ErrorBody["details"] {
  try {
    return { ...(structuredClone(details) as ErrorBody["details"] | null) };
  } catch {
    return {};
  }
}
