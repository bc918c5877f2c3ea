import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import type { Cra, CraOptions, Executor, TraceProblem } from "../../web/src/api.js";
import { parseEntry, parseNote } from "../../web/src/checkpoint.js";
import { createCra } from "../../web/src/client.js";
import { connectTraces } from "../../web/src/connect.js";
import { CraError } from "../../web/src/errors.js";
import type { TraceEvent } from "../../web/src/model.js";
import { SESSION_B } from "./events.js";
import { asModule, FakeBridge } from "./fake-bridge.js";

/** A site whose resolver's worker holds a bridge without Python; build/test.mjs makes it. */
const SITE = process.env["CRA_TEST_SITE"] ?? "";

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function newFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `cra-${name}-`));
  folders.push(folder);
  return folder;
}

/** The same site under another name: the fake bridge reads from its address what is to go wrong. */
async function siteNamed(name: string): Promise<string> {
  const folder = await newFolder(name);
  await symlink(join(SITE, "lib"), join(folder, "lib"));
  return folder;
}

/** A site whose trace workers end when `killTraceWorkers` is called. */
async function mortalSite(): Promise<string> {
  const folder = await newFolder("mortal");
  await mkdir(join(folder, "lib"));
  await symlink(join(SITE, "lib/resolver.worker.js"), join(folder, "lib/resolver.worker.js"));
  await symlink(join(SITE, "lib/mortal-trace.worker.js"), join(folder, "lib/trace.worker.js"));
  return folder;
}

function killTraceWorkers(): void {
  const channel = new BroadcastChannel("cra-wasm tests: end trace workers");
  channel.postMessage(null);
  channel.close();
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

async function withCra(options: CraOptions, work: (cra: Cra) => Promise<void>): Promise<void> {
  const cra = await createCra({ baseUrl: SITE, storage: "memory", ...options });
  try {
    await work(cra);
  } finally {
    await cra.close();
  }
}

async function eventsOf(traces: AsyncIterable<TraceEvent>): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  for await (const event of traces) events.push(event);
  return events;
}

test("a site that is not there rejects the boot and leaves nothing running", async () => {
  await assert.rejects(createCra({ baseUrl: await newFolder("empty"), storage: "memory" }), withCode("worker_dead"));
});

test("a boot that fails tells why", async () => {
  const baseUrl = await siteNamed("broken");
  await assert.rejects(createCra({ baseUrl, storage: "memory" }), (error) => {
    assert.ok(withCode("boot_failed")(error));
    assert.match((error as CraError).message, /no such wheel/);
    return true;
  });
});

test("a storage that is not there rejects the boot", async () => {
  await assert.rejects(createCra({ baseUrl: SITE, storage: "indexeddb" }), withCode("unknown_storage"));
});

test("an error of Python arrives as a CraError with its code and pointer", async () => {
  await withCra({}, async (cra) => {
    await assert.rejects(cra.loadAtlas("{"), withCode("invalid_json"));
    await assert.rejects(cra.loadAtlas({}), (error) => {
      assert.ok(withCode("invalid_atlas")(error));
      assert.deepEqual((error as CraError).details, { pointer: "/atlas_id" });
      return true;
    });
    await assert.rejects(cra.resolve({ sessionId: "nobody", goal: "g" }), withCode("session_not_found"));
    await assert.rejects(cra.registerExecutor("", () => Promise.resolve(1)), withCode("invalid_id"));
  });
});

test("an atlas crosses as text or as bytes of its own, with its options", async () => {
  await withCra({}, async (cra) => {
    const large = new Uint8Array(1000);
    for (const [bytes, size] of [[large.subarray(10, 15), 5], [Buffer.from("PK"), 2], [large.buffer, 1000]] as const) {
      const { warnings } = await cra.loadAtlas(bytes, { strict: false });
      assert.deepEqual(warnings, [{ pointer: '{"strict":false}', code: "bytes", message: `${size} of ${size}` }]);
    }
    assert.equal(large.byteLength, 1000, "the caller's buffer stays the caller's");
    assert.deepEqual((await cra.loadAtlas(new Uint8Array(1))).warnings[0]?.pointer, '{"strict":true}');
    assert.deepEqual(await cra.getAtlas("com.example"), { atlas_id: "com.example" });
  });
});

test("a Python exception that is no CRAError rejects one call and stops nothing", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await assert.rejects(cra.resolve({ sessionId, goal: "throw" }), withCode("worker_failed"));
    assert.equal((await cra.loadAtlas({ atlas_id: "com.example" })).atlas_id, "com.example");
  });
});

