/** The head of the actions panel: the decision in one line, then context and constraints on demand. */

import type { Constraint, ContextBlock } from "../model.js";
import { element } from "./dom.js";
import { milliseconds, plural, shortId, summarise } from "./format.js";
import type { Resolved } from "./goal-panel.js";
import { reasonWords } from "./reasons.js";

const STATES = { allow: "good", partial: "wait", requires_approval: "wait", deny: "bad" } as const;

export function decisionView(resolved: Resolved): readonly HTMLElement[] {
  const { resolution, duration_ms } = resolved;
  const { type, reason } = resolution.decision;
  const line = element(
    "p",
    { class: "line" },
    element("span", { class: "badge", "data-state": STATES[type] }, type.replace("_", " ")),
    element(
      "span",
      { class: "quiet small" },
      `answered in ${milliseconds(duration_ms)}, valid for ${plural(resolution.ttl_seconds, "second")}, resolution `,
      element("code", { title: resolution.resolution_id }, shortId(resolution.resolution_id)),
    ),
  );
  const parts = [line];
  if (reason !== null) {
    const { words, isCode } = reasonWords(reason);
    const code = isCode ? [" ", element("code", { class: "quiet" }, reason)] : [];
    parts.push(element("p", { class: "small" }, words, ...code));
  }
  return [...parts, ...contextView(resolution.context_blocks), ...constraintsView(resolution.constraints)];
}

function contextView(blocks: readonly ContextBlock[]): readonly HTMLElement[] {
  if (blocks.length === 0) return [];
  const tokens = blocks.reduce((sum, block) => sum + block.token_estimate, 0);
  const listed = blocks.map((block) =>
    element(
      "li",
      {},
      element(
        "h4",
        {},
        element("code", {}, block.block_id),
        element("span", { class: "quiet" }, `from ${block.source}, priority ${block.priority}, ~${plural(block.token_estimate, "token")}`),
      ),
      element("pre", {}, block.content),
    ),
  );
  return [
    element(
      "details",
      {},
      element("summary", {}, `Context for the agent: ${plural(blocks.length, "block")}, ~${plural(tokens, "token")}`),
      element("ul", { class: "blocks" }, ...listed),
    ),
  ];
}

function constraintsView(constraints: readonly Constraint[]): readonly HTMLElement[] {
  if (constraints.length === 0) return [];
  const facts = element("dl", { class: "facts" });
  for (const constraint of constraints) {
    facts.append(
      element("dt", {}, `${constraint.type.replaceAll("_", " ")} `, element("code", {}, constraint.constraint_id)),
      element("dd", {}, summarise(constraint.parameters)),
    );
  }
  return [element("details", {}, element("summary", {}, `Limits over these actions: ${constraints.length}`), facts)];
}
