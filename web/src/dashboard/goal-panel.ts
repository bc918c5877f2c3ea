/** Step 2: a goal, whose agent it is, how risky; opens a session for it and has it resolved. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { ActionExplanation, Resolution, RiskTier } from "../model.js";
import { byId, element, onClick, whileBusy } from "./dom.js";
import { plural, shortId } from "./format.js";
import { announce, guarded } from "./notice.js";

/** After these the runtime takes nothing more for the session, so the next goal opens another. */
const SESSION_IS_OVER = new Set(["session_ended", "session_expired", "unknown_session", "session_not_found"]);

export interface Resolved {
  readonly sessionId: string;
  readonly resolution: Resolution;
  readonly explanations: readonly ActionExplanation[];
  /** From the call to its answer, both ways between the threads included. */
  readonly duration_ms: number;
}

export interface GoalEvents {
  readonly onResolved: (resolved: Resolved) => void;
  /** The session's trace grew, or a session came or went. */
  readonly onRecorded: (sessionId: string) => void;
}

export class GoalPanel {
  readonly #goal = byId("goal-text", HTMLTextAreaElement);
  readonly #agent = byId("goal-agent", HTMLInputElement);
  readonly #risk = byId("goal-risk", HTMLSelectElement);
  readonly #submit = byId("goal-resolve", HTMLButtonElement);
  readonly #end = byId("session-end", HTMLButtonElement);
  readonly #error = byId("goal-error", HTMLElement);
  readonly #cra: Cra;
  readonly #events: GoalEvents;
  #sessionId: string | undefined;

  constructor(cra: Cra, events: GoalEvents) {
    this.#cra = cra;
    this.#events = events;
    const form = byId("goal-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // Ctrl + Enter submits although the button is disabled.
      if (!this.#submit.disabled) void whileBusy(this.#submit, () => this.#resolve());
    });
    this.#goal.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    onClick(this.#end, () => this.#endSession());
    this.#setSession(undefined);
  }

  /** Offer a goal that suits the atlas; what a person typed stays. */
  suggest(goal: string): void {
    if (this.#goal.value.trim() === "") this.#goal.value = goal;
  }

  /** Without an atlas every goal is denied, and a session would be opened for nothing. */
  setReady(ready: boolean): void {
    this.#submit.disabled = !ready;
    byId("goal-needs", HTMLElement).hidden = ready;
  }

  async #resolve(): Promise<void> {
    const done = await guarded(this.#error, "Could not resolve the goal", async () => {
      try {
        await this.#resolveInSession();
      } catch (cause) {
        if (cause instanceof CraError && SESSION_IS_OVER.has(cause.code)) this.#setSession(undefined);
        throw cause;
      }
    });
    // A refused goal may be recorded as well.
    if (!done && this.#sessionId !== undefined) this.#events.onRecorded(this.#sessionId);
  }

  async #resolveInSession(): Promise<void> {
    const goal = this.#goal.value;
    const sessionId = this.#sessionId ?? (await this.#cra.createSession({ agentId: this.#agent.value, goal }));
    this.#setSession(sessionId);
    const started_ms = performance.now();
    const resolution = await this.#cra.resolve({ sessionId, goal, riskTier: this.#risk.value as RiskTier });
    const duration_ms = performance.now() - started_ms;
    const explanations = await this.#cra.explain({ sessionId, resolutionId: resolution.resolution_id });
    const allowed = plural(resolution.allowed_actions.length, "action");
    announce(`Decision ${resolution.decision.type.replace("_", " ")}: ${allowed} allowed, ${resolution.denied_actions.length} not`);
    this.#events.onResolved({ sessionId, resolution, explanations, duration_ms });
    this.#events.onRecorded(sessionId);
  }

  async #endSession(): Promise<void> {
    const sessionId = this.#sessionId;
    if (sessionId === undefined) return;
    await guarded(this.#error, "Could not end the session", async () => {
      try {
        const end = await this.#cra.endSession(sessionId);
        announce(`Session ended after ${plural(end.resolution_count, "resolution")} and ${plural(end.action_count, "call")}`);
      } finally {
        // Also when it was over already: either way nothing more can be asked in it.
        this.#setSession(undefined);
      }
    });
    this.#goal.focus();
    this.#events.onRecorded(sessionId);
  }

  #setSession(sessionId: string | undefined): void {
    this.#sessionId = sessionId;
    this.#agent.readOnly = sessionId !== undefined;
    this.#end.hidden = sessionId === undefined;
    const state = byId("session-state", HTMLElement);
    if (sessionId === undefined) {
      state.replaceChildren("no open session");
    } else {
      state.replaceChildren("open session ", element("code", { title: sessionId }, shortId(sessionId)), ` of ${this.#agent.value}`);
    }
  }
}