test("camelCase arguments cross as the protocol's JSON, and absent ones do not cross", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    const plain: unknown = await cra.resolve({ sessionId, goal: "refund" });
    assert.deepEqual(plain, { arguments: [sessionId, "refund", "low", ""] });
    const full: unknown = await cra.resolve({
      sessionId,
      goal: "refund",
      riskTier: "high",
      requiredCapabilities: ["c"],
      contextHints: [],
      atlasIds: ["x"],
      context: { k: 1 },
      reuse: true,
    });
    const options =
      '{"required_capabilities":["c"],"context_hints":[],"atlas_ids":["x"],"context":{"k":1},"reuse":true}';
    assert.deepEqual(full, { arguments: [sessionId, "refund", "high", options] });
    assert.deepEqual(await cra.explain({ sessionId, resolutionId: "r" }), [sessionId, "r"]);
    assert.deepEqual(await cra.decideApproval({ approvalId: "p", granted: true, approver: "me", expiresInSeconds: 60 }), {
      approval_id: "p",
      granted: true,
      approver: "me",
      expires_in_seconds: 60,
    });
  });
});

test("a request to validate crosses as it is, object or text, and a nested session names its parent", async () => {
  await withCra({}, async (cra) => {
    const request = { operation: "validate", task: { goal: "g" } };
    assert.deepEqual(await cra.validate(request), request);
    assert.deepEqual(await cra.validate(JSON.stringify(request)), request);
    const parentSessionId = await cra.createSession({ agentId: "a", goal: "g" });
    const sessionId = await cra.createSession({ agentId: "b", goal: "g", parentSessionId });
    const [started] = await eventsOf(cra.traces(sessionId));
    assert.equal(started?.payload["parent_session_id"], parentSessionId);
    const [first] = await eventsOf(cra.traces(parentSessionId));
    assert.equal(first?.payload["parent_session_id"], undefined);
  });
});

test("timers are configured before anything else, in the units of the bridge", async () => {
  await withCra({}, async (cra) => {
    assert.deepEqual((await cra.statistics()).resolver["configured"], {});
  });
  const sessionTtl = { idleTimeoutSeconds: 60, maxLifetimeSeconds: null };
  await withCra({ heartbeat: {}, sessionTtl }, async (cra) => {
    assert.deepEqual((await cra.statistics()).resolver["configured"], {
      heartbeat: {},
      session_ttl: { idle_timeout_seconds: 60, max_lifetime_seconds: null },
    });
  });
});

test("timers that are refused reject the boot and leave nothing running", async () => {
  const heartbeat = { intervalSeconds: 0 };
  await assert.rejects(createCra({ baseUrl: SITE, storage: "memory", heartbeat }), withCode("invalid_heartbeat"));
});

test("what was emitted is flushed, read back, verified and exported as one chain", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.resolve({ sessionId, goal: "refund" });
    await cra.endSession(sessionId);
    await cra.flush();
    const events = await eventsOf(cra.traces(sessionId));
    assert.deepEqual(
      events.map(({ sequence, event_type }) => [sequence, event_type]),
      [[0, "session.started"], [1, "carp.resolution.completed"], [2, "session.ended"]],
    );
    const head = events.at(-1)?.event_hash ?? "";
    assert.deepEqual(await cra.verify(sessionId), { valid: true, events: 3, error: null, error_at: null, message: null, head, algorithm: "sha256", warnings: [], profile: "jcs", protects_boundaries: true, strength: "signed", checkpoints: 1, covered: 3 });
    assert.deepEqual(await cra.sessions(), [
      { session_id: sessionId, next_sequence: 3, head_hash: head, ended: true, algorithm: "sha256", at_risk: 0 },
    ]);
    const text = new TextDecoder().decode(await cra.exportJsonl(sessionId));
    assert.deepEqual(text.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown), events);
    const { resolver, traces } = await cra.statistics();
    assert.deepEqual([resolver.version, traces.store, traces.events_stored, traces.state], ["fake", "memory", 3, "running"]);
  });
});

test("a session is hashed as it asks, else as createCra was told", async () => {
  await withCra({ hashAlgorithm: "blake3" }, async (cra) => {
    const wish = { agentId: "a", goal: "g" };
    const own = await cra.createSession(wish);
    const other = await cra.createSession({ ...wish, hashAlgorithm: "sha256" });
    const told = await Promise.all([own, other].map((id) => cra.verify(id)));
    assert.deepEqual(told.map(({ valid, algorithm }) => [valid, algorithm]), [[true, "blake3"], [true, "sha256"]]);
    const events = await eventsOf(cra.traces(own));
    assert.equal(events[0]?.payload["hash_algorithm"], "blake3");
  });
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g", hashAlgorithm: "blake3" });
    assert.equal((await cra.verify(sessionId)).algorithm, "blake3");
  });
});

