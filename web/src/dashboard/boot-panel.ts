/** Start-up: visible progress, and a readable reason when it does not come to an end. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { BootProgress } from "../protocol.js";
import { byId, element } from "./dom.js";
import { announce, clearError, showError } from "./notice.js";

/** Without progress for this long the page says so. The slowest step, loading the core, took 3 s on slow machines. */
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
  const panel = byId("boot", HTMLElement);
  const problem = byId("boot-error", HTMLElement);
  const started_ms = performance.now();
  const watchdog = new Watchdog(() => {
    fail(new CraError("boot_stalled", `no progress for ${STALL_MS / 1000} seconds`));
  });
  try {
    refuseWithoutWasm();
    const cra = await start((step) => {
      watchdog.reset();
      clearError(problem);
      showProgress(step);
    });
    panel.hidden = true;
    announce(`Runtime ready in ${((performance.now() - started_ms) / 1000).toFixed(1)} s`);
    return cra;
  } catch (cause) {
    byId("boot-progress", HTMLElement).hidden = true;
    fail(cause);
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

function fail(cause: unknown): void {
  const place = byId("boot-error", HTMLElement);
  showError(place, "The runtime could not start", cause);
  const code = cause instanceof CraError ? cause.code : "";
  const retry = element("button", { type: "button" }, "Try again");
  retry.addEventListener("click", () => {
    location.reload();
  });
  place.firstElementChild?.append(element("p", {}, HINTS[code] ?? OTHER_HINT), retry);
  announce("The runtime could not start", "bad");
}

/** Calls back once when it was not reset for STALL_MS. */
class Watchdog {
  #timer: number | undefined;
  readonly #onStall: () => void;

  constructor(onStall: () => void) {
    this.#onStall = onStall;
    this.reset();
  }

  reset(): void {
    this.stop();
    this.#timer = window.setTimeout(this.#onStall, STALL_MS);
  }

  stop(): void {
    window.clearTimeout(this.#timer);
  }
}
