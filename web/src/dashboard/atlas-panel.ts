/** Step 1: load an example atlas, or a chosen or dropped file; list what is loaded. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { AtlasSummary } from "../model.js";
import { type AtlasBook, simulatedResult } from "./atlas-book.js";
import { byId, element, onClick, whileBusy } from "./dom.js";
import { compactJson, plural } from "./format.js";
import { announce, guarded } from "./notice.js";

/** The runtime has its own limits; this one keeps a wrongly chosen film from being read into memory as text. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** "PK", with which no JSON text begins. */
const ZIP_START = [0x50, 0x4b];

const EXAMPLES = [
  { file: "customer-support.atlas.json", label: "Customer support with refunds" },
  { file: "data-analytics.atlas.json", label: "Data analytics over SQL" },
  { file: "browser-operator.atlas.json", label: "Browser operator" },
] as const;

export interface AtlasEvents {
  /** An atlas was loaded; `goal` is one that suits it, where its author names one. */
  readonly onLoaded: (goal: string | undefined) => void;
  readonly onUnloaded: () => void;
}

export class AtlasPanel {
  readonly #error = byId("atlas-error", HTMLElement);
  readonly #list = byId("atlas-list", HTMLElement);
  readonly #cra: Cra;
  readonly #book: AtlasBook;
  readonly #events: AtlasEvents;

  constructor(cra: Cra, book: AtlasBook, events: AtlasEvents) {
    this.#cra = cra;
    this.#book = book;
    this.#events = events;
    const select = byId("atlas-example", HTMLSelectElement);
    select.append(...EXAMPLES.map((example) => element("option", { value: example.file }, example.label)));
    const load = byId("atlas-load", HTMLButtonElement);
    byId("atlas-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      void whileBusy(load, () => this.#loadExample(select.value));
    });
    this.#acceptFiles();
  }

  #acceptFiles(): void {
    const input = byId("atlas-file", HTMLInputElement);
    const zone = byId("atlas-drop", HTMLElement);
    input.addEventListener("change", () => {
      const file = input.files?.item(0);
      // Emptied, so that the same file can be chosen again once it is mended.
      if (file) void this.#loadFile(file).finally(() => (input.value = ""));
    });
    // The whole page takes the drop: a file that misses the zone would otherwise replace the page.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.dataset["over"] = "true";
    });
    document.addEventListener("dragleave", () => delete zone.dataset["over"]);
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      delete zone.dataset["over"];
      const file = event.dataTransfer?.files.item(0);
      if (file) void this.#loadFile(file);
    });
  }

  async #loadExample(name: string): Promise<void> {
    await guarded(this.#error, `Could not load ${name}`, async () => {
      const answer = await fetch(`examples/${name}`);
      if (!answer.ok) throw new CraError("not_found", `the server answered ${answer.status} for \`examples/${name}\``);
      await this.#load(await answer.text());
    });
  }

  async #loadFile(file: File): Promise<void> {
    await guarded(this.#error, `Could not load ${file.name}`, async () => {
      if (file.size > MAX_FILE_BYTES) {
        throw new CraError("file_too_large", `the file has ${file.size} bytes, more than ${MAX_FILE_BYTES}`);
      }
      await this.#load(await readAtlas(file));
    });
  }

  async #load(source: string | Uint8Array): Promise<void> {
    const summary = await this.#cra.loadAtlas(source);
    const { actions, goal } = this.#book.add(summary.atlas_id, await this.#cra.getAtlas(summary.atlas_id));
    await Promise.all(
      actions.map((action) =>
        this.#cra.registerExecutor(action.actionId, (parameters) =>
          Promise.resolve(simulatedResult(action, parameters)),
        ),
      ),
    );
    this.#list.append(this.#row(summary));
    announce(`Loaded ${summary.name}: ${plural(summary.actions, "action")}`);
    this.#events.onLoaded(goal);
  }

  #row(summary: AtlasSummary): HTMLElement {
    const counts = [
      plural(summary.actions, "action"),
      plural(summary.policies, "policy", "policies"),
      plural(summary.context_blocks, "context block"),
      ...(summary.context_packs > 0 ? [plural(summary.context_packs, "context pack")] : []),
    ].join(", ");
    const unload = element("button", { type: "button", class: "compact", "aria-label": `Unload ${summary.name}` }, "Unload");
    const row = element(
      "li",
      {},
      element(
        "div",
        {},
        element("strong", {}, summary.name),
        element("p", { class: "quiet small" }, element("code", {}, `${summary.atlas_id} ${summary.version}`), ` · ${counts}`),
      ),
      unload,
    );
    if (summary.warnings.length > 0) {
      const warnings = summary.warnings.map((warning) => element("li", {}, compactJson(warning)));
      row.append(element("ul", { class: "warnings", "aria-label": "Warnings" }, ...warnings));
    }
    onClick(unload, () => this.#unload(summary, row));
    return row;
  }

  async #unload(summary: AtlasSummary, row: HTMLElement): Promise<void> {
    await guarded(this.#error, `Could not unload ${summary.name}`, async () => {
      await this.#cra.unloadAtlas(summary.atlas_id);
      const actions = this.#book.remove(summary.atlas_id);
      await Promise.all(actions.map((action) => this.#cra.unregisterExecutor(action.actionId)));
      row.remove();
      byId("atlas-example", HTMLSelectElement).focus();
      announce(`Unloaded ${summary.name}`);
      this.#events.onUnloaded();
    });
  }
}

/**
 * The bytes of a zip, whatever its name; else text that must be UTF-8: replacement characters would load an atlas that
 * nobody wrote.
 */
async function readAtlas(file: File): Promise<string | Uint8Array> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (ZIP_START.every((byte, index) => bytes[index] === byte)) return bytes;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw CraError.from(cause, "invalid_encoding");
  }
}