test("a hash that nobody knows is refused before anything starts", async () => {
  const hashAlgorithm = "md5" as "sha256";
  await assert.rejects(createCra({ baseUrl: SITE, storage: "memory", hashAlgorithm }), withCode("unknown_algorithm"));
  await withCra({}, async (cra) => {
    const wish = { agentId: "a", goal: "g", hashAlgorithm };
    await assert.rejects(cra.createSession(wish), withCode("unknown_algorithm"));
  });
});

test("a site without the package of a hash says so and hashes with no other", async () => {
  const baseUrl = await siteNamed("lean");
  const refused = createCra({ baseUrl, storage: "memory", hashAlgorithm: "blake3" });
  await assert.rejects(refused, withCode("hash_unavailable"));
  await withCra({ baseUrl }, async (cra) => {
    const wish = { agentId: "a", goal: "g" };
    await assert.rejects(cra.createSession({ ...wish, hashAlgorithm: "blake3" }), withCode("hash_unavailable"));
    assert.deepEqual(await cra.sessions(), []);
    assert.equal((await cra.verify(await cra.createSession(wish))).algorithm, "sha256");
  });
});

test("reads see what was emitted before them without a flush", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    assert.equal((await eventsOf(cra.traces(sessionId))).length, 1);
    await cra.emit(sessionId, "note.taken", { n: 1 });
    assert.equal((await cra.verify(sessionId)).events, 2);
  });
});

test("thousands of events of one call come out whole, in chunks", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.emit(sessionId, "many.events", { count: 5_000 });
    const events = await eventsOf(cra.traces(sessionId));
    assert.deepEqual([events.length, events.at(-1)?.sequence], [5_001, 5_000]);
    assert.equal((await cra.verify(sessionId)).valid, true);
  });
});

test("a session streams out as it is stored, in whole lines, and a stream can be given up", async () => {
  await withCra({}, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.emit(sessionId, "many.events", { count: 5_000 });
    const whole = await cra.exportJsonl(sessionId);
    const chunks: Uint8Array[] = [];
    for await (const chunk of cra.exportStream(sessionId)) chunks.push(chunk);
    assert.ok(chunks.length > 1, `${chunks.length} chunks`);
    assert.ok(chunks.every((chunk) => chunk.at(-1) === 10));
    assert.deepEqual(Buffer.concat(chunks), Buffer.from(whole));
    await cra.exportStream(sessionId).cancel();
    await assert.rejects(cra.exportStream(SESSION_B).getReader().read(), withCode("session_not_found"));
  });
});

// PROTOCOL 3.18.1, 3.18.3
test("retention removes the oldest finished sessions, never a pinned or a running one, and tells where they ended", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("traces"), retention: { maxSessions: 2 } };
  await withCra(options, async (cra) => {
    const sessions: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      sessions.push(await cra.createSession({ agentId: "a", goal: "g" }));
      await cra.flush();
      if (n === 0) await cra.pin(sessions[0] ?? "");
      if (n !== 1) await cra.endSession(sessions[n] ?? "");
      await cra.flush();
      while ((await cra.statistics()).traces.sessions_removed < n - 2) await cra.flush();
    }
    const kept = (await cra.sessions()).map(({ session_id }) => session_id);
    assert.ok(kept.includes(sessions[0] ?? "") && kept.includes(sessions[1] ?? ""), kept.join());
    const sealed = await cra.sealedSessions();
    assert.deepEqual(sealed.map(({ session_id, events }) => [session_id, events]).slice(0, 2), [[sessions[2], 2], [sessions[3], 2]]);
    await assert.rejects(cra.verify(sessions[2] ?? ""), withCode("session_removed"));
    await assert.rejects(cra.pin(sessions[2] ?? ""), withCode("session_removed"));
    await assert.rejects(cra.pin(SESSION_B), withCode("session_not_found"));
  });
});

test("limits that are none reject the boot", async () => {
  const refused = createCra({ baseUrl: SITE, storage: "memory", retention: { maxBytes: -1 } });
  await assert.rejects(refused, withCode("invalid_retention"));
});

test("a session that is not stored, or an id that is none, is refused by name", async () => {
  await withCra({}, async (cra) => {
    await assert.rejects(cra.verify(SESSION_B), withCode("session_not_found"));
    await assert.rejects(cra.exportJsonl(SESSION_B), withCode("session_not_found"));
    await assert.rejects(eventsOf(cra.traces(SESSION_B)), withCode("session_not_found"));
    await assert.rejects(cra.verify("../../etc/passwd"), withCode("invalid_id"));
  });
});

