/** The form that calls one action: parameters as JSON, what the schema asks for, the answer, and a wanted approval. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { ExecuteResponse, Json, JsonObject } from "../model.js";
import type { ActionView, Verdict } from "./action-view.js";
import { type KnownAction, startingParameters } from "./atlas-book.js";
import { element, onClick, whileBusy } from "./dom.js";
import { cut, plural, prettyJson } from "./format.js";
import type { Resolved } from "./goal-panel.js";
import { announce, guarded } from "./notice.js";
import { isObject } from "./sample.js";

/** Who decides an approval on this page; a real host names the person that is signed in. */
const APPROVER = "person-at-this-page";

const STATES = { success: "good", error: "bad", denied: "bad", pending_approval: "wait" } as const;

/** What the button does, as far as the resolution tells. */
const RUN_WORDS: Readonly<Record<Verdict, string>> = {
  allowed: "Run with the simulated executor",
  approval: "Ask for approval",
  denied: "Try it: the policy decides",
};

export interface Caller {
  readonly cra: Cra;
  readonly onRecorded: (sessionId: string) => void;
}

export class CallForm {
  readonly root: HTMLFormElement;
  readonly #parameters: HTMLTextAreaElement;
  readonly #error = element("div", { role: "alert" });
  readonly #answer = element("div", { class: "answer", role: "region", "aria-label": "Answer", "aria-live": "polite" });
  readonly #run: HTMLButtonElement;
  readonly #view: ActionView;
  readonly #resolved: Resolved;
  readonly #caller: Caller;
  /** The parameters that an approval was granted for and that have not run since. */
  #granted: string | undefined;

