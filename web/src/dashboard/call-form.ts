/** The form that calls one action: parameters as JSON, what the schema asks for, the answer, and a wanted approval. */

import type { Cra } from "../api.js";
import { CraError } from "../errors.js";
import type { ExecuteResponse, Json, JsonObject } from "../model.js";
import type { ActionView } from "./action-view.js";
import { type KnownAction, startingParameters } from "./atlas-book.js";
import { element, onClick, whileBusy } from "./dom.js";
import { cut, prettyJson } from "./format.js";
import type { Resolved } from "./goal-panel.js";
import { announce, guarded } from "./notice.js";
import { isObject } from "./sample.js";

/** Who decides an approval on this page; a real host names the person that is signed in. */
const APPROVER = "person-at-this-page";

const STATES = { success: "good", error: "bad", denied: "bad", pending_approval: "wait" } as const;

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
    this.#run = element("button", { type: "submit", class: "primary" }, "Run with the simulated executor");
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
    const decide = (granted: boolean): HTMLButtonElement => {
      const button = element("button", { type: "button" }, granted ? "Grant approval" : "Refuse approval");
      onClick(button, () => this.#decide(approvalId, granted));
      return button;
    };
    this.#answer.append(
      element("p", { class: "quiet small" }, "A person decides, for these parameters only. Here that person is you."),
      element("div", { class: "buttons" }, decide(true), decide(false)),
    );
  }

  async #decide(approvalId: string, granted: boolean): Promise<void> {
    await guarded(this.#error, "The approval was not recorded", async () => {
      const reason = `${granted ? "granted" : "refused"} on this page`;
      await this.#caller.cra.decideApproval({ approvalId, granted, approver: APPROVER, reason });
      const next = granted ? "Approval granted. Run the same call again." : "Approval refused.";
      this.#answer.replaceChildren(element("p", {}, next));
      announce(next, granted ? "good" : "bad");
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
  return [element("details", {}, element("summary", {}, `What the schema asks for: ${lines.length} members`), list)];
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