test("an executor runs on this thread with its parameters and its call", async () => {
  await withCra({}, async (cra) => {
    const request = { sessionId: "s", resolutionId: "r", actionId: "order.refund", parameters: { amount: 5 } };
    await assert.rejects(cra.execute(request), withCode("no_executor"));
    const seen: unknown[] = [];
    await cra.registerExecutor("order.refund", (parameters, call) => {
      seen.push(parameters, call.action_id);
      return Promise.resolve({ refunded: true });
    });
    assert.deepEqual((await cra.execute(request)).result, { refunded: true });
    assert.deepEqual(seen, [{ amount: 5 }, "order.refund"]);
    await cra.registerExecutor("order.refund", () => Promise.resolve(undefined));
    const nothing = await cra.execute(request);
    assert.deepEqual([nothing.status, nothing.result], ["success", null]);
    await cra.unregisterExecutor("order.refund");
    await assert.rejects(cra.execute(request), withCode("no_executor"));
  });
});

test("an executor that throws, or whose result is no JSON, fails its action and nothing else", async () => {
  await withCra({}, async (cra) => {
    const request = { sessionId: "s", resolutionId: "r", actionId: "a.b", parameters: {} };
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const odd = new CraError(Symbol() as unknown as string, "m");
    const executors: readonly (readonly [Executor, string])[] = [
      [() => Promise.reject(new Error("no such order")), "executor_failed"],
      [() => Promise.reject(odd), "executor_failed"],
      // Not everything that is thrown has a text.
      [() => Promise.reject(Object.create(null) as Error), "executor_failed"],
      [() => Promise.resolve(circular), "invalid_result"],
      [() => Promise.resolve(1n), "invalid_result"],
      [() => Promise.resolve({ rate: NaN }), "invalid_result"],
    ];
    for (const [executor, code] of executors) {
      await cra.registerExecutor("a.b", executor);
      const response = await cra.execute(request);
      assert.deepEqual([response.status, response.error?.code], ["error", code]);
    }
  });
});

test("an executor that never answers fails at its deadline", async () => {
  await withCra({ deadlines: { executeMs: 200 } }, async (cra) => {
    await cra.registerExecutor("a.b", () => new Promise(() => undefined));
    const call = cra.execute({ sessionId: "s", resolutionId: "r", actionId: "a.b", parameters: {} });
    await assert.rejects(
      call.then(({ error }) => {
        throw new CraError(error?.code ?? "", "the worker's own deadline came first");
      }),
      withCode("deadline_exceeded"),
    );
  });
});

test("a worker that does not answer rejects at the deadline", async () => {
  const baseUrl = await siteNamed("silent");
  const cra = await createCra({ baseUrl, storage: "memory", deadlines: { callMs: 50, storeMs: 50 } });
  await assert.rejects(cra.listAtlases(), withCode("deadline_exceeded"));
  await assert.rejects(cra.close(), withCode("deadline_exceeded"));
  await assert.rejects(cra.listAtlases(), withCode("closed"));
});

test("a resolver that dies rejects every pending call, and what is stored can still be read", async () => {
  const baseUrl = await siteNamed("deadly");
  const cra = await createCra({ baseUrl, storage: "memory" });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  await cra.flush();
  await cra.registerExecutor("a.b", () => new Promise(() => undefined));
  const waiting = cra.execute({ sessionId, resolutionId: "r", actionId: "a.b", parameters: {} });
  const deadly = cra.listAtlases();
  await assert.rejects(waiting, withCode("worker_dead"));
  await assert.rejects(deadly, withCode("worker_dead"));
  await assert.rejects(cra.createSession({ agentId: "a", goal: "g" }), withCode("worker_dead"));
  await assert.rejects(cra.flush(), withCode("worker_dead"));
  const types = (await eventsOf(cra.traces(sessionId))).map(({ event_type, payload }) => [event_type, payload["reason"] ?? payload["cause"]]);
  assert.deepEqual(types.slice(1), [["trace.gap", "resolver_died"], ["session.ended", "interrupted"]]);
  assert.deepEqual(await cra.verify(sessionId).then(({ valid, warnings }) => [valid, warnings]), [true, []]);
  await cra.close();
});

// PROTOCOL 3.16.5, 3.17.5
test("a trace worker that dies is replaced, and nothing that was emitted is lost", async () => {
  const problems: TraceProblem[] = [];
  const options: CraOptions = {
    baseUrl: await mortalSite(),
    storage: "file",
    databaseName: await newFolder("traces"),
    onTraceProblem: (problem) => problems.push(problem),
  };
  await withCra(options, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    for (let round = 1; round <= 3; round += 1) {
      await cra.emit(sessionId, "many.events", { count: 2_000 });
      // It dies in the middle of storing these, or before.
      const flushed = cra.flush();
      killTraceWorkers();
      await flushed;
      assert.equal((await eventsOf(cra.traces(sessionId))).length, 1 + round * 2_000);
    }
    await cra.endSession(sessionId);
    const { valid, events, warnings } = await cra.verify(sessionId);
    assert.deepEqual([valid, events, warnings], [true, 6_002, []]);
    const { traces } = await cra.statistics();
    assert.ok(traces.restarts >= 1 && traces.restarts <= 3, `${traces.restarts} restarts`);
    assert.deepEqual([traces.events_quarantined, traces.recovered], [0, []]);
    assert.ok(problems.every(({ code }) => code === "worker_dead"), JSON.stringify(problems));
  });
});

