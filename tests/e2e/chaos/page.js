/** A page that works until something ends it, and tells what it emitted and what flush() resolved for. */

const workers = [];
globalThis.Worker = class extends Worker {
  constructor(url, options) {
    super(url, options);
    workers.push({ name: options.name, worker: this });
  }
};

const { createCra, verifyTrace } = await import("./lib/cra-wasm.js");
const [seed, tab, witnessPort] = location.hash.slice(1).split("-").map(Number);

/** mulberry32: the same work for the same seed. */
let state = seed;
function random(below) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % below;
}

globalThis.acks = 0;
globalThis.problems = [];
/** How many large events this page still has to get acknowledged. */
globalThis.large = 0;
let working = true;
const report = (kind, body) => globalThis.chaosReport(JSON.stringify({ kind, tab, ...body }));

const cra = await createCra({
  baseUrl: "./",
  databaseName: "chaos",
  askToPersist: false,
  checkpointEvery: 100,
  // Some tabs only join segments, others compress what they join.
  compress: tab % 2 === 1,
  witness: { url: `http://127.0.0.1:${witnessPort}` },
  // All timers on: a record of its own each second, and an end for the sessions that are just left.
  heartbeat: { intervalSeconds: 1 },
  sessionTtl: { idleTimeoutSeconds: 6, maxLifetimeSeconds: 7200, idleWarningSeconds: 3 },
  onTraceProblem: ({ code, message, notice }) => {
    globalThis.problems.push(code);
    report("problem", { code, message, session: notice?.session_id ?? null });
  },
});
globalThis.cra = cra;

async function emitMany(session, count) {
  const text = "x".repeat(random(400));
  const calls = Array.from({ length: count }, (_, n) => cra.emit(session, "chaos.step", { n, text }));
  const settled = await Promise.allSettled(calls);
  const done = settled.filter(({ status }) => status === "fulfilled").map(({ value }) => value.sequence);
  if (done.length > 0) report("emitted", { session, sequence: done.at(-1) });
  const refused = settled.find(({ reason }) => reason !== undefined && reason.code !== "buffer_full");
  if (refused !== undefined) throw refused.reason;
  return done.at(-1);
}

async function flushed(session, sequence, ended) {
  await cra.flush({ durability: random(4) === 0 ? "strict" : "relaxed" });
  globalThis.acks += 1;
  report("acked", { session, sequence, ended });
}

async function runSession() {
  const session = await cra.createSession({ agentId: `tab-${tab}`, goal: "survive" });
  report("begun", { session });
  let sequence = 0;
  for (let rounds = 1 + random(6); rounds > 0 && working; rounds -= 1) {
    sequence = (await emitMany(session, 1 + random(60))) ?? sequence;
    if (random(3) > 0) await flushed(session, sequence, false);
  }
  if (random(4) === 0) return;
  await cra.endSession(session);
  await flushed(session, sequence + 1, true);
}

/** Events near the limit of a payload, each acknowledged before the next: one round's, so that a pause is short. */
async function runLarge() {
  const session = await cra.createSession({ agentId: `tab-${tab}`, goal: "fill the disk slowly" });
  report("begun", { session });
  while (globalThis.large > 0 && working) {
    const text = "x".repeat(900_000 + random(99_000));
    const { sequence } = await cra.emit(session, "chaos.large", { text });
    report("emitted", { session, sequence });
    await flushed(session, sequence, false);
    globalThis.large -= 1;
  }
}

globalThis.uncloneable = async () => {
  const session = await cra.createSession({ agentId: `tab-${tab}`, goal: "be left alone" });
  report("begun", { session });
  const nobody = () => undefined;
  const settled = await Promise.allSettled([cra.emit(session, nobody, {}), cra.pin(nobody)]);
  return settled.map(({ reason }) => reason?.code ?? "no rejection");
};

/** A resolver that is gone is replaced; anything else is tried again with a new session. */
async function mend(error) {
  report("error", { code: error.code ?? String(error) });
  try {
    await cra.listAtlases();
  } catch {
    report("restarting", {});
    await cra.restart();
    report("restarted", {});
  }
  await new Promise((resolve) => { setTimeout(resolve, 50); });
}

