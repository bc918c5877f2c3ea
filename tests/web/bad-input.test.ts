/** What a page gives that it should not: each is a CraError with a pointer, and nothing is left running or changed. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import type { Cra, CraOptions, ResolveOptions, TraceOptions } from "../../web/src/api.js";
import { parseWitnessed, verifyWithCheckpoints } from "../../web/src/checkpoint-verify.js";
import { createCra } from "../../web/src/client.js";
import { connectTraces } from "../../web/src/connect.js";
import { CraError } from "../../web/src/errors.js";
import { verifyTrace } from "../../web/src/verify.js";
import { SESSION_A } from "./events.js";
import { asModule, FakeBridge } from "./fake-bridge.js";

const SITE = process.env["CRA_TEST_SITE"] ?? "";
const OPTIONS: CraOptions = { baseUrl: SITE, storage: "memory" };

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function newFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `cra-${name}-`));
  folders.push(folder);
  return folder;
}

function refusing(code: string, pointer: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CraError, String(error));
    assert.deepEqual([error.code, error.details["pointer"]], [code, pointer], error.message);
    return true;
  };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

async function withCra(options: CraOptions, work: (cra: Cra) => Promise<void>): Promise<void> {
  const cra = await createCra({ ...OPTIONS, ...options });
  try {
    await work(cra);
  } finally {
    await cra.close();
  }
}

/** What no types stop in JavaScript. */
type Untyped = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

/** Call it as JavaScript may; what it throws rejects, too. */
async function untyped(target: object, name: string, args: readonly unknown[]): Promise<unknown> {
  const answer = (target as Untyped)[name]?.(...args);
  if (name !== "traces") return await answer;
  return await (answer as AsyncIterator<unknown>).next();
}

void describe("createCra and connectTraces refuse", () => {
  const refused: readonly (readonly [unknown, string])[] = [
    [null, ""],
    [5, ""],
    [[], ""],
    [{ storge: "memory" }, "/storge"],
    [{ deadlines: null }, "/deadlines"],
    [{ deadlines: { executMs: 1 } }, "/deadlines/executMs"],
    ...[Infinity, NaN, 0, -1, 2 ** 31, "1000", null, 1n].map((ms) => [{ deadlines: { storeMs: ms } }, "/deadlines/storeMs"] as const),
    [{ baseUrl: 5 }, "/baseUrl"],
    [{ baseUrl: "http://[" }, "/baseUrl"],
    [{ baseUrl: "data:text/plain,x" }, "/baseUrl"],
    [{ databaseName: "" }, "/databaseName"],
    [{ databaseName: 5 }, "/databaseName"],
    [{ storage: 5 }, "/storage"],
    [{ retention: null }, "/retention"],
    [{ witness: null }, "/witness"],
    [{ witness: { adress: "http://127.0.0.1:1" } }, "/witness/adress"],
    [{ compress: "no" }, "/compress"],
    [{ askToPersist: 0 }, "/askToPersist"],
    [{ onTraceProblem: "log" }, "/onTraceProblem"],
    [
      {
        get storage(): never {
          throw new Error("mine");
        },
      },
      "/storage",
    ],
  ];
  const refusedByCra: readonly (readonly [unknown, string])[] = [
    ...refused,
    [{ heartbeat: { intervalSecond: 5 } }, "/heartbeat/intervalSecond"],
    [{ heartbeat: null }, "/heartbeat"],
    [{ sessionTtl: { idleTimeout: 5 } }, "/sessionTtl/idleTimeout"],
    [{ hashAlgorithm: Symbol("sha256") }, "/hashAlgorithm"],
    [{ onProgress: 5 }, "/onProgress"],
  ];
  const pyodide = { pyimport: () => asModule(new FakeBridge()) };

  test("options that they do not know or that are of another kind, before anything starts", async () => {
    for (const [given, pointer] of refusedByCra) {
      await assert.rejects(createCra(given as CraOptions), refusing("invalid_arguments", pointer), pointer);
    }
    for (const [given, pointer] of [...refused, [{ heartbeat: {} }, "/heartbeat"]] as const) {
      await assert.rejects(connectTraces(pyodide, given as TraceOptions), refusing("invalid_arguments", pointer), pointer);
    }
  });

  test("timers whose seconds would become none", async () => {
    const heartbeat = { intervalSeconds: Infinity };
    await assert.rejects(createCra({ ...OPTIONS, heartbeat }), refusing("invalid_heartbeat", "/heartbeat/intervalSeconds"));
    const sessionTtl = { idleTimeoutSeconds: NaN };
    await assert.rejects(createCra({ ...OPTIONS, sessionTtl }), refusing("invalid_session_ttl", "/sessionTtl/idleTimeoutSeconds"));
  });

  test("a witness that is no address, whatever it is", async () => {
    for (const url of [undefined, null, 5, Object.create(null), Symbol()]) {
      const witness = { url: url as string };
      await assert.rejects(createCra({ ...OPTIONS, witness }), refusing("invalid_witness", "/witness"));
    }
  });

  test("a site from which no worker can be started", async () => {
    await assert.rejects(createCra({ ...OPTIONS, baseUrl: "http://127.0.0.1:1" }), withCode("boot_failed"));
  });
});