// PROTOCOL 3.16.5
test("a trace worker in memory is not replaced: every call rejects, none waits", async () => {
  const cra = await createCra({ baseUrl: await mortalSite(), storage: "memory" });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  await cra.flush();
  killTraceWorkers();
  await assert.rejects(cra.flush().then(() => cra.flush()), withCode("worker_dead"));
  await assert.rejects(cra.verify(sessionId), withCode("worker_dead"));
  await assert.rejects(cra.close(), withCode("worker_dead"));
});

// PROTOCOL 3.16.6
test("a resolver that died is replaced on request: its sessions are marked, executors stay", async () => {
  const baseUrl = await siteNamed("deadly");
  const cra = await createCra({ baseUrl, storage: "file", databaseName: await newFolder("traces") });
  await cra.registerExecutor("a.b", () => Promise.resolve({ ran: true }));
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  await cra.flush();
  await assert.rejects(cra.listAtlases(), withCode("worker_dead"));
  const restarting = cra.restart();
  assert.equal(cra.restart(), restarting);
  await restarting;
  const types = (await eventsOf(cra.traces(sessionId))).map(({ event_type }) => event_type);
  assert.deepEqual(types, ["session.started", "trace.gap", "session.ended"]);
  assert.equal((await cra.execute({ sessionId: "s", resolutionId: "r", actionId: "a.b", parameters: {} })).status, "success");
  await cra.close();
  await assert.rejects(cra.restart(), withCode("closed"));
});

test("a resolver that is stuck is replaced too, and what waits for it rejects", async () => {
  const baseUrl = await siteNamed("silent");
  const deadlines = { callMs: 300 };
  const cra = await createCra({ baseUrl, storage: "file", databaseName: await newFolder("traces"), deadlines });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  await cra.flush();
  await assert.rejects(cra.listAtlases(), withCode("deadline_exceeded"));
  await cra.restart();
  const events = await eventsOf(cra.traces(sessionId));
  assert.deepEqual(events.at(-1)?.payload["reason"], "interrupted");
  await cra.close();
});

test("a session that its client left running is ended by the next one, with no gap after an orderly close", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("traces") };
  let sessionId = "";
  await withCra(options, async (cra) => {
    sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  });
  await withCra(options, async (cra) => {
    while ((await cra.statistics()).traces.recovery === "waiting") await cra.flush();
    const events = await eventsOf(cra.traces(sessionId));
    assert.deepEqual(events.map(({ event_type }) => event_type), ["session.started", "session.ended"]);
    assert.deepEqual(await cra.verify(sessionId).then(({ valid, warnings }) => [valid, warnings]), [true, []]);
    const { traces } = await cra.statistics();
    assert.deepEqual(traces.recovered, [{ session_id: sessionId, first_sequence: 1, count: 1, lost_at_most: 0, cause: "interrupted" }]);
  });
});

test("a session that another client of this process runs is left alone", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("traces") };
  await withCra(options, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.flush();
    await withCra(options, async (later) => {
      while ((await later.statistics()).traces.recovery === "waiting") await later.flush();
      assert.deepEqual(await later.verify(sessionId).then(({ events, warnings }) => [events, warnings]), [1, ["truncated"]]);
    });
    await cra.endSession(sessionId);
    await cra.flush();
    assert.deepEqual((await cra.verify(sessionId)).events, 2);
  });
});

test("close stores what is pending, is one close however often it is called, and ends all calls", async () => {
  const folder = await newFolder("traces");
  const cra = await createCra({ baseUrl: SITE, storage: "file", databaseName: folder });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  assert.equal(cra.close(), cra.close());
  await cra.close();
  await assert.rejects(cra.resolve({ sessionId, goal: "g" }), withCode("closed"));
  await assert.rejects(cra.verify(sessionId), withCode("closed"));
  assert.equal((await readFile(join(folder, `${sessionId}.trace.jsonl`), "utf8")).split("\n").length, 2);
});

