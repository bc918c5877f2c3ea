/** How this page tells people things: one status line for what went well, one box in its panel for what did not. */

import { CraError, messageOf } from "../errors.js";
import { byId, element } from "./dom.js";
import { compactJson, cut } from "./format.js";

const MAX_DETAIL_CHARS = 400;

/** Put a sentence on the status line, which screen readers read out. */
export function announce(text: string, kind: "good" | "bad" = "good"): void {
  const line = byId("status", HTMLElement);
  line.dataset["kind"] = kind;
  line.textContent = text;
}

export function clearError(place: HTMLElement): void {
  place.replaceChildren();
}

/** Show what failed, its stable code, and the JSON Pointer of the culprit where there is one. */
export function showError(place: HTMLElement, title: string, cause: unknown): void {
  const code = cause instanceof CraError ? cause.code : "unexpected";
  const facts = element("dl", {}, element("dt", {}, "code"), element("dd", {}, element("code", {}, code)));
  if (cause instanceof CraError) {
    for (const [name, value] of Object.entries(cause.details)) {
      const text = typeof value === "string" ? value : compactJson(value);
      const shown = text === "" ? "(the whole document)" : cut(text, MAX_DETAIL_CHARS);
      facts.append(element("dt", {}, name), element("dd", {}, element("code", {}, shown)));
    }
  }
  place.replaceChildren(
    element("div", { class: "error" }, element("h3", {}, title), element("p", {}, messageOf(cause)), facts),
  );
}

/** Run `work`; show its failure in `place` under `title`. Returns whether it succeeded. */
export async function guarded(place: HTMLElement, title: string, work: () => Promise<void>): Promise<boolean> {
  clearError(place);
  try {
    await work();
    return true;
  } catch (cause) {
    showError(place, title, cause);
    announce(title, "bad");
    return false;
  }
}