test("a deadline that is undefined is the default", async () => {
  const deadlines = { executeMs: undefined, callMs: undefined, storeMs: undefined, bootMs: undefined } as unknown as { bootMs: number };
  await withCra({ deadlines }, async (cra) => {
    await cra.registerExecutor("a.b", async () => {
      await new Promise((done) => setTimeout(done, 50));
      return 1;
    });
    const call = { sessionId: "s", resolutionId: "r", actionId: "a.b", parameters: {} };
    assert.equal((await cra.execute(call)).status, "success");
  });
});

test("every call refuses what it does not know, what JSON would change and what is none of its arguments", async () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const call = { sessionId: "s", resolutionId: "r", actionId: "a.b", parameters: {} };
  const question = { sessionId: SESSION_A, goal: "g" };
  const decision = { approvalId: "p", granted: true, approver: "me" };
  const wish = { agentId: "a", goal: "g" };
  const gone = new ArrayBuffer(2);
  structuredClone(gone, { transfer: [gone] });
  const cases: readonly (readonly [string, readonly unknown[], string, string])[] = [
    ["resolve", [], "invalid_arguments", ""],
    ["resolve", [null], "invalid_arguments", ""],
    ["resolve", [{ ...question, goal: { text: "g" } }], "invalid_arguments", "/goal"],
    ["resolve", [{ ...question, risk_tier: "critical" }], "invalid_arguments", "/risk_tier"],
    ["resolve", [{ ...question, context: { amount: NaN } }], "not_canonical", "/context/amount"],
    ["resolve", [{ ...question, context: NaN }], "invalid_context", "/context"],
    ["resolve", [{ ...question, requiredCapabilities: new Set(["c"]) }], "invalid_required_capabilities", "/task/required_capabilities"],
    ["resolve", [{ ...question, contextHints: [undefined] }], "invalid_context_hints", "/task/context_hints/0"],
    ["resolve", [{ ...question, atlasIds: new Map() }], "invalid_atlas_ids", "/atlas_ids"],
    ["resolveRequest", [{ context: { n: 1n } }], "invalid_request", "/context/n"],
    ["resolveRequest", [undefined], "invalid_request", ""],
    ["validate", [circular], "invalid_request", "/self"],
    ["loadAtlas", [{ atlas_id: "com.x", priority: NaN }], "invalid_atlas", "/priority"],
    ["loadAtlas", [undefined], "invalid_atlas", ""],
    ["loadAtlas", [gone], "invalid_arguments", ""],
    ["loadAtlas", [{ atlas_id: "com.x" }, { strikt: false }], "invalid_arguments", "/strikt"],
    ["loadAtlas", [{ atlas_id: "com.x" }, null], "invalid_arguments", ""],
    ["createSession", [], "invalid_arguments", ""],
    ["createSession", [{ ...wish, agentId: Symbol("a") }], "invalid_arguments", "/agentId"],
    ["createSession", [{ ...wish, hash_algorithm: "blake3" }], "invalid_arguments", "/hash_algorithm"],
    ["createSession", [{ ...wish, parentSessionId: "" }], "invalid_arguments", "/parentSessionId"],
    ["execute", [], "invalid_arguments", ""],
    ["execute", [{ ...call, idempotency_key: "k" }], "invalid_arguments", "/idempotency_key"],
    ["execute", [{ ...call, parameters: { n: 1n } }], "invalid_parameters", "/execution/parameters/n"],
    ["execute", [{ ...call, parameters: { limit: Infinity } }], "invalid_parameters", "/execution/parameters/limit"],
    ["execute", [{ ...call, parameters: { list: [undefined] } }], "invalid_parameters", "/execution/parameters/list/0"],
    ["registerExecutor", ["a.b", 5], "invalid_executor", "/executor"],
    ["decideApproval", [null], "invalid_arguments", ""],
    ["decideApproval", [{ ...decision, expires_in_seconds: 5 }], "invalid_arguments", "/expires_in_seconds"],
    ["decideApproval", [{ ...decision, expiresInSeconds: NaN }], "invalid_expiry", "/expires_in_seconds"],
    ["decideApproval", [{ ...decision, uses: Infinity }], "invalid_uses", "/uses"],
    ["emit", [SESSION_A, "my.event", { n: 1n }], "not_canonical", "/payload/n"],
    ["emit", [SESSION_A, "my.event", circular], "not_canonical", "/payload/self"],
    ["emit", [SESSION_A, "my.event", { tags: new Set() }], "not_canonical", "/payload/tags"],
    ["emit", [SESSION_A, "my.event"], "invalid_payload", "/payload"],
    ["emit", [SESSION_A, "my.event", [1]], "invalid_payload", "/payload"],
    ["emit", [SESSION_A, "my.event", null], "invalid_payload", "/payload"],
    ["explain", [], "invalid_arguments", ""],
    ["explain", [{ sessionId: () => "s", resolutionId: "r" }], "invalid_arguments", "/sessionId"],
    ["explain", [{ session_id: "s" }], "invalid_arguments", "/session_id"],
    ["flush", [null], "invalid_arguments", ""],
    ["flush", [{ durability: "strickt" }], "invalid_arguments", "/durability"],
    ["flush", [{ strict: true }], "invalid_arguments", "/strict"],
    ["verify", [], "invalid_id", "/sessionId"],
    ["verify", [[SESSION_A]], "invalid_id", "/sessionId"],
    ["verify", [SESSION_A, null], "invalid_arguments", ""],
    ["verify", [SESSION_A, { publickeys: [] }], "invalid_arguments", "/publickeys"],
    ["verify", [SESSION_A, { publicKeys: "k" }], "checkpoint_malformed", "/publicKeys"],
    ["verify", [SESSION_A, { publicKeys: new Uint8Array(32) }], "checkpoint_malformed", "/publicKeys"],
    ["verify", [SESSION_A, { publicKeys: ["k", 5] }], "checkpoint_malformed", "/publicKeys/1"],
    ["verify", [SESSION_A, { witness: null }], "invalid_witness", "/witness"],
    ["traces", [undefined], "invalid_id", "/sessionId"],
    ["checkpoints", [null], "invalid_id", "/sessionId"],
    ["exportJsonl", [5], "invalid_id", "/sessionId"],
    ["pin", [null], "invalid_id", "/sessionId"],
    ["pin", [SESSION_A, "false"], "invalid_arguments", "/pinned"],
    ["importSession", ["text"], "invalid_arguments", "/source"],
  ];
  await withCra({}, async (cra) => {
    for (const [name, args, code, pointer] of cases) {
      await assert.rejects(untyped(cra, name, args), refusing(code, pointer), `${name} ${pointer}`);
    }
    const read = cra.exportStream(undefined as unknown as string).getReader().read();
    await assert.rejects(read, refusing("invalid_id", "/sessionId"));
    // All of it left the client as it was.
    assert.deepEqual(await cra.sessions(), []);
    const sessionId = await cra.createSession(wish);
    const context = undefined as unknown as NonNullable<ResolveOptions["context"]>;
    assert.deepEqual(await cra.resolve({ sessionId, goal: "g", context }), { arguments: [sessionId, "g", "low", ""] });
    assert.equal((await cra.verify(sessionId)).valid, true);
  });
});

