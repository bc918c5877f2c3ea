/** Step 4: the shown session's events as they are recorded, with a badge from a real verification. */

import type { TraceAccess } from "../api.js";
import { CraError } from "../errors.js";
import type { TraceEvent, VerifyResult } from "../model.js";
import { byId, element, onClick } from "./dom.js";
import { plural, shortHash, shortId } from "./format.js";
import { announce, clearError, guarded, showError } from "./notice.js";
import { eventRow } from "./trace-row.js";

/** A table of more rows gets slow; the export has them all. */
const MAX_ROWS = 500;

/** Within this of its end, the list follows what is recorded. */
const NEAR_END_PX = 40;

export class TracePanel {
  readonly #badge = byId("trace-badge", HTMLElement);
  readonly #body = byId("trace-body", HTMLElement);
  readonly #error = byId("trace-error", HTMLElement);
  readonly #scroll = byId("trace-scroll", HTMLElement);
  readonly #verifyButton = byId("trace-verify", HTMLButtonElement);
  readonly #exportButton = byId("trace-export", HTMLButtonElement);
  readonly #checkpointsButton = byId("trace-checkpoints", HTMLButtonElement);
  readonly #cra: TraceAccess;
  readonly #onVerified: (sessionId: string, result: VerifyResult) => void;
  #sessionId: string | undefined;
  #nextSequence = 0;
  /** Whether the list stays at its end: until a person scrolls away from it, and again when they come back. */
  #following = true;
  /** Where the list stood at the last scroll. */
  #scrolledTo = 0;
  /** Refreshes run one after the other, so rows are never added twice. */
  #queue: Promise<void> = Promise.resolve();

