/** bench.html: measures the visitor's own machine and shows each figure with its budget and, in words, whether it holds. */

import { runInWorker } from "./bench.js";
import { byId, element, onClick } from "./dashboard/dom.js";
import { messageOf } from "./errors.js";

interface Metric {
  readonly name: string;
  readonly text: string;
  readonly budget_text: string;
  readonly held: boolean | null;
}

interface Scenario {
  readonly title: string;
  readonly claim: string;
  readonly metrics: readonly Metric[];
}

interface Report {
  readonly versions: Readonly<Record<string, string>>;
  readonly timer_resolution_us: number;
  readonly calibration_us: number;
  readonly unsteady: readonly string[];
  readonly quick: boolean;
  readonly scenarios: readonly Scenario[];
  readonly not_measured: readonly { readonly name: string; readonly message: string }[];
  readonly error?: { readonly code: string; readonly message: string };
}

const RUNS = 5;

/** `bench.html?name=resolve` measures one benchmark or family, and `&name=` another. */
const names = new URLSearchParams(location.search).getAll("name");

const start = byId("bench-start", HTMLButtonElement);
const quick = byId("bench-quick", HTMLInputElement);
const busy = byId("bench-progress", HTMLProgressElement);
const status = byId("bench-status", HTMLParagraphElement);
const problem = byId("bench-error", HTMLDivElement);
const results = byId("bench-results", HTMLElement);

onClick(start, measure);
start.disabled = false;
status.textContent = "Ready. Close what else is running: the figures are those of the machine as it is.";

async function measure(): Promise<void> {
  problem.replaceChildren();
  results.hidden = true;
  busy.hidden = false;
  busy.removeAttribute("value");
  status.textContent = "Starting the Python runtime";
  try {
    const options = { names, runtime: "chromium", runs: RUNS, quick: quick.checked } as const;
    const report = JSON.parse(await runInWorker(options, showLine)) as Report;
    if (report.error !== undefined) throw new Error(`${report.error.code}: ${report.error.message}`);
    show(report);
  } catch (cause) {
    status.textContent = "It did not come to an end.";
    problem.replaceChildren(element("div", { class: "error" }, element("p", {}, messageOf(cause))));
  } finally {
    busy.hidden = true;
  }
}

/** Show a line such as `3 of 17: emit`. */
function showLine(line: string): void {
  const [, done, total] = /^(\d+) of (\d+)/.exec(line) ?? [];
  if (total !== undefined) {
    busy.max = Number(total);
    busy.value = Number(done) - 1;
  }
  status.textContent = `Measuring ${line}`;
}

function show(report: Report): void {
  const judged = report.scenarios.flatMap(({ metrics }) => metrics).filter(({ held }) => held !== null);
  const held = judged.filter((metric) => metric.held).length;
  status.textContent = `Done: ${held} of ${judged.length} budgets hold on this machine.`;
  byId("bench-facts", HTMLDListElement).replaceChildren(...facts(report));
  const table = byId("bench-table", HTMLTableElement);
  for (const body of [...table.tBodies]) body.remove();
  table.append(...report.scenarios.map(group));
  results.hidden = false;
}

function facts(report: Report): Node[] {
  const steady =
    report.unsteady.length === 0
      ? "the machine kept its pace"
      : `the machine changed its pace by more than 15 % during ${report.unsteady.join(", ")}: measure again when it is idle`;
  const named: readonly (readonly [string, string])[] = [
    ["Runtime", Object.entries(report.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
    ["Browser", navigator.userAgent],
    ["Processors", String(navigator.hardwareConcurrency)],
    ["Timer", `steps of ${report.timer_resolution_us} µs, so no p99 is finer${crossOriginIsolated ? "" : "; with `cra-wasm serve --isolated` they are 5 µs"}`],
    ["Calibration", `${report.calibration_us} µs for a fixed piece of Python; ${steady}`],
    ["Effort", report.quick ? "quick: few calls, the figures are hints" : `full, the median of ${RUNS} runs`],
  ];
  const missing = report.not_measured.map(({ name, message }) => ["Not measured", `${name}: ${message}`] as const);
  return [...named, ...missing].flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

function group({ title, claim, metrics }: Scenario): Node {
  const about = element("th", { scope: "rowgroup", colspan: "4" }, title, element("span", { class: "claim" }, claim));
  return element("tbody", {}, element("tr", {}, about), ...metrics.map(row));
}

function row(metric: Metric): Node {
  return element(
    "tr",
    {},
    element("td", {}, metric.name.replaceAll("_", " ")),
    element("td", { class: "number" }, metric.text.replace(/ us$/, " µs")),
    element("td", { class: "number" }, metric.budget_text.replace("<=", "≤").replace(/ us$/, " µs")),
    element("td", {}, verdict(metric.held)),
  );
}

function verdict(held: boolean | null): Node {
  if (held === null) return element("span", { class: "quiet" }, "no budget");
  return element("span", { class: "chip", "data-state": held ? "good" : "bad" }, held ? "held" : "missed");
}