test("verification by itself refuses what is no trace, no key and no checkpoint", async () => {
  const witnessed = { session_id: SESSION_A, size: 1, head: "ab".repeat(32), algorithm: null };
  for (const [options, code, pointer] of [
    [null, "invalid_arguments", ""],
    [{}, "invalid_arguments", "/lines"],
    [{ lines: [5] }, "invalid_arguments", "/lines/0"],
    [{ lines: [], publickeys: ["k"] }, "invalid_arguments", "/publickeys"],
    [{ lines: [], publicKeys: new Uint8Array(32) }, "checkpoint_malformed", "/publicKeys"],
    [{ lines: [], publicKeys: Array(1) }, "checkpoint_malformed", "/publicKeys/0"],
    [{ lines: [], witnessed: "none" }, "invalid_arguments", "/witnessed"],
    [{ lines: [], witnessed: [witnessed, { ...witnessed, size: "1" }] }, "invalid_arguments", "/witnessed/1"],
  ] as const) {
    const given: unknown = options;
    await assert.rejects(verifyWithCheckpoints([], given as { lines: [] }), refusing(code, pointer), pointer);
  }
  for (const chunks of [null, undefined, 5, "text", {}, ["text"], new Uint8Array(2)]) {
    await assert.rejects(verifyTrace(chunks as []), refusing("invalid_arguments", "/chunks"));
  }
  assert.throws(() => parseWitnessed(5 as unknown as string), refusing("invalid_arguments", ""));
});

