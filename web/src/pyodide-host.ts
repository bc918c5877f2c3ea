/** Loads Pyodide and the wheels of the site's own folder. Nothing is fetched from anywhere else. */

import { importBridge } from "./bridge.js";
import type { Bridge, PyodideLike } from "./bridge.js";
import { pyodideIndex } from "./platform.js";
import type { BootProgress } from "./protocol.js";

interface LoadedPyodide extends PyodideLike {
  loadPackage(name: string, options: { messageCallback: (message: string) => void }): Promise<unknown>;
}

interface PyodideModule {
  loadPyodide(options: { readonly indexURL: string }): Promise<LoadedPyodide>;
}

const STEPS = ["Python runtime", "packages", "resolver"] as const;

/** The steps that a whole boot has; the last is the client's own. */
export const BOOT_STEPS = STEPS.length + 1;

/** Boot from `pyodideUrl`, a folder's address that ends with a slash. */
export async function loadPyodideBridge(
  pyodideUrl: string,
  onProgress: (step: BootProgress) => void,
): Promise<Bridge> {
  const begin = (done: 0 | 1 | 2): void => {
    onProgress({ step: STEPS[done], done, total: BOOT_STEPS });
  };
  const folder = new URL(pyodideUrl);
  begin(0);
  const module = (await import(new URL("pyodide.mjs", folder).href)) as PyodideModule;
  const pyodide = await module.loadPyodide({ indexURL: await pyodideIndex(folder) });
  begin(1);
  await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
  begin(2);
  return importBridge(pyodide);
}
