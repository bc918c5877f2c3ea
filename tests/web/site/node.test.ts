/** The built site in Node: real Python, real workers, real files. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

import type { Cra, CraOptions, Resolution, TraceEvent, TraceProblem } from "../../../web/src/cra-wasm.js";
import type * as CraWasm from "../../../web/src/cra-wasm.js";
import { run } from "./run.js";

const SITE = process.env["CRA_TEST_SITE"] ?? "";
const ROOT = resolve(SITE, "../..");
const ATLAS = await readFile(join(SITE, "examples/customer-support.atlas.json"), "utf8");

const { connectTraces, CraError, createCra, verifyTrace, verifyWithCheckpoints } = (await import(
  pathToFileURL(join(SITE, "lib/cra-wasm.js")).href
)) as typeof CraWasm;

const folder = await mkdtemp(join(tmpdir(), "cra-site-"));
after(() => rm(folder, { recursive: true }));

function withCode(code: string, pointer?: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code && error.details["pointer"] === pointer;
}

async function eventsOf(traces: AsyncIterable<TraceEvent>): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  for await (const event of traces) events.push(event);
  return events;
}

void describe("createCra on the built site", () => {
  const problems: TraceProblem[] = [];
  const steps: string[] = [];
  const options: CraOptions = {
    baseUrl: SITE,
    storage: "file",
    databaseName: join(folder, "traces"),
    onProgress: ({ step, done, total }) => steps.push(`${done}/${total} ${step}`),
    onTraceProblem: (problem) => problems.push(problem),
  };
  let cra: Cra;
  before(async () => {
    cra = await createCra(options);
    await cra.loadAtlas(ATLAS);
  });
  after(async () => {
    await cra.close();
    assert.deepEqual(problems, []);
  });

  async function resolved(goal: string): Promise<{ sessionId: string; resolution: Resolution }> {
    const sessionId = await cra.createSession({ agentId: "test-agent", goal });
    return { sessionId, resolution: await cra.resolve({ sessionId, goal }) };
  }

  test("the boot tells its steps", () => {
    assert.deepEqual(steps, ["0/4 trace store", "1/4 Python runtime", "2/4 packages", "3/4 resolver", "4/4 ready"]);
  });

  test("bad input rejects with a stable code and the pointer of the culprit", async () => {
    const { sessionId, resolution } = await resolved("refund order 1234");
    const call = { sessionId, resolutionId: resolution.resolution_id, actionId: "refund.quote" };
    await assert.rejects(cra.loadAtlas("{"), withCode("invalid_atlas", ""));
    await assert.rejects(cra.loadAtlas({ atlas_version: "2.0" }), withCode("invalid_atlas", "/atlas_version"));
    await assert.rejects(cra.resolve({ sessionId, goal: "" }), withCode("invalid_goal", "/task/goal"));
    await assert.rejects(cra.resolve({ sessionId, goal: "x".repeat(10_001) }), withCode("invalid_goal", "/task/goal"));
    await assert.rejects(cra.resolve({ sessionId: "no-id", goal: "g" }), withCode("invalid_id", "/requester/session_id"));
    await assert.rejects(
      cra.resolve({ sessionId: sessionId.replace(/.$/, sessionId.endsWith("0") ? "1" : "0"), goal: "g" }),
      withCode("session_not_found", "/requester/session_id"),
    );
    await cra.registerExecutor("refund.quote", () => Promise.reject(new Error("must not run")));
    await assert.rejects(
      cra.execute({ ...call, parameters: { order_id: 1234 } }),
      withCode("invalid_parameters", "/execution/parameters/order_id"),
    );
    await assert.rejects(
      cra.execute({ ...call, actionId: "no.action", parameters: {} }),
      withCode("action_not_found", "/execution/action_id"),
    );
    await assert.rejects(cra.emit(sessionId, "session.started", {}), withCode("reserved_event_type", "/event_type"));
    await cra.endSession(sessionId);
    await assert.rejects(cra.resolve({ sessionId, goal: "g" }), withCode("session_ended", "/requester/session_id"));
    assert.equal((await cra.verify(sessionId)).valid, true);
  });

  test("an allowed action runs here, a denied one does not, and the record holds both", async () => {
    const { sessionId, resolution } = await resolved("Refund order 1234, the lamp arrived broken");
    assert.equal(resolution.decision.type, "partial");
    const call = { sessionId, resolutionId: resolution.resolution_id };
    const ran: unknown[] = [];
    await cra.registerExecutor("refund.quote", (parameters, { action_id, session_id }) => {
      ran.push([parameters, action_id, session_id]);
      return Promise.resolve({ order_id: "1234", refundable_cents: 4990, rule: "damaged" });
    });
    await cra.registerExecutor("customer.delete", () => {
      ran.push("customer.delete");
      return Promise.resolve({});
    });
    const quote = await cra.execute({ ...call, actionId: "refund.quote", parameters: { order_id: "1234" } });
    assert.deepEqual([quote.status, quote.error], ["success", null]);
    const erase = { customer_id: "C-2077", ticket_id: "T-1062", confirm: "erase" };
    const refused = await cra.execute({ ...call, actionId: "customer.delete", parameters: erase });
    assert.equal(refused.status, "denied");
    assert.deepEqual(ran, [[{ order_id: "1234" }, "refund.quote", sessionId]]);
    const types = (await eventsOf(cra.traces(sessionId))).map(({ event_type }) => event_type);
    for (const type of ["action.requested", "action.approved", "action.executed", "action.denied"]) {
      assert.ok(types.includes(type), type);
    }
  });

  test("an executor that throws is an error of its action, and recorded", async () => {
    const { sessionId, resolution } = await resolved("refund order 1234");
    const call = { sessionId, resolutionId: resolution.resolution_id, actionId: "refund.quote", parameters: { order_id: "1234" } };
    await cra.registerExecutor("refund.quote", () => Promise.reject(new Error("the shop is closed")));
    const thrown = await cra.execute(call);
    assert.equal(thrown.status, "error");
    assert.match(thrown.error?.message ?? "", /the shop is closed/);
    const types = (await eventsOf(cra.traces(sessionId))).map(({ event_type }) => event_type);
    assert.equal(types.filter((type) => type === "action.failed").length, 1);
  });

  test("an action that needs approval waits for a person and then runs", async () => {
    const { sessionId, resolution } = await resolved("Pay the refund for order 1234");
    const refund = resolution.denied_actions.find(({ action_id }) => action_id === "refund.create");
    assert.equal(refund?.reason, "requires_approval");
    const parameters = exampleParameters("refund.create");
    const call = { sessionId, resolutionId: resolution.resolution_id, actionId: "refund.create", parameters };
    const stored: string[] = [];
    await cra.registerExecutor("refund.create", async (_, { session_id }) => {
      stored.push(await readFile(join(folder, "traces", `${session_id}.trace.jsonl`), "utf8"));
      return exampleResult("refund.create");
    });
    const waiting = await cra.execute(call);
    assert.equal(waiting.status, "pending_approval");
    const [approval] = await cra.listApprovals(sessionId);
    assert.equal(approval?.action_id, "refund.create");
    await cra.decideApproval({ approvalId: approval.approval_id, granted: true, approver: "billing", reason: "checked" });
    const paid = await cra.execute(call);
    assert.equal(paid.status, "success", JSON.stringify(paid.error));
    // A high tier: what approved the call was on disk before it ran.
    assert.equal(stored.length, 1);
    assert.match(stored[0]?.trimEnd().split("\n").at(-1) ?? "", /"event_type":"action.approved"/);
  });

  test("a request is validated without effect, and a nested session ends with its parent", async () => {
    const { sessionId } = await resolved("refund order 1234");
    const child = await cra.createSession({ agentId: "sub-agent", goal: "look", parentSessionId: sessionId });
    const request = {
      carp_version: "1.0",
      request_id: "01234567-89ab-7def-8123-456789abcdef",
      timestamp: new Date().toISOString(),
      operation: "validate",
      requester: { agent_id: "sub-agent", session_id: child, parent_session_id: sessionId },
      task: { goal: "refund order 1234" },
    };
    const valid = await cra.validate(request);
    assert.deepEqual([valid.valid, valid.decision?.type, valid.would_execute], [true, "partial", null]);
    const same = await cra.resolveRequest(request);
    assert.deepEqual({ ...same, timestamp: "" }, { ...valid, timestamp: "" });
    const bad = await cra.validate({ ...request, timestamp: "2001-01-01T00:00:00Z", atlas_ids: ["com.none"] });
    assert.deepEqual(bad.findings.map(({ code }) => code), ["stale_timestamp", "atlas_not_found"]);
    await cra.endSession(sessionId);
    const events = await eventsOf(cra.traces(child));
    assert.deepEqual(
      events.map(({ event_type, payload }) => [event_type, payload["parent_session_id"] ?? payload["reason"]]),
      [["session.started", sessionId], ["session.ended", "cancelled"]],
    );
  });

  test("the same question asked with reuse gets the same resolution and adds two events", async () => {
    const { sessionId } = await resolved("refund order 1234");
    const options = { sessionId, goal: "refund order 1234", reuse: true };
    const first = await cra.resolve(options);
    assert.equal((await cra.resolve(options)).resolution_id, first.resolution_id);
    const last = (await eventsOf(cra.traces(sessionId))).slice(-2);
    assert.deepEqual(last.map(({ event_type }) => event_type), ["carp.request.received", "carp.resolution.cached"]);
  });

  test("each action of a resolution has the policy that decided it", async () => {
    const { sessionId, resolution } = await resolved("refund order 1234");
    const explained = await cra.explain({ sessionId, resolutionId: resolution.resolution_id });
    const byAction = new Map(explained.map((one) => [one.action_id, one]));
    assert.equal(byAction.get("customer.delete")?.policy_id, "deny-erasure");
    assert.equal(byAction.get("refund.quote")?.policy_id, "allow-lookup");
    assert.equal(explained.length, resolution.allowed_actions.length + resolution.denied_actions.length);
  });

  test("a thousand resolves are stored, chained and verified, and nothing is left in the buffer", async () => {
    const { sessionId } = await resolved("refund order 1234");
    for (let n = 0; n < 20; n += 1) {
      await Promise.all(Array.from({ length: 50 }, () => cra.resolve({ sessionId, goal: "refund order 1234" })));
    }
    await cra.endSession(sessionId);
    await cra.flush();
    const { resolver, traces } = await cra.statistics();
    assert.deepEqual([resolver.buffer.pending, resolver.buffer.in_flight, traces.events_quarantined], [0, 0, 0]);
    const result = await cra.verify(sessionId);
    assert.deepEqual([result.valid, result.warnings], [true, []]);
    assert.ok(result.events > 20_000, `${result.events} events`);
  });

  test("one flipped byte in the stored file is found at its event, and the file is what export gives", async () => {
    const { sessionId } = await resolved("refund order 1234");
    await cra.endSession(sessionId);
    const exported = await cra.exportJsonl(sessionId);
    const path = join(folder, "traces", `${sessionId}.trace.jsonl`);
    assert.deepEqual(new Uint8Array(await readFile(path)), exported);
    const lines = new TextDecoder().decode(exported).split("\n");
    const at = lines.slice(0, 5).join("\n").length + 200;
    const flipped = exported.slice();
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    await writeFile(path, flipped);
    const result = await cra.verify(sessionId);
    assert.deepEqual([result.valid, result.error_at], [false, 5]);
  });

  test("a session that asks for BLAKE3 is hashed with it by Python and by the trace worker", async () => {
    const wish = { agentId: "test-agent", goal: "read order 1234" };
    const sessionId = await cra.createSession({ ...wish, hashAlgorithm: "blake3" });
    const other = await cra.createSession(wish);
    await cra.registerExecutor("order.read", () => Promise.resolve({}));
    const { resolution_id: resolutionId } = await cra.resolve({ sessionId, goal: wish.goal });
    const parameters = { order_id: "1234" };
    await cra.execute({ sessionId, resolutionId, actionId: "order.read", parameters });
    await cra.endSession(sessionId);
    const [result, plain] = [await cra.verify(sessionId), await cra.verify(other)];
    assert.deepEqual([result.valid, result.algorithm, result.warnings], [true, "blake3", []]);
    assert.deepEqual([plain.valid, plain.algorithm], [true, "sha256"]);
    const events = await eventsOf(cra.traces(sessionId));
    const requested = events.find(({ event_type }) => event_type === "action.requested");
    // b3sum of {"order_id":"1234"}
    assert.equal(requested?.payload["parameters_hash"], "138bb79bed171a4c94fd345387b2b9b7f6e077cb4031da4c0767be329486e336");
  });

  test("a later boot reads and verifies what this one stored", async () => {
    const { sessionId } = await resolved("refund order 1234");
    await cra.flush();
    const later = await createCra(options);
    const result = await later.verify(sessionId);
    const known = (await later.sessions()).map(({ session_id }) => session_id);
    await later.close();
    assert.deepEqual([result.valid, result.warnings, known.includes(sessionId)], [true, ["truncated"], true]);
  });
});

test("connectTraces serves a host's own Pyodide and leaves no trace un-stored", async () => {
  interface HostPyodide {
    loadPackage(name: string, options: { messageCallback: () => void }): Promise<unknown>;
    pyimport(name: string): {
      create_session(agentId: string, goal: string): string;
      resolve(sessionId: string, goal: string): string;
      load_atlas(text: string): string;
      register_executor(actionId: string, executor: () => Promise<string>): string;
      execute(argumentsJson: string): Promise<string>;
      list_approvals(): string;
      decide_approval(argumentsJson: string): string;
    };
  }
  const module = (await import(pathToFileURL(join(SITE, "pyodide/pyodide.mjs")).href)) as {
    loadPyodide(options: { indexURL: string }): Promise<HostPyodide>;
  };
  const pyodide = await module.loadPyodide({ indexURL: join(SITE, "pyodide/") });
  await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
  const connection = await connectTraces(pyodide, { baseUrl: SITE, storage: "memory" });
  const bridge = pyodide.pyimport("cra_wasm.bridge");
  const { session_id } = JSON.parse(bridge.create_session("notebook", "look around")) as { readonly session_id: string };
  await connection.flush();
  assert.equal((await connection.statistics()).events_stored, 1);
  const exported = await connection.exportJsonl(session_id);
  const { strength, checkpoints, covered, ...chain } = await connection.verify(session_id);
  assert.deepEqual([await verifyTrace([exported]), strength, checkpoints, covered], [chain, "chain", 0, 0]);

  // A call of a high tier starts once its approval is stored, and nobody has to flush for it.
  bridge.load_atlas(ATLAS);
  const { resolution_id } = JSON.parse(bridge.resolve(session_id, "refund order 1234")) as Resolution;
  const storedBefore: number[] = [];
  bridge.register_executor("refund.create", async () => {
    storedBefore.push((await connection.statistics()).events_stored);
    return JSON.stringify(exampleResult("refund.create"));
  });
  const parameters = exampleParameters("refund.create");
  const call = JSON.stringify({ session_id, resolution_id, action_id: "refund.create", parameters });
  await bridge.execute(call);
  const [approval] = JSON.parse(bridge.list_approvals()) as [{ readonly approval_id: string }];
  bridge.decide_approval(JSON.stringify({ approval_id: approval.approval_id, granted: true, approver: "billing" }));
  const paid = JSON.parse(await bridge.execute(call)) as { readonly status: string };
  assert.equal(paid.status, "success");
  await connection.flush();
  assert.deepEqual(storedBefore, [(await connection.statistics()).events_stored - 1]);
  await connection.close();
});

void describe("the demo", () => {
  const demo = join(ROOT, "examples/node/demo.mjs");

  test("runs the main job, writes a trace that verifies and leaves nothing else behind", async () => {
    const work = await mkdtemp(join(folder, "demo-"));
    const { code, output } = await run([demo, "out.trace.jsonl"], work);
    assert.equal(code, 0, output);
    assert.deepEqual((await readdir(work)).sort(), ["out.checkpoints.jsonl", "out.trace.jsonl"]);
    const lines = (await readFile(join(work, "out.checkpoints.jsonl"), "utf8")).trimEnd().split("\n");
    const result = await verifyWithCheckpoints([await readFile(join(work, "out.trace.jsonl"))], { lines });
    assert.deepEqual([result.valid, result.warnings, result.strength], [true, [], "signed"]);
    assert.equal(result.covered, result.events);
    assert.ok(output.includes(`${result.events} events`) && output.includes(result.head ?? "no head"), output);
    for (const word of ["partial", "deny-erasure", "refund.quote", "denied"]) assert.ok(output.includes(word), word);
  });

  test("fails with a reason when its trace cannot be written", async () => {
    const { code, output } = await run([demo, join(folder, "no/such/folder/x.jsonl")], folder);
    assert.equal(code, 1);
    assert.match(output, /The demo failed: ENOENT/);
  });

  test("the ten lines of hello.mjs run as they stand", async () => {
    const { code, output } = await run([join(ROOT, "examples/node/hello.mjs")], folder);
    assert.equal(code, 0, output);
    assert.match(output, /partial/);
    assert.match(output, /valid: true/);
  });
});

interface AtlasAction {
  readonly action_id: string;
  readonly examples: readonly [{ readonly parameters: Record<string, never>; readonly expected_result: unknown }];
}

function example(actionId: string): AtlasAction["examples"][0] {
  const { actions } = JSON.parse(ATLAS) as { readonly actions: readonly AtlasAction[] };
  const found = actions.find(({ action_id }) => action_id === actionId);
  assert.ok(found !== undefined);
  return found.examples[0];
}

function exampleParameters(actionId: string): Record<string, never> {
  return example(actionId).parameters;
}

function exampleResult(actionId: string): unknown {
  return example(actionId).expected_result;
}
