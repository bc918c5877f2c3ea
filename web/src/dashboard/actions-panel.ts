/** Step 3: each action with its verdict and the policy that decided; one of them at a time can be called. */

import { type ActionView, actionViews, type Verdict } from "./action-view.js";
import type { AtlasBook } from "./atlas-book.js";
import { CallForm, type Caller } from "./call-form.js";
import { decisionView } from "./decision-view.js";
import { byId, element } from "./dom.js";
import type { Resolved } from "./goal-panel.js";
import { reasonWords } from "./reasons.js";

const WORDS: Readonly<Record<Verdict, { chip: string; state: string; by: string; button: string }>> = {
  allowed: { chip: "Allowed", state: "good", by: "Allowed by", button: "Execute" },
  approval: { chip: "Needs approval", state: "wait", by: "Held back by", button: "Ask" },
  denied: { chip: "Denied", state: "bad", by: "Denied by", button: "Try anyway" },
};

export class ActionsPanel {
  readonly #list = byId("action-list", HTMLElement);
  readonly #decision = byId("decision", HTMLElement);
  readonly #filter = byId("actions-filter", HTMLElement);
  readonly #book: AtlasBook;
  readonly #caller: Caller;
  readonly #stale = element("p", { class: "stale" }, "Answered before the atlases changed: resolve again.");
  #answered = false;
  #open: { readonly toggle: HTMLButtonElement; readonly form: CallForm } | undefined;

  constructor(book: AtlasBook, caller: Caller) {
    this.#book = book;
    this.#caller = caller;
    this.#filter.addEventListener("change", () => {
      this.#applyFilter();
    });
    const what = "Load an atlas and resolve a goal: its actions stand here with the policy that decided each.";
    this.#decision.replaceChildren(element("p", { class: "quiet" }, what));
  }

  /** Say that the shown answer, if there is one, knows nothing of the atlases that are loaded now. */
  markStale(): void {
    if (!this.#answered || this.#stale.isConnected) return;
    this.#decision.prepend(this.#stale);
    this.#list.dataset["stale"] = "true";
  }

  show(resolved: Resolved): void {
    this.#open = undefined;
    this.#answered = true;
    delete this.#list.dataset["stale"];
    const views = actionViews(resolved, this.#book);
    this.#decision.replaceChildren(...decisionView(resolved));
    if (views.length === 0) {
      this.#decision.append(element("p", { class: "quiet" }, "No atlas with actions is loaded, so nothing is allowed."));
    }
    this.#list.replaceChildren(...views.map((view) => this.#row(view, resolved)));
    this.#filter.hidden = views.length === 0;
    for (const verdict of ["all", "allowed", "approval", "denied"]) {
      const count = verdict === "all" ? views.length : views.filter((view) => view.verdict === verdict).length;
      byId(`count-${verdict}`, HTMLElement).textContent = String(count);
    }
    this.#applyFilter();
  }

  #row(view: ActionView, resolved: Resolved): HTMLElement {
    const words = WORDS[view.verdict];
    const toggle = element(
      "button",
      { type: "button", class: "compact", "aria-expanded": "false", "aria-label": `${words.button} ${view.actionId}` },
      words.button,
    );
    const action = element(
      "div",
      { class: "action" },
      element("span", { class: "chip verdict", "data-state": words.state }, words.chip),
      element("h3", { title: view.description }, view.name, element("code", {}, view.actionId), ...riskMark(view.riskTier)),
      reasonLine(view, words.by),
      toggle,
    );
    const row = element("li", { "data-verdict": view.verdict }, action);
    toggle.addEventListener("click", () => {
      const wasOpen = this.#open?.toggle === toggle;
      this.#close();
      if (!wasOpen) this.#openCall(view, resolved, row, toggle);
    });
    return row;
  }

  #openCall(view: ActionView, resolved: Resolved, row: HTMLElement, toggle: HTMLButtonElement): void {
    const form = new CallForm(view, this.#book.find(view.actionId), resolved, this.#caller, () => {
      this.#close();
      toggle.focus();
    });
    row.append(form.root);
    toggle.setAttribute("aria-expanded", "true");
    this.#open = { toggle, form };
    form.focus();
  }

  #close(): void {
    this.#open?.toggle.setAttribute("aria-expanded", "false");
    this.#open?.form.root.remove();
    this.#open = undefined;
  }

  #applyFilter(): void {
    const chosen = this.#filter.querySelector<HTMLInputElement>("input:checked")?.value ?? "all";
    for (const row of this.#list.children) {
      if (row instanceof HTMLElement) row.hidden = chosen !== "all" && row.dataset["verdict"] !== chosen;
    }
  }
}

function reasonLine(view: ActionView, by: string): HTMLElement {
  const line = element("p", { class: "why" }, `${by} `);
  if (view.policyName !== null) line.append(element("b", {}, view.policyName), " ");
  line.append(element("code", {}, view.policyId));
  // An allow allows and a deny denies: only the other types tell something.
  if (view.policyType !== null && view.policyType !== "allow" && view.policyType !== "deny") {
    line.append(` (${view.policyType.replaceAll("_", " ")})`);
  }
  if (view.verdict === "denied" && view.reason !== null) line.append(`: ${reasonWords(view.reason).words}`);
  return line;
}

function riskMark(tier: string): readonly HTMLElement[] {
  return tier === "" || tier === "low" ? [] : [element("span", { class: "risk", "data-tier": tier }, `${tier} risk`)];
}
