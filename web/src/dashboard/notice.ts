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
      const text = cut(typeof value === "string" ? value : compactJson(value), MAX_DETAIL_CHARS);
      if (name === "pointer") facts.append(...whereView(text));
      else facts.append(element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, element("code", {}, text)));
    }
  }
  place.replaceChildren(
    element("div", { class: "error" }, element("h3", {}, title), element("p", {}, messageOf(cause)), facts),
  );
}

/** An empty JSON Pointer names the whole document. */
function whereView(pointer: string): readonly HTMLElement[] {
  const where = pointer === "" ? "the whole document" : element("code", {}, pointer);
  const term = element("span", { class: "quiet" }, pointer === "" ? " (an empty JSON pointer)" : " (JSON pointer)");
  return [element("dt", {}, "where"), element("dd", {}, where, term)];
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
