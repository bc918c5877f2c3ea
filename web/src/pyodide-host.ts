/** Loads Pyodide and the wheels of the site's own folder. Nothing is fetched from anywhere else. */

import { importBridge } from "./bridge.js";
import type { PyodideLike } from "./bridge.js";
import { CraError, messageOf } from "./errors.js";
import { pyodideIndex } from "./platform.js";
import type { BootProgress } from "./protocol.js";
import type { LoadedBridge } from "./resolver-host.js";

export interface LoadedPyodide extends PyodideLike {
  readonly version: string;
  loadPackage(name: string, options: PackageOptions): Promise<unknown>;
}

interface PackageOptions {
  readonly messageCallback: (message: string) => void;
  readonly errorCallback?: (message: string) => void;
}

interface PyodideModule {
  loadPyodide(options: { readonly indexURL: string }): Promise<LoadedPyodide>;
}

/** The steps of a whole boot, in order; the client takes the first itself. */
const BOOT_STEPS: readonly string[] = ["trace store", "Python runtime", "packages", "resolver"];

/** Return the progress at the start of step `done`; after the last step it is "ready". */
export function bootProgress(done: number): BootProgress {
  return { step: BOOT_STEPS[done] ?? "ready", done, total: BOOT_STEPS.length };
}

/** Boot from `pyodideUrl`, a folder's address that ends with a slash. */
export async function loadPyodideBridge(
  pyodideUrl: string,
  onProgress: (step: BootProgress) => void,
): Promise<LoadedBridge> {
  const pyodide = await loadPyodideWithWheels(pyodideUrl, onProgress);
  onProgress(bootProgress(3));
  return { bridge: importBridge(pyodide), loadPackage: (name) => loadPackage(pyodide, name) };
}

/** Load Pyodide with cra-wasm and what it needs, and nothing of it imported yet. */
export async function loadPyodideWithWheels(
  pyodideUrl: string,
  onProgress: (step: BootProgress) => void = () => undefined,
): Promise<LoadedPyodide> {
  const folder = new URL(pyodideUrl);
  onProgress(bootProgress(1));
  const module = (await import(new URL("pyodide.mjs", folder).href)) as PyodideModule;
  const pyodide = await module.loadPyodide({ indexURL: await pyodideIndex(folder) });
  onProgress(bootProgress(2));
  await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
  return pyodide;
}

async function loadPackage(pyodide: LoadedPyodide, name: string): Promise<void> {
  const errors: string[] = [];
  await pyodide.loadPackage(name, {
    messageCallback: () => undefined,
    errorCallback: (message) => errors.push(message),
  });
  try {
    // A wheel that could not be fetched is told to the callback only.
    (pyodide.pyimport(name) as { destroy(): void }).destroy();
  } catch (cause) {
    throw new CraError("boot_failed", [...errors, messageOf(cause)].join("\n"));
  }
}