async function work() {
  while (working) await (globalThis.large > 0 ? runLarge() : runSession()).catch(mend);
}

globalThis.pause = async () => {
  working = false;
  await running;
};
globalThis.goOn = () => {
  working = true;
  running = work();
};

globalThis.endWorker = (name) => {
  workers.findLast((each) => each.name === name).worker.terminate();
};

/** Resolves to true once the named function's promise does, to false when it never did in that time. */
globalThis.until = async ([name, argument, milliseconds]) => {
  const end = performance.now() + milliseconds;
  while (!(await globalThis[name](argument))) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  return true;
};

globalThis.witnessCounts = async () => (await cra.statistics()).traces.witness;
globalThis.toldWitness = async ([name, before]) => (await witnessCounts())[name] > before;

/** False, too, while the resolver is being replaced. */
globalThis.recovered = () => cra.statistics().then(({ traces }) => traces.recovery === "done", () => false);

/** Whether none of these is stored without its end: who starts looks some times more where a lock was held. */
globalThis.allEnded = async (sessions) => {
  const open = new Set((await cra.sessions()).filter(({ ended }) => !ended).map(({ session_id }) => session_id));
  return !sessions.some((session) => open.has(session));
};

/** Who holds locks of these sessions, and how many clients hold any: told where a session did not end in time. */
globalThis.locksOf = async (sessions) => {
  const { held } = await navigator.locks.query();
  const clients = [...new Set(held.map(({ clientId }) => clientId))];
  const found = held.filter(({ name }) => sessions.includes(name.split(" ").at(-1)));
  return { clients: clients.length, held: found.map(({ name, clientId }) => `${name.split(" ").at(-1)} by ${clients.indexOf(clientId)}`) };
};

/** Each ended session: where its chain stands, and the size that its newest checkpoint tells. */
globalThis.signedEnds = async () => {
  const found = [];
  for (const { session_id: session, next_sequence: size, head_hash: head, ended } of await cra.sessions()) {
    if (!ended) continue;
    const newest = (await cra.checkpoints(session)).at(-1);
    found.push({ session, size, head, signed: newest === undefined ? 0 : Number(JSON.parse(newest).note.split("\n")[1]) });
  }
  return found;
};

/** Whether the next start has signed and told all that was stored. */
globalThis.allTold = async () => {
  const { checkpoints, witness } = (await cra.statistics()).traces;
  return checkpoints.state === "ready" && witness.pending === 0 && (await signedEnds()).every(({ size, signed }) => size === signed);
};

/** The runtimes' own sessions: what is stored and neither a session that a page began nor one of `known`. */
globalThis.auditOwn = async (known) => {
  const skip = new Set(known);
  const found = [];
  for (const { session_id: session } of await cra.sessions()) {
    if (skip.has(session)) continue;
    const bytes = await cra.exportJsonl(session);
    const { valid, error } = await verifyTrace([bytes]);
    const types = new TextDecoder().decode(bytes).trimEnd().split("\n").map((line) => JSON.parse(line).event_type);
    found.push({
      session, valid, error,
      ended: types.includes("session.ended"),
      heartbeats: types.filter((type) => type === "runtime.heartbeat").length,
    });
  }
  return found;
};

/** What is stored of these sessions: verified, and with its gap and end. */
globalThis.audit = async (wanted) => {
  const stored = new Set((await cra.sessions()).map(({ session_id }) => session_id));
  const found = [];
  for (const session of wanted.filter((id) => stored.has(id))) {
    const bytes = await cra.exportJsonl(session);
    const { valid, events, error } = await verifyTrace([bytes]);
    // Once more with its checkpoints, by the worker.
    const signed = await cra.verify(session);
    const tail = new TextDecoder().decode(bytes).trimEnd().split("\n").slice(-2).map((line) => JSON.parse(line));
    const gap = tail.find(({ event_type: type }) => type === "trace.gap");
    const end = tail.find(({ event_type: type }) => type === "session.ended");
    found.push({
      session, valid: valid && signed.valid, events, error: error ?? signed.error,
      gap: gap?.payload ?? null,
      ended: end?.payload.reason ?? null,
    });
  }
  return found;
};

let running = work();
report("ready", {});
globalThis.ready = true;
