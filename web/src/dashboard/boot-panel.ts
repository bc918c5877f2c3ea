/** Start-up: visible progress, and a readable reason when it does not come to an end. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { BootProgress } from "../protocol.js";
import { byId, element } from "./dom.js";
import { announce, clearError, showError } from "./notice.js";
import { findMissingFiles } from "./site-check.js";

/** Without progress for this long the page looks whether a file is missing. The slowest step takes 1 s, 3 s at times. */
const CHECK_MS = 5_000;
/** Without progress for this long the page says so, and goes on waiting. */
const STALL_MS = 30_000;

/** The smallest WebAssembly module: its magic number and version. */
const EMPTY_MODULE = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

const HINTS: Readonly<Record<string, string>> = {
  wasm_refused: "Serve this page with the Content-Security-Policy that `cra-wasm serve` sends.",
  boot_stalled: "A file may be loading slowly or not at all; the page goes on waiting. Look at the network view.",
};
const OTHER_HINT = "Check that the whole site was built and is served, the folder `pyodide/` included, then try again.";

/**
 * Call `start` and show how it goes. Resolves to undefined when it failed; the reason is on the page then, and stays
 * until the page is loaded again.
 */
export async function bootWith(
  start: (onProgress: (step: BootProgress) => void) => Promise<Cra>,
): Promise<Cra | undefined> {
  byId("boot-late", HTMLElement).remove();
  const problem = byId("boot-error", HTMLElement);
  const started_ms = performance.now();
  const watchdog = new Watchdog();
  try {
    refuseWithoutWasm();
    const booting = start((step) => {
      watchdog.reset();
      if (problem.hasChildNodes()) announce("Starting goes on");
      clearError(problem);
      showProgress(step);
    });
    const cra = await Promise.race([booting, watchdog.foundMissing]);
    byId("boot", HTMLElement).hidden = true;
    announce(`Runtime ready in ${((performance.now() - started_ms) / 1000).toFixed(1)} s`);
    return cra;
  } catch (cause) {
    byId("boot-progress", HTMLElement).hidden = true;
    // A missing file explains what it led to better than Pyodide's own words.
    fail(isAbout(cause, "boot_failed") ? ((await findMissingFiles()) ?? cause) : cause);
    return undefined;
  } finally {
    watchdog.stop();
  }
}

/** With a policy that lacks 'wasm-unsafe-eval', loading Pyodide never settles; compiling eight bytes fails at once. */
function refuseWithoutWasm(): void {
  try {
    new WebAssembly.Module(EMPTY_MODULE);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CraError("wasm_refused", `this browser does not let the page compile WebAssembly: ${reason}`);
  }
}

function showProgress(step: BootProgress): void {
  const bar = byId("boot-progress", HTMLProgressElement);
  bar.max = step.total;
  bar.value = step.done;
  byId("boot-step", HTMLElement).textContent = `${step.step} (${step.done} of ${step.total})`;
}

function fail(cause: unknown, title = "The runtime could not start"): void {
  const place = byId("boot-error", HTMLElement);
  showError(place, title, cause);
  const retry = element("button", { type: "button" }, "Try again");
  retry.addEventListener("click", () => {
    location.reload();
  });
  const hint = cause instanceof CraError ? HINTS[cause.code] : undefined;
  place.firstElementChild?.append(element("p", {}, hint ?? OTHER_HINT), retry);
  announce(title, "bad");
}

function isAbout(cause: unknown, code: string): boolean {
  return cause instanceof CraError && cause.code === code;
}

/** Counts from the last progress: first looks for a missing file, later says that nothing happens. */
class Watchdog {
  /** Rejects with `file_missing`; never settles otherwise. */
  readonly foundMissing: Promise<never>;
  #report: (cause: CraError) => void = () => undefined;
  #timers: readonly number[] = [];

  constructor() {
    this.foundMissing = new Promise((_, reject) => {
      this.#report = reject;
    });
    // Nobody may be listening any more when it comes.
    this.foundMissing.catch(() => undefined);
    this.reset();
  }

  reset(): void {
    this.stop();
    const look = async (): Promise<void> => {
      const missing = await findMissingFiles();
      if (missing !== undefined) this.#report(missing);
    };
    const tell = (): void => {
      const cause = new CraError("boot_stalled", `no progress for ${STALL_MS / 1000} seconds`);
      fail(cause, "The runtime has not started yet");
    };
    this.#timers = [window.setTimeout(() => void look(), CHECK_MS), window.setTimeout(tell, STALL_MS)];
  }

  stop(): void {
    for (const timer of this.#timers) window.clearTimeout(timer);
  }
}
