/** The trace worker as a whole, on this thread: with a page, a bridge and a folder of its own. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Channel } from "../../web/src/channel.js";
import type { None } from "../../web/src/channel.js";
import type { PageNotes, TraceMethods, TraceNotes } from "../../web/src/protocol.js";
import { TraceSource } from "../../web/src/source.js";
import { TraceHost } from "../../web/src/trace-host.js";
import { SESSION_A } from "./events.js";
import { asModule, FakeBridge } from "./fake-bridge.js";

const DEADLINE_MS = 20_000;

interface Rig {
  readonly page: Channel<TraceMethods, None, TraceNotes, PageNotes>;
  readonly bridge: FakeBridge;
  readonly problems: string[];
  /** How many sessions' locks are held. */
  readonly locked: () => Promise<number>;
}

async function withHost(
  prepare: (folder: string) => Promise<unknown>,
  work: (rig: Rig) => Promise<void>,
  { answers = true } = {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "cra-host-"));
  await prepare(folder);
  const [control, traces] = [new MessageChannel(), new MessageChannel()];
  new TraceHost(control.port2, traces.port2);
  const problems: string[] = [];
  const page = new Channel<TraceMethods, None, TraceNotes, PageNotes>(control.port1, {
    peer: "trace worker",
    handlers: {},
    notes: { problem: ({ code }) => void problems.push(code) },
  });
  const locked = async (): Promise<number> => {
    const names = (await readdir(join(folder, "locks"))).filter((name) => name.endsWith(".json"));
    const texts = await Promise.all(names.map((name) => readFile(join(folder, "locks", name), "utf8").catch(() => '{"pid":0}')));
    // One that is just written tells nothing yet.
    if (texts.includes("")) return -1;
    return texts.filter((text) => (JSON.parse(text) as { readonly pid: number }).pid !== 0).length;
  };
  const settings = { retention: null, checkpoint_every: 10_000, witness: null, compress: false } as const;
  await page.call("open", { storage: "file", database_name: folder, owner: crypto.randomUUID(), ...settings }, DEADLINE_MS);
  const bridge = new FakeBridge();
  const source = answers ? new TraceSource(traces.port1, asModule(bridge)) : null;
  if (!answers) traces.port1.postMessage({ kind: "note", topic: "ready", body: null });
  try {
    await work({ page, bridge, problems, locked });
  } finally {
    await page.call("close", { final: false }, DEADLINE_MS);
    page.close();
    source?.close();
    traces.port1.close();
    await rm(folder, { recursive: true });
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert.ok(performance.now() < end, "it never came");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a page that sleeps, wakes and sleeps again at once holds no lock while it sleeps, and all when it is awake", async () => {
  await withHost(() => Promise.resolve(), async ({ page, bridge, locked }): Promise<void> => {
    const recovery = async (): Promise<string> => (await page.call("statistics", null, DEADLINE_MS)).recovery;
    await until(async () => (await recovery()) === "done");
    for (let n = 0; n < 50; n += 1) bridge.create_session("a", "g");
    await page.call("flush", { durability: "relaxed", until: null }, DEADLINE_MS);
    assert.equal(await locked(), 50);
    for (let n = 0; n < 3; n += 1) {
      for (const topic of ["sleep", "awake", "sleep"] as const) page.note(topic, null);
      await until(async () => (await locked()) === 0);
      for (const topic of ["awake", "awake"] as const) page.note(topic, null);
      await until(async () => (await locked()) === 50);
    }
    bridge.create_session("a", "g");
    await page.call("flush", { durability: "relaxed", until: null }, DEADLINE_MS);
    assert.deepEqual((await page.call("statistics", null, DEADLINE_MS)).recovered, []);
  });
});

test("a close ends a sleep that waits for a resolver which does not answer", async () => {
  await withHost(() => Promise.resolve(), ({ page }) => {
    page.note("sleep", null);
    page.note("awake", null);
    return Promise.resolve();
  }, { answers: false });
});

test("what keeps a start from its end is told, once, and events are stored all the same", async () => {
  const damage = (folder: string): Promise<unknown> => mkdir(join(folder, `${SESSION_A}.checkpoints.jsonl`));
  await withHost(damage, async ({ page, bridge, problems }) => {
    await until(() => Promise.resolve(problems.length > 0));
    bridge.create_session("a", "g");
    await page.call("flush", { durability: "relaxed", until: null }, DEADLINE_MS);
    assert.equal((await page.call("sessions", null, DEADLINE_MS)).length, 1);
    assert.deepEqual(problems, ["store_failed"]);
  });
});