test("an import whose source stands still ends with its deadline, and at once when the client is closed", async () => {
  const still = (): ReadableStream<Uint8Array> => new ReadableStream({ pull: () => new Promise(() => undefined) });
  await withCra({ deadlines: { storeMs: 100 } }, async (cra) => {
    await assert.rejects(cra.importSession(still()), withCode("deadline_exceeded"));
  });
  const cra = await createCra(OPTIONS);
  const importing = assert.rejects(cra.importSession(still()), withCode("closed"));
  await cra.close();
  await importing;
  await assert.rejects(cra.importSession(still()), withCode("closed"));
});

test("an import does not wait for the source that it cancels", async () => {
  await withCra({}, async (cra) => {
    const bad = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(new TextEncoder().encode("no trace\n".repeat(200_000)));
      },
      cancel: () => new Promise(() => undefined),
    });
    await assert.rejects(cra.importSession(bad), withCode("invalid_trace"));
  });
});

void describe("a callback that throws", () => {
  /** Run a script that has `createCra` and OPTIONS; it must end by itself. */
  async function run(script: string): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
    const file = join(await newFolder("callbacks"), "script.mjs");
    const head = `import { createCra } from ${JSON.stringify(join(SITE, "lib/cra-wasm.js"))}; const OPTIONS = ${JSON.stringify(OPTIONS)};`;
    await writeFile(file, `${head}\n${script}`);
    const done = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 30_000 });
    return { code: done.status, out: done.stdout, err: done.stderr };
  }

  test("leaves the boot as it is, and Node running", async () => {
    const { code, out, err } = await run(`
      const onProgress = ({ done, total }) => { throw new Error("mine at " + done + "/" + total); };
      const cra = await createCra({ ...OPTIONS, onProgress });
      const other = await createCra({ ...OPTIONS, onProgress: async () => { throw Object.create(null); } });
      console.log(await cra.sessions(), await other.sessions());
      await cra.close();
      await other.close();
    `);
    assert.deepEqual([code, out], [0, "[] []\n"], err);
    for (const step of ["0/4", "0/1", "4/4"]) assert.match(err, new RegExp(`mine at ${step}`));
    assert.match(err, /something without a text/);
  });

  test("does not keep a trace worker that died from being replaced", async (context) => {
    const told = context.mock.method(console, "error", () => undefined);
    const site = await newFolder("mortal");
    await mkdir(join(site, "lib"));
    await symlink(join(SITE, "lib/resolver.worker.js"), join(site, "lib/resolver.worker.js"));
    await symlink(join(SITE, "lib/mortal-trace.worker.js"), join(site, "lib/trace.worker.js"));
    const onTraceProblem = (): void => {
      throw new Error("mine");
    };
    const options: CraOptions = { baseUrl: site, storage: "file", databaseName: await newFolder("traces"), onTraceProblem };
    await withCra(options, async (cra) => {
      const sessionId = await cra.createSession({ agentId: "a", goal: "g" });
      await cra.flush();
      const channel = new BroadcastChannel("cra-wasm tests: end trace workers");
      channel.postMessage(null);
      channel.close();
      while ((await cra.statistics()).traces.restarts === 0) await cra.sessions();
      assert.equal((await cra.verify(sessionId)).events, 1);
    });
    assert.ok(told.mock.callCount() >= 1);
  });
});