  constructor(view: ActionView, known: KnownAction | undefined, resolved: Resolved, caller: Caller, onClose: () => void) {
    this.#view = view;
    this.#resolved = resolved;
    this.#caller = caller;
    const start = prettyJson(startingParameters(known, view.parametersSchema));
    this.#parameters = element("textarea", {
      id: "call-parameters",
      class: "json",
      spellcheck: "false",
      autocomplete: "off",
      rows: String(Math.min(12, start.split("\n").length + 1)),
    });
    this.#parameters.value = start;
    this.#run = element("button", { type: "submit", class: "primary" }, RUN_WORDS[view.verdict]);
    this.#parameters.addEventListener("input", () => {
      this.#nameRun();
    });
    const close = element("button", { type: "button" }, "Close");
    onClick(close, onClose);
    this.root = element(
      "form",
      { class: "call", "aria-label": `Call ${view.actionId}` },
      element("p", {}, view.description),
      element(
        "label",
        { class: "field", for: "call-parameters" },
        element("span", {}, "Parameters (JSON)"),
        this.#parameters,
      ),
      ...schemaView(view.parametersSchema),
      element("div", { class: "buttons" }, this.#run, close),
      this.#error,
      this.#answer,
    );
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#execute();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") onClose();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.root.requestSubmit();
    });
  }

  focus(): void {
    this.#parameters.focus();
  }

  /** An approval holds for its parameters only, so other ones have to be asked for again. */
  #nameRun(): void {
    const granted = this.#granted === this.#parameters.value;
    this.#run.textContent = RUN_WORDS[granted ? "allowed" : this.#view.verdict];
  }

  async #execute(): Promise<void> {
    const { sessionId, resolution } = this.#resolved;
    await whileBusy(this.#run, async () => {
      this.#answer.replaceChildren();
      await guarded(this.#error, `${this.#view.actionId} was not executed`, async () => {
        const answer = await this.#caller.cra.execute({
          sessionId,
          resolutionId: resolution.resolution_id,
          actionId: this.#view.actionId,
          parameters: parseParameters(this.#parameters.value),
        });
        if (answer.status === "success") this.#granted = undefined;
        this.#nameRun();
        this.#show(answer);
      });
    });
    this.#caller.onRecorded(sessionId);
  }

  #show(answer: ExecuteResponse): void {
    const words = answer.status.replace("_", " ");
    announce(`${this.#view.actionId}: ${words}`, STATES[answer.status] === "bad" ? "bad" : "good");
    const line = element("p", { class: "line" }, element("span", { class: "badge", "data-state": STATES[answer.status] }, words));
    this.#answer.replaceChildren(line);
    if (answer.status === "success") {
      line.append(element("span", { class: "quiet small" }, "simulated: the executor made this up from the atlas’s example"));
      this.#answer.append(element("pre", {}, prettyJson(answer.result)));
    }
    if (answer.error !== null) {
      line.append(element("code", {}, answer.error.code));
      this.#answer.append(element("p", {}, answer.error.message), ...detailsView(answer.error.details));
    }
    if (answer.status === "pending_approval") this.#offerApproval(answer);
  }

  /** Let the person at the page decide, then say what to do next: the same call runs only after a grant. */
  #offerApproval(answer: ExecuteResponse): void {
    const approvalId = answer.error?.details["approval_id"] ?? (isObject(answer.result) ? answer.result["approval_id"] : undefined);
    if (typeof approvalId !== "string") return;
    const asked = this.#parameters.value;
    const decide = (granted: boolean): HTMLButtonElement => {
      const button = element("button", { type: "button" }, granted ? "Grant approval" : "Refuse approval");
      onClick(button, () => this.#decide(approvalId, granted, asked));
      return button;
    };
    this.#answer.append(
      element("p", { class: "quiet small" }, "A person decides, for these parameters only. Here that person is you."),
      element("div", { class: "buttons" }, decide(true), decide(false)),
    );
  }

  async #decide(approvalId: string, granted: boolean, asked: string): Promise<void> {
    await guarded(this.#error, "The approval was not recorded", async () => {
      const reason = `${granted ? "granted" : "refused"} on this page`;
      await this.#caller.cra.decideApproval({ approvalId, granted, approver: APPROVER, reason });
      const next = granted ? "Approval granted. Run the same call again." : "Approval refused.";
      this.#answer.replaceChildren(element("p", {}, next));
      announce(next, granted ? "good" : "bad");
      this.#granted = granted ? asked : undefined;
      this.#nameRun();
      this.#run.focus();
    });
    this.#caller.onRecorded(this.#resolved.sessionId);
  }
}

function parseParameters(text: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw CraError.from(cause, "invalid_json");
  }
  if (!isObject(parsed)) {
    throw new CraError("invalid_parameters", "parameters are a JSON object, such as `{}`", { pointer: "" });
  }
  return parsed;
}

/** One line for each member that the schema describes. */
function schemaView(schema: Json): readonly HTMLElement[] {
  if (!isObject(schema) || !isObject(schema["properties"])) return [];
  const required: unknown = schema["required"];
  const lines = Object.entries(schema["properties"]).map(([name, member]) => {
    const type = isObject(member) ? typeWords(member) : "";
    const must = Array.isArray(required) && required.includes(name) ? ", required" : "";
    const about = isObject(member) && typeof member["description"] === "string" ? `: ${member["description"]}` : "";
    return element("li", {}, element("code", {}, name), element("span", { class: "quiet" }, ` ${type}${must}${about}`));
  });
  const list = element("ul", { class: "parameters" }, ...lines);
  return [element("details", {}, element("summary", {}, `What the schema asks for: ${plural(lines.length, "member")}`), list)];
}

function typeWords(member: JsonObject): string {
  const choices = member["enum"];
  if (Array.isArray(choices)) return cut(`one of ${choices.map((choice) => JSON.stringify(choice)).join(", ")}`, 120);
  const type = member["type"];
  return typeof type === "string" ? type : Array.isArray(type) ? type.join(" or ") : "any";
}

function detailsView(details: JsonObject): readonly HTMLElement[] {
  return Object.keys(details).length === 0 ? [] : [element("pre", {}, prettyJson(details))];
}