test("two pages that emit other events under one session: the loser is told and the chain stays whole", async () => {
  const folder = await newFolder("traces");
  const problems: TraceProblem[] = [];
  const options: CraOptions = { storage: "file", databaseName: folder, onTraceProblem: (problem) => problems.push(problem) };
  let sessionId = "";
  await withCra(options, async (cra) => {
    sessionId = await cra.createSession({ agentId: "first", goal: "g" });
    await cra.endSession(sessionId);
  });
  // The fake's ids are counted, so its second life makes the same session id with another first event.
  const cra = await createCra({ baseUrl: SITE, ...options });
  assert.equal(await cra.createSession({ agentId: "second", goal: "g" }), sessionId);
  await assert.rejects(cra.flush(), withCode("session_forked"));
  assert.deepEqual(problems.map(({ code, notice }) => [code, notice?.session_id]), [["session_forked", sessionId]]);
  assert.deepEqual(await cra.verify(sessionId).then(({ valid, events }) => [valid, events]), [true, 2]);
  await cra.close();
});

test("connectTraces stores what a host's own bridge emits, and leaves the bridge to the host", async () => {
  const bridge = new FakeBridge();
  const pyodide = { pyimport: (name: string) => (name === "cra_wasm.bridge" ? asModule(bridge) : undefined) };
  const connection = await connectTraces(pyodide, { baseUrl: SITE, storage: "memory" });
  const { session_id } = JSON.parse(bridge.create_session("a", "g")) as { readonly session_id: string };
  await connection.flush();
  assert.equal(bridge.pending_events(), 0);
  assert.deepEqual((await eventsOf(connection.traces(session_id))).length, 1);
  bridge.emit(session_id, "note.taken", "{}");
  assert.equal((await connection.verify(session_id)).events, 2);
  assert.equal((await connection.statistics()).events_stored, 2);
  bridge.emit(session_id, "note.taken", "{}");
  assert.equal(connection.close(), connection.close());
  await connection.close();
  assert.deepEqual([bridge.pending_events(), bridge.closed], [0, 0]);
});

test("connectTraces flushes what was made before the call, and rejects where Python is gone", async () => {
  const bridge = new FakeBridge();
  let isGone = false;
  const ask = bridge.pending_events.bind(bridge);
  bridge.pending_events = () => {
    if (isGone) throw new Error("Object has already been destroyed");
    return ask();
  };
  const connection = await connectTraces({ pyimport: () => asModule(bridge) }, { baseUrl: SITE, storage: "memory" });
  const { session_id: sessionId } = JSON.parse(bridge.create_session("a", "g")) as { readonly session_id: string };
  let [made, done] = [1, false];
  const flushed = connection.flush().then(() => (done = true));
  // Events that keep coming while it is stored.
  while (!done) {
    bridge.emit(sessionId, "note.taken", "{}");
    made += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await flushed;
  await connection.flush();
  assert.equal((await connection.statistics()).events_stored, made);
  await connection.close();
  isGone = true;
  await assert.rejects(connection.flush(), withCode("closed"));
});

test("connectTraces without the wheel rejects", async () => {
  const pyodide = {
    pyimport: () => {
      throw new Error("No module named 'cra_wasm'");
    },
  };
  await assert.rejects(connectTraces(pyodide, { baseUrl: SITE, storage: "memory" }), withCode("boot_failed"));
});

test("checkpointEvery that is no count of events is refused", async () => {
  for (const checkpointEvery of [0, -1, 1.5, NaN, Infinity, "10" as unknown as number]) {
    await assert.rejects(createCra({ baseUrl: SITE, storage: "memory", checkpointEvery }), withCode("invalid_checkpoint_every"));
  }
});

test("compress does nothing to a storage without segments, and the statistics say so", async () => {
  for (const [compress, compression] of [[true, "unavailable"], [false, "off"]] as const) {
    await withCra({ storage: "memory", compress }, async (cra) => {
      assert.equal((await cra.statistics()).traces.compaction.compression, compression);
    });
  }
});

test("a session's checkpoints are signed by one key of its folder, which survives and can be pinned", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("signed"), checkpointEvery: 2 };
  let vkey = "";
  let sessionId = "";
  await withCra(options, async (cra) => {
    vkey = await cra.publicKey();
    sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.flush();
    assert.deepEqual(await cra.checkpoints(sessionId), []);
    assert.deepEqual((await cra.verify(sessionId)).strength, "chain");
    await assert.rejects(cra.checkpoints(SESSION_B), withCode("session_not_found"));
    for (let n = 0; n < 2; n += 1) {
      await cra.resolve({ sessionId, goal: "refund" });
      await cra.flush();
    }
    const { strength, covered } = await cra.verify(sessionId);
    assert.deepEqual([strength, covered], ["signed", 2]);
    await cra.endSession(sessionId);
  });
  await withCra(options, async (cra) => {
    assert.equal(await cra.publicKey(), vkey);
    const lines = (await cra.checkpoints(sessionId)).map((line) => JSON.parse(line) as { readonly key: string });
    assert.deepEqual(lines.map(({ key }) => key), [vkey, vkey]);
    assert.deepEqual((await cra.verify(sessionId, { publicKeys: [vkey] })).strength, "signed-pinned");
    const other = await createCra({ baseUrl: SITE, storage: "memory" });
    const result = await cra.verify(sessionId, { publicKeys: [await other.publicKey()] });
    await other.close();
    assert.deepEqual([result.valid, result.error], [false, "checkpoint_key_unpinned"]);
    await assert.rejects(cra.verify(sessionId, { publicKeys: ["me"] }), withCode("checkpoint_malformed"));
    await assert.rejects(cra.verify(sessionId, { witness: "file:///etc" }), withCode("invalid_witness"));
    await assert.rejects(cra.verify(sessionId, { witness: "http://127.0.0.1:1" }), withCode("witness_failed"));
  });
});

