/** Every session that this browser has stored, of this load and earlier ones, of this tab and others. */

import type { TraceAccess } from "../api.js";
import type { SessionHead, TraceEvent, VerifyResult } from "../model.js";
import { byId, element, onClick } from "./dom.js";
import { dayAndTime, plural, shortId } from "./format.js";
import { announce, guarded } from "./notice.js";
import { verdictWords } from "./trace-panel.js";

/** Older ones come on demand: each row reads one event of the store. */
const SESSIONS_PER_STEP = 30;

interface Row {
  readonly root: HTMLElement;
  readonly count: HTMLElement;
  readonly badge: HTMLElement;
  head: SessionHead;
  /** At how many events `badge` was true. */
  verifiedAt: number;
}

export class SessionsPanel {
  readonly #list = byId("session-list", HTMLElement);
  readonly #error = byId("sessions-error", HTMLElement);
  readonly #verify = byId("sessions-verify", HTMLButtonElement);
  readonly #cra: TraceAccess;
  readonly #onShow: (sessionId: string) => void;
  readonly #rows = new Map<string, Row>();
  readonly #more = element("button", { type: "button", class: "compact" }, "Show older sessions");
  #limit = SESSIONS_PER_STEP;
  #shown: string | undefined;

  constructor(cra: TraceAccess, onShow: (sessionId: string) => void) {
    this.#cra = cra;
    this.#onShow = onShow;
    onClick(this.#verify, () => this.#verifyAll());
    onClick(this.#more, async () => {
      this.#limit += SESSIONS_PER_STEP;
      this.update(await this.#cra.sessions());
    });
    this.update([]);
  }

  /** Bring the list up to the store's sessions, newest first. Rows stay the same elements, so focus stays too. */
  update(heads: readonly SessionHead[]): void {
    const newest = [...heads].reverse().slice(0, this.#limit);
    const wanted = newest.map((head) => this.#rowOf(head));
    wanted.forEach((row, index) => {
      const there = this.#list.children.item(index);
      if (there !== row.root) this.#list.insertBefore(row.root, there);
    });
    while (this.#list.children.length > wanted.length) this.#list.lastElementChild?.remove();
    this.#verify.disabled = heads.length === 0;
    const hidden = heads.length - newest.length;
    if (hidden > 0) this.#list.append(element("li", {}, element("span", { class: "quiet" }, `${hidden} older`), this.#more));
    if (heads.length === 0) this.#list.append(element("li", { class: "quiet" }, "None yet. They stay here when this page is closed."));
  }

  /** Mark the session whose trace is on show. */
  mark(sessionId: string): void {
    this.#shown = sessionId;
    for (const [id, row] of this.#rows) row.root.dataset["shown"] = String(id === sessionId);
  }

  setVerdict(sessionId: string, result: VerifyResult): void {
    const row = this.#rows.get(sessionId);
    if (row === undefined) return;
    row.verifiedAt = result.events;
    row.badge.hidden = false;
    row.badge.dataset["state"] = result.valid ? "good" : "bad";
    row.badge.textContent = result.valid ? "valid" : verdictWords(result);
  }

  #rowOf(head: SessionHead): Row {
    const row = this.#rows.get(head.session_id) ?? this.#newRow(head);
    row.head = head;
    row.count.textContent = `${plural(head.next_sequence, "event")}, ${head.ended ? "ended" : "open"}`;
    // A verdict holds for the events that it saw.
    if (row.badge.dataset["state"] === "good" && row.verifiedAt !== head.next_sequence) row.badge.hidden = true;
    return row;
  }

  #newRow(head: SessionHead): Row {
    const sessionId = head.session_id;
    const about = element("p", { class: "about" }, "session ", element("code", {}, shortId(sessionId)));
    const count = element("span", {});
    const started = element("span", {});
    const badge = element("span", { class: "chip", hidden: true });
    const show = element("button", { type: "button", class: "compact", "aria-label": `Show session ${shortId(sessionId)}` }, "Show");
    show.addEventListener("click", () => {
      this.#onShow(sessionId);
    });
    const root = element(
      "li",
      { "data-session": sessionId, "data-shown": String(sessionId === this.#shown) },
      about,
      element("p", { class: "facts-line" }, started, count),
      element("div", { class: "buttons" }, badge, show),
    );
    const row: Row = { root, count, badge, head, verifiedAt: 0 };
    this.#rows.set(sessionId, row);
    void this.#describe(sessionId, about, started);
    return row;
  }

  /** Fill in agent, goal and start from the session's first event; a session without one keeps its id. */
  async #describe(sessionId: string, about: HTMLElement, started: HTMLElement): Promise<void> {
    const first = await firstEvent(this.#cra, sessionId).catch(() => undefined);
    if (first === undefined) return;
    const { agent_id, goal } = first.payload;
    const text = typeof goal === "string" ? goal : shortId(sessionId);
    about.replaceChildren(element("b", {}, typeof agent_id === "string" ? agent_id : ""), ` ${text}`);
    about.title = text;
    started.textContent = `${dayAndTime(first.timestamp)} · `;
  }

  async #verifyAll(): Promise<void> {
    await guarded(this.#error, "Could not verify every session", async () => {
      let bad = 0;
      const ids = [...this.#rows.keys()];
      for (const sessionId of ids) {
        const result = await this.#cra.verify(sessionId);
        this.setVerdict(sessionId, result);
        if (!result.valid) bad += 1;
      }
      const words = bad === 0 ? "all valid" : `${bad} not valid`;
      announce(`Verified ${plural(ids.length, "session")}: ${words}`, bad === 0 ? "good" : "bad");
    });
  }
}

async function firstEvent(cra: TraceAccess, sessionId: string): Promise<TraceEvent | undefined> {
  for await (const event of cra.traces(sessionId)) return event;
  return undefined;
}