  constructor(cra: TraceAccess, onVerified: (sessionId: string, result: VerifyResult) => void) {
    this.#cra = cra;
    this.#onVerified = onVerified;
    this.#scroll.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
      // The event comes late: rows may have been added since. Only a move upwards is a person's wish to stay.
      if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) this.#following = true;
      else if (scrollTop < this.#scrolledTo) this.#following = false;
      this.#scrolledTo = scrollTop;
    });
    // The panel shrinks when a session joins the list beneath it, and no scroll tells that.
    new ResizeObserver(() => {
      this.#follow();
    }).observe(this.#scroll);
    onClick(this.#verifyButton, () => this.#verifyAloud());
    onClick(this.#exportButton, () => this.#export());
    onClick(this.#checkpointsButton, () => this.#exportCheckpoints());
  }

  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** Show the session, or what it gained since it was last shown, and verify it. */
  show(sessionId: string): Promise<void> {
    if (sessionId !== this.#sessionId) {
      this.#sessionId = sessionId;
      this.#nextSequence = 0;
      this.#following = true;
      this.#body.replaceChildren();
      this.#setBadge("none", "reading");
      this.#verifyButton.disabled = false;
      this.#exportButton.disabled = false;
      this.#checkpointsButton.disabled = false;
    }
    this.#queue = this.#queue.then(() => this.#refresh(sessionId));
    return this.#queue;
  }

  async #refresh(sessionId: string): Promise<void> {
    if (sessionId !== this.#sessionId) return;
    clearError(this.#error);
    try {
      await this.#cra.flush();
    } catch (cause) {
      // What could not join its chain is told, and what is stored is shown all the same.
      showError(this.#error, "Some events could not be stored", cause);
    }
    try {
      await this.#appendNew(sessionId);
      await this.#verify(sessionId);
    } catch (cause) {
      showError(this.#error, "Could not read the trace", cause);
      this.#setBadge("bad", cause instanceof CraError ? cause.code : "unreadable");
    }
  }

  async #appendNew(sessionId: string): Promise<void> {
    const rows: HTMLElement[] = [];
    let last: TraceEvent | undefined;
    for await (const event of this.#cra.traces(sessionId)) {
      if (sessionId !== this.#sessionId) return;
      last = event;
      if (event.sequence < this.#nextSequence) continue;
      rows.push(eventRow(event));
      if (rows.length > MAX_ROWS) rows.shift();
    }
    if (last === undefined) return;
    this.#nextSequence = last.sequence + 1;
    this.#body.append(...rows);
    this.#trim();
    byId("trace-empty", HTMLElement).hidden = true;
    this.#follow();
  }

  #follow(): void {
    if (this.#following) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #trim(): void {
    const rows = this.#body.querySelectorAll("tr.event");
    for (let index = 0; index < rows.length - MAX_ROWS; index += 1) {
      const row = rows.item(index);
      if (row.nextElementSibling?.classList.contains("detail") === true) row.nextElementSibling.remove();
      row.remove();
    }
  }

  async #verify(sessionId: string): Promise<VerifyResult> {
    const result = await this.#cra.verify(sessionId);
    if (sessionId === this.#sessionId) this.#showResult(sessionId, result);
    this.#onVerified(sessionId, result);
    return result;
  }

  #showResult(sessionId: string, result: VerifyResult): void {
    this.#setBadge(result.valid ? "good" : "bad", verdictWords(result));
    for (const row of this.#body.querySelectorAll<HTMLElement>("tr.event")) {
      row.classList.toggle("broken", result.error_at !== null && row.dataset["sequence"] === String(result.error_at));
    }
    const hidden = result.events - MAX_ROWS;
    const facts = [
      result.algorithm ?? "",
      result.strength === "chain" ? "" : `${result.strength}, ${result.covered} of ${result.events} events covered`,
      result.warnings.includes("truncated") ? "still open" : "",
      hidden > 0 ? `newest ${MAX_ROWS} shown, the export has all` : "",
      ...result.warnings.filter((warning) => warning !== "truncated"),
    ].filter((fact) => fact !== "");
    byId("trace-session", HTMLElement).replaceChildren(
      "session ",
      element("code", { title: sessionId }, shortId(sessionId)),
      ...(result.head === null ? [] : [" · head ", element("code", { title: result.head }, shortHash(result.head))]),
      ...facts.map((fact) => ` · ${fact}`),
    );
  }

  async #verifyAloud(): Promise<void> {
    const sessionId = this.#sessionId;
    if (sessionId === undefined) return;
    this.#setBadge("none", "verifying");
    const done = await guarded(this.#error, "Could not verify the trace", async () => {
      const result = await this.#verify(sessionId);
      announce(`Verified: ${verdictWords(result)}`, result.valid ? "good" : "bad");
    });
    if (!done) this.#setBadge("bad", "not verified");
  }

  async #export(): Promise<void> {
    const sessionId = this.#sessionId;
    if (sessionId === undefined) return;
    await guarded(this.#error, "Could not export the trace", async () => {
      const bytes = await this.#cra.exportJsonl(sessionId);
      const name = `${sessionId}.trace.jsonl`;
      download(name, new Blob([bytes], { type: "application/vnd.cra.trace+jsonl" }));
      announce(`Exported ${name}, ${plural(bytes.length, "byte")}`);
    });
  }

  /** The file that `cra-wasm verify` looks for beside the trace. */
  async #exportCheckpoints(): Promise<void> {
    const sessionId = this.#sessionId;
    if (sessionId === undefined) return;
    await guarded(this.#error, "Could not export the checkpoints", async () => {
      const lines = await this.#cra.checkpoints(sessionId);
      if (lines.length === 0) {
        announce("No checkpoint yet: the session is signed at its end at the latest");
        return;
      }
      const name = `${sessionId}.checkpoints.jsonl`;
      download(name, new Blob([`${lines.join("\n")}\n`], { type: "application/jsonl" }));
      announce(`Exported ${name}, ${plural(lines.length, "checkpoint")}`);
    });
  }

  #setBadge(state: "none" | "good" | "bad", text: string): void {
    this.#badge.dataset["state"] = state;
    this.#badge.textContent = text;
  }
}

function download(name: string, content: Blob): void {
  const address = URL.createObjectURL(content);
  element("a", { href: address, download: name }).click();
  // The download reads the address later than the click returns.
  window.setTimeout(() => {
    URL.revokeObjectURL(address);
  }, 60_000);
}

/** What a verification found, as the badge says it. */
export function verdictWords(result: VerifyResult): string {
  if (result.valid) return `valid · ${plural(result.events, "event")}`;
  return `${result.error ?? "invalid"} at event ${result.error_at ?? "?"}`;
}