test("a key that others may read signs nothing, and no event is lost for that", async () => {
  const databaseName = await newFolder("open-key");
  await writeFile(join(databaseName, "checkpoint.key.pem"), "a key", { mode: 0o644 });
  const problems: string[] = [];
  const onTraceProblem = ({ code }: TraceProblem): void => void problems.push(code);
  await withCra({ storage: "file", databaseName, onTraceProblem }, async (cra) => {
    await assert.rejects(cra.publicKey(), withCode("key_unsafe"));
    for (let n = 0; n < 2; n += 1) {
      const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
      await cra.endSession(sessionId);
      await cra.flush();
      const { valid, events, strength } = await cra.verify(sessionId);
      assert.deepEqual({ valid, events, strength }, { valid: true, events: 2, strength: "chain" });
    }
    const { checkpoints } = (await cra.statistics()).traces;
    assert.deepEqual([checkpoints.signed, checkpoints.failed, checkpoints.last_error?.code], [0, 2, "key_unsafe"]);
  });
  assert.deepEqual(problems, ["key_unsafe"]);
});

test("what retention removes leaves the checkpoint of its end", async () => {
  await withCra({ retention: { maxSessions: 0 }, checkpointEvery: 1 }, async (cra) => {
    const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
    await cra.flush();
    await cra.endSession(sessionId);
    await cra.flush();
    while ((await cra.sealedSessions()).length === 0) await cra.flush();
    const [line = "", ...more] = await cra.checkpoints(sessionId);
    const [sealed] = await cra.sealedSessions();
    const { size, head } = parseNote(parseEntry(line).note);
    assert.deepEqual([size, head, more.length], [sealed?.events, sealed?.head_hash, 0]);
  });
});

test("a witness that is no address is refused", async () => {
  for (const url of ["", "nowhere", "file:///tmp", "javascript:0"]) {
    await assert.rejects(createCra({ baseUrl: SITE, storage: "memory", witness: { url } }), withCode("invalid_witness"));
  }
});

test("a witness gets each checkpoint, and what it knows raises the strength of a verification", async () => {
  const entries: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () => {
      if (request.method === "GET") {
        response.end(entries.map((entry) => `${entry}\n`).join(""));
        return;
      }
      const { session_id, size, head } = parseNote(parseEntry(body).note);
      entries.push(JSON.stringify({ session_id, size, head }));
      response.end(entries.at(-1));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await withCra({ witness: { url }, storage: "memory" }, async (cra) => {
      assert.equal((await cra.statistics()).traces.witness?.sent, 0);
      const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
      await cra.flush();
      assert.deepEqual((await cra.verify(sessionId, { witness: url })).warnings, ["truncated", "unwitnessed"]);
      await cra.endSession(sessionId);
      await cra.flush();
      while ((await cra.statistics()).traces.witness?.sent !== 1) await cra.flush();
      const { strength, covered } = await cra.verify(sessionId, { witness: new URL(url) });
      assert.deepEqual([strength, covered, entries.length], ["witnessed", 2, 1]);
      entries[0] = entries[0]?.replace(/"head":"../, '"head":"zz') ?? "";
      await assert.rejects(cra.verify(sessionId, { witness: url }), withCode("witness_malformed"));
      entries[0] = JSON.stringify({ session_id: sessionId, size: 2, head: "ab".repeat(32) });
      assert.equal((await cra.verify(sessionId, { witness: url })).error, "checkpoint_mismatch");
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

// PROTOCOL 3.18.6, 3.18.7
test("an exported session can be imported elsewhere, by every form of its bytes, and is told when it is there already", async () => {
  await withCra({}, async (from) => {
    const sessionId = await from.createSession({ agentId: "a", goal: "g" });
    for (let n = 0; n < 5; n += 1) await from.emit(sessionId, "note.taken", { n });
    await from.endSession(sessionId);
    const bytes = await from.exportJsonl(sessionId);
    for (const source of [() => from.exportStream(sessionId), () => new Blob([bytes]), () => bytes, () => bytes.buffer]) {
      await withCra({ storage: "file", databaseName: await newFolder("import") }, async (to) => {
        await assert.rejects(to.importSession(bytes.subarray(0, bytes.length - 5)), withCode("invalid_trace"));
        await assert.rejects(to.verify(sessionId), withCode("session_not_found"));
        const result = await to.importSession(source());
        assert.deepEqual([result.session_id, result.imported, result.warnings], [sessionId, true, []]);
        assert.deepEqual((await to.verify(sessionId)).head, result.head);
        assert.deepEqual(await to.exportJsonl(sessionId), bytes);
        assert.equal((await to.importSession(source())).imported, false);
        assert.deepEqual((await to.sessions()).map(({ imported }) => imported), [true]);
      });
    }
  });
});

test("a stream that fails, or a trace worker that dies, interrupts an import and leaves nothing", async () => {
  await withCra({}, async (cra) => {
    const failing = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.error(new Error("the network is gone"));
      },
    });
    await assert.rejects(cra.importSession(failing), withCode("import_interrupted"));
    assert.deepEqual(await cra.sessions(), []);
  });
  await withCra({ baseUrl: await mortalSite(), storage: "file", databaseName: await newFolder("import") }, async (cra) => {
    let pulls = 0;
    const slow = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        pulls += 1;
        // Two pieces are away by now, of which the worker's successor knows nothing.
        if (pulls === 4) {
          killTraceWorkers();
          while ((await cra.statistics()).traces.restarts === 0) await cra.sessions();
        }
        controller.enqueue(new TextEncoder().encode("x".repeat(1_048_576)));
      },
    });
    await assert.rejects(cra.importSession(slow), withCode("import_interrupted"));
    assert.deepEqual(await cra.sessions(), []);
  });
});

