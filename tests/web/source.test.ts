import assert from "node:assert/strict";
import { test } from "node:test";

import { Channel } from "../../web/src/channel.js";
import type { None } from "../../web/src/channel.js";
import type { PageMethods, ResolverMethods, ResolverNotes, SourceMethods, SourceNotes } from "../../web/src/protocol.js";
import { ResolverHost } from "../../web/src/resolver-host.js";
import { TraceSource } from "../../web/src/source.js";
import { FakeBridge, loadFakeBridge } from "./fake-bridge.js";

const DEADLINE_MS = 5_000;

test("the trace worker is told once per drain that much waits, from inside of the call that filled the buffer", async () => {
  const bridge = new FakeBridge();
  const { session_id: sessionId } = JSON.parse(bridge.create_session("a", "g")) as { readonly session_id: string };
  const emit = (count: number): string => bridge.emit(sessionId, "many.events", JSON.stringify({ count }));
  const { port1, port2 } = new MessageChannel();
  const heard: string[] = [];
  const worker = new Channel<SourceMethods, None, SourceNotes>(port2, {
    peer: "resolver",
    handlers: {},
    notes: { ready: () => heard.push("ready"), pressure: () => heard.push("pressure"), durable: () => heard.push("durable") },
  });
  const source = new TraceSource(port1, bridge);
  // Messages arrive in order: what was noted before an answer is heard before it.
  const progress = async (): Promise<readonly [number, number]> => {
    const { drained, pending } = await worker.call("progress", null, DEADLINE_MS);
    return [drained, pending];
  };

  emit(498);
  assert.deepEqual([await progress(), source.made()], [[0, 499], 499]);
  assert.deepEqual(heard, ["ready"]);
  emit(5_000);
  emit(1);
  assert.deepEqual(await progress(), [0, 5_500]);
  assert.deepEqual(heard, ["ready", "pressure"]);
  const { drained, pending } = await worker.call("drain", { max_events: 2 }, DEADLINE_MS);
  assert.deepEqual([drained, pending], [2, 5_498]);
  emit(1);
  assert.deepEqual([await progress(), source.made()], [[2, 5_499], 5_501]);
  assert.deepEqual(heard, ["ready", "pressure", "pressure"]);

  source.close();
  await worker.call("drain", { max_events: 1 }, DEADLINE_MS).catch(() => undefined);
  bridge.drain_traces(1);
  assert.doesNotThrow(() => emit(600));
  worker.close();
});

test("what is made is counted on where a trace worker is replaced, and once where a batch did not arrive", async () => {
  const bridge = new FakeBridge();
  const { session_id: sessionId } = JSON.parse(bridge.create_session("a", "g")) as { readonly session_id: string };
  const connect = (before: TraceSource | null): [TraceSource, Channel<SourceMethods, None, SourceNotes>] => {
    const { port1, port2 } = new MessageChannel();
    const ignored = (): void => undefined;
    const worker = new Channel<SourceMethods, None, SourceNotes>(port2, {
      peer: "resolver",
      handlers: {},
      notes: { ready: ignored, pressure: ignored, durable: ignored },
    });
    return [new TraceSource(port1, bridge, before), worker];
  };
  const [first, dying] = connect(null);
  bridge.emit(sessionId, "many.events", JSON.stringify({ count: 9 }));
  await dying.call("drain", { max_events: 2 }, DEADLINE_MS);
  const drain = bridge.drain_traces.bind(bridge);
  bridge.drain_traces = (maxEvents) => {
    drain(maxEvents);
    throw new Error("out of memory");
  };
  await assert.rejects(dying.call("drain", { max_events: 3 }, DEADLINE_MS));
  bridge.drain_traces = drain;
  first.close();
  dying.close();
  const [second, worker] = connect(first);
  assert.deepEqual(await worker.call("progress", null, DEADLINE_MS), { drained: 5, pending: 5 });
  assert.equal((await worker.call("redeliver", null, DEADLINE_MS)).length, 2);
  assert.equal(second.made(), 10);
  second.close();
  worker.close();
});

test("the trace worker hears of a call that waits to be stored, and can tell it that it is not", async () => {
  const bridge = new FakeBridge();
  const { port1, port2 } = new MessageChannel();
  const heard: unknown[] = [];
  const worker = new Channel<SourceMethods, None, SourceNotes>(port2, {
    peer: "resolver",
    handlers: {},
    notes: { ready: () => undefined, pressure: () => heard.push("pressure"), durable: (body) => heard.push(body) },
  });
  const source = new TraceSource(port1, bridge);
  bridge.create_session("a", "g");
  bridge.waitDurable();
  const refuse = (reason: string, session_ids: readonly string[] | null): Promise<null> =>
    worker.call("refuse", { reason, session_ids }, DEADLINE_MS);
  await refuse("the disk is full", null);
  await refuse("no chain", ["a", "b"]);
  await assert.rejects(refuse("", null), { code: "invalid_reason" });
  assert.deepEqual(heard, [{ until: 1 }]);
  assert.deepEqual(bridge.refusals, [
    ["the disk is full", ""],
    ["no chain", '["a","b"]'],
  ]);
  source.close();
  assert.doesNotThrow(() => {
    bridge.waitDurable();
  });
  worker.close();
});

// PROTOCOL 3.17.7
test("the trace worker is asked to store a session as soon as it starts, and for no other call", async () => {
  const [control, traces] = [new MessageChannel(), new MessageChannel()];
  const heard: string[] = [];
  const worker = new Channel<SourceMethods, None, SourceNotes>(traces.port2, {
    peer: "resolver",
    handlers: {},
    notes: {
      ready: () => heard.push("ready"),
      pressure: () => heard.push("pressure"),
      durable: () => heard.push("durable"),
    },
  });
  new ResolverHost(control.port2, traces.port1, loadFakeBridge);
  const page = new Channel<ResolverMethods, PageMethods, ResolverNotes>(control.port1, {
    peer: "resolver",
    handlers: { run_executor: () => "null" },
    notes: { progress: () => undefined },
  });
  await page.call("boot", { pyodideUrl: "file:///fake/", timing_json: "{}" }, DEADLINE_MS);
  await page.call("bridge", { name: "list_atlases", args: [] }, DEADLINE_MS);
  await worker.call("progress", null, DEADLINE_MS);
  assert.deepEqual(heard, ["ready"]);
  await page.call("bridge", { name: "create_session", args: ["a", "g"] }, DEADLINE_MS);
  assert.equal((await worker.call("progress", null, DEADLINE_MS)).pending, 1);
  assert.deepEqual(heard, ["ready", "pressure"]);
  page.close();
  worker.close();
});
