/** One event in the trace's table: a line, and the whole event beneath it on demand. */

import type { TraceEvent } from "../model.js";
import { type Child, element } from "./dom.js";
import { prettyJson, shortHash, summarise, timeOfDay } from "./format.js";

const COLUMNS = "5";

export function eventRow(event: TraceEvent): HTMLElement {
  const label = `Event ${event.sequence}`;
  const toggle = element(
    "button",
    { type: "button", class: "sequence", "aria-expanded": "false", "aria-label": label },
    String(event.sequence),
  );
  const row = element(
    "tr",
    { class: "event", role: "row", "data-sequence": String(event.sequence), "data-tone": toneOf(event) },
    cell("", toggle),
    cell("", element("time", { datetime: event.timestamp, title: event.timestamp }, timeOfDay(event.timestamp))),
    cell("type", ...breakableAtDots(event.event_type)),
    cell("payload", summarise(event.payload)),
    cell("hash", element("code", { title: event.event_hash }, shortHash(event.event_hash))),
  );
  let detail: HTMLElement | undefined;
  toggle.addEventListener("click", () => {
    const opening = detail === undefined;
    if (detail === undefined) {
      detail = detailRow(event, `${label} in full`);
      row.after(detail);
    } else {
      detail.remove();
      detail = undefined;
    }
    toggle.setAttribute("aria-expanded", String(opening));
  });
  return row;
}

function cell(kind: string, ...content: readonly Child[]): HTMLElement {
  return element("td", { role: "cell", class: kind === "" ? undefined : kind }, ...content);
}

/** A narrow column breaks `carp.request.received` after a dot, never within a word. */
function breakableAtDots(type: string): readonly Child[] {
  return type.split(/(?<=\.)/).flatMap((part, index) => (index === 0 ? [part] : [element("wbr"), part]));
}

function detailRow(event: TraceEvent, label: string): HTMLElement {
  const text = element("pre", { tabindex: "0", "aria-label": label }, prettyJson(event));
  return element("tr", { class: "detail", role: "row" }, element("td", { role: "cell", colspan: COLUMNS }, text));
}

/** What an event says about how things went; most say nothing. */
function toneOf(event: TraceEvent): string | undefined {
  switch (event.event_type) {
    case "action.denied":
    case "action.failed":
    case "policy.violated":
    case "approval.refused":
    case "error.occurred":
    case "trace.gap":
      return "bad";
    case "policy.evaluated":
      return event.payload["result"] === "deny" ? "bad" : undefined;
    case "approval.requested":
      return "wait";
    case "action.executed":
    case "approval.granted":
      return "good";
    default:
      return undefined;
  }
}