// PROTOCOL 3.18.1
test("a session that retention removes while it is read or verified rejects, and does not look cut off", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("overtaken"), retention: { maxSessions: 1 } };
  await withCra(options, async (cra) => {
    const removeIt = async (): Promise<void> => {
      const removed = (await cra.statistics()).traces.sessions_removed;
      await cra.endSession(await cra.createSession({ agentId: "a", goal: "g" }));
      while ((await cra.statistics()).traces.sessions_removed === removed) await cra.flush();
    };
    const long = async (): Promise<string> => {
      const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
      for (let n = 0; n < 10; n += 1) await cra.emit(sessionId, "many.events", { count: 1_000 });
      await cra.endSession(sessionId);
      await cra.flush();
      return sessionId;
    };
    const reader = cra.exportStream(await long()).getReader();
    await reader.read();
    await removeIt();
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    }, withCode("session_removed"));
    // Its witness is asked before its events are read.
    const sessionId = await long();
    const server = createServer((_, response) => {
      void removeIt().then(() => response.end());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const witness = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await assert.rejects(cra.verify(sessionId, { witness }), withCode("session_removed"));
    server.close();
  });
});

// PROTOCOL 3.17.3
test("a client that closes makes no more events behind what it stores", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("closing") };
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cra = await createCra({ baseUrl: SITE, ...options, witness: { url } });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  // A checkpoint that its witness never answers for holds the close up.
  await cra.endSession(await cra.createSession({ agentId: "a", goal: "g" }));
  await cra.flush();
  const closing = cra.close();
  const taken: string[] = [];
  await assert.rejects(async () => {
    for (;;) {
      await cra.emit(sessionId, "note.taken", {});
      taken.push("note.taken");
    }
  }, withCode("resolver_closed"));
  await closing;
  server.closeAllConnections();
  server.close();
  await withCra(options, async (next) => {
    while ((await next.statistics()).traces.recovery === "waiting") await next.flush();
    const types = (await eventsOf(next.traces(sessionId))).map(({ event_type }) => event_type);
    assert.deepEqual(types, ["session.started", ...taken, "session.ended"]);
  });
});

// PROTOCOL 3.17.3
test("a client that closes while an executor runs does not claim that nothing can be missing", async () => {
  const options: CraOptions = { storage: "file", databaseName: await newFolder("executing") };
  const cra = await createCra({ baseUrl: SITE, ...options });
  const begun = new Promise<void>((resolve) => {
    void cra.registerExecutor("a.b", () => new Promise(() => { resolve(); }));
  });
  const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
  const executing = cra.execute({ sessionId, resolutionId: "r", actionId: "a.b", parameters: {} });
  const rejected = assert.rejects(executing, withCode("closed"));
  await begun;
  await cra.close();
  await rejected;
  await withCra(options, async (next) => {
    while ((await next.statistics()).traces.recovery === "waiting") await next.flush();
    const types = (await eventsOf(next.traces(sessionId))).map(({ event_type }) => event_type);
    assert.deepEqual(types, ["session.started", "trace.gap", "session.ended"]);
  });
});
