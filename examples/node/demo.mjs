/**
 * The main job in Node: an agent asks what it may do, acts, is refused, and every step lands in a verified record.
 *
 * Usage: node examples/node/demo.mjs [NAME.trace.jsonl]     (default demo.trace.jsonl; needs the site: ./build.sh site)
 * Beside it come the signed checkpoints, NAME.checkpoints.jsonl.
 * Exit code 0 when everything went as the atlas says, 1 when anything did not.
 */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createCra } from "../../dist/site/lib/cra-wasm.js";
import { table } from "./table.mjs";

const AGENT = "support-agent";
const TASK = "Help the customer of order 1234, whose lamp arrived broken";

/** What the agent wants, and what the atlas is known to answer. */
const GOALS = [
  { goal: "Find out where order 1234 is", requiredCapabilities: ["lookup"], expected: "allow" },
  { goal: "Refund order 1234, the lamp arrived broken", expected: "partial" },
  { goal: "Erase customer C-2077", requiredCapabilities: ["customers.erasure"], expected: "deny" },
];
const QUOTE = { order_id: "1234", refundable_cents: 4990, rule: "damaged" };

/** Stop the demo: something is not as the atlas says. */
function expect(holds, what) {
  if (!holds) throw new Error(`expected ${what}`);
}

/** One row of the table: what was asked, what came out, how long it took from here to the worker and back. */
async function ask(cra, sessionId, { expected, ...question }) {
  const start = performance.now();
  const resolution = await cra.resolve({ sessionId, ...question });
  const milliseconds = performance.now() - start;
  expect(resolution.decision.type === expected, `the decision ${expected} for: ${question.goal}`);
  const allowed = resolution.allowed_actions.map(({ action_id: id }) => id);
  const denied = resolution.denied_actions.map(({ action_id: id, reason }) => `${id}: ${reason}`);
  return {
    resolution,
    row: [question.goal, resolution.decision.type, shortened(allowed), denied.join("\n") || "-", `${milliseconds.toFixed(1)} ms`],
  };
}

function shortened(ids) {
  const shown = ids.slice(0, 3).join("\n") || "-";
  return ids.length > 3 ? `${shown}\n+ ${ids.length - 3} more` : shown;
}

async function run(cra, tracePath) {
  const atlas = await cra.loadAtlas(
    await readFile(new URL("../atlases/customer-support.atlas.json", import.meta.url), "utf8"),
  );
  console.log(`\nAtlas "${atlas.name}": ${atlas.actions} actions, ${atlas.policies} policies`);
  const sessionId = await cra.createSession({ agentId: AGENT, goal: TASK });
  console.log(`Session of ${AGENT}: ${TASK}\n`);

  const answers = [];
  for (const question of GOALS) answers.push(await ask(cra, sessionId, question));
  const head = ["The agent wants to", "decision", "allowed", "denied, and why", "time"];
  console.log(table(head, answers.map(({ row }) => row), [22, 8, 16, 40, 8]));

  const [, refund] = answers;
  const call = { sessionId, resolutionId: refund.resolution.resolution_id };
  await cra.registerExecutor("refund.quote", async ({ order_id }) => ({ ...QUOTE, order_id }));
  const quote = await cra.execute({ ...call, actionId: "refund.quote", parameters: { order_id: "1234" } });
  expect(quote.status === "success" && quote.result.refundable_cents === QUOTE.refundable_cents, "an executed refund.quote");
  console.log(`\nExecuted  refund.quote     ${quote.status}: ${JSON.stringify(quote.result)}`);

  const erase = { customer_id: "C-2077", ticket_id: "T-1062", confirm: "erase" };
  const refused = await cra.execute({ ...call, actionId: "customer.delete", parameters: erase });
  expect(refused.status === "denied", "a denied customer.delete");
  console.log(`Refused   customer.delete  ${refused.status}: ${refused.error.message}`);

  await cra.endSession(sessionId);
  await cra.flush();
  const record = await cra.verify(sessionId);
  expect(record.valid && record.warnings.length === 0, `a valid, finished record, got ${JSON.stringify(record)}`);
  expect(record.strength === "signed", `a signed record, got ${JSON.stringify(record)}`);
  await writeFile(tracePath, await cra.exportJsonl(sessionId));
  await writeFile(besidePath(tracePath), (await cra.checkpoints(sessionId)).map((line) => `${line}\n`).join(""));
  console.log(`\nRecord    ${record.events} events, hash chain verified, ${record.covered} covered by a signature`);
  console.log(`Head      ${record.head}`);
  console.log(`Key       ${await cra.publicKey()}`);
  console.log(`Written   ${tracePath}   (check it: .venv/bin/cra-wasm verify ${tracePath})`);
}

/** Where `cra-wasm verify` looks for a trace's checkpoints. */
function besidePath(path) {
  return path.replace(/(\.trace\.jsonl)?$/, ".checkpoints.jsonl");
}

const tracePath = process.argv[2] ?? "demo.trace.jsonl";
const folder = await mkdtemp(join(tmpdir(), "cra-demo-"));
const problems = [];
try {
  const cra = await createCra({
    storage: "file",
    databaseName: folder,
    onProgress: ({ step, done, total }) => console.log(`[${done}/${total}] ${step}`),
    onTraceProblem: ({ message }) => problems.push(message),
  });
  try {
    await run(cra, tracePath);
  } finally {
    await cra.close();
  }
  expect(problems.length === 0, `no trace problems, got ${problems.join("; ")}`);
} catch (error) {
  console.error(`\nThe demo failed: ${error.code ?? error.name}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}
