import assert from "node:assert/strict";
import { test } from "node:test";

import { Channel, Reply } from "../../web/src/channel.js";
import type { Handlers } from "../../web/src/channel.js";
import { CraError } from "../../web/src/errors.js";

interface Remote {
  echo: { params: unknown; result: unknown };
  fail: { params: string; result: null };
  never: { params: null; result: null };
  bytes: { params: Uint8Array; result: Uint8Array };
  function: { params: null; result: unknown };
  missing: { params: null; result: null };
}

interface Notes {
  news: { readonly n: number };
}

const LONG_MS = 60_000;

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

/** The end that asks, the end that answers, and what the latter was told. */
function connected(): { asking: Channel<Remote, object, object, Notes>; answering: Channel<object, Remote, Notes>; news: number[] } {
  const { port1, port2 } = new MessageChannel();
  const news: number[] = [];
  const handlers: Omit<Handlers<Remote>, "missing"> = {
    echo: (params) => params,
    fail: (text) => {
      if (text === "plain") throw new RangeError("x".repeat(1_000_000));
      if (text === "uncloneable") throw new CraError("odd", "details that cannot cross", { function: () => 1 });
      throw new CraError("budget_exceeded", "no more", { pointer: "/execution/parameters" });
    },
    never: () => new Promise(() => undefined),
    bytes: (params) => new Reply(params, [params.buffer]),
    function: () => () => 1,
  };
  const asking = new Channel<Remote, object, object, Notes>(port1, { peer: "other end", handlers: {}, notes: {} });
  const answering = new Channel<object, Remote, Notes>(port2, {
    peer: "asker",
    handlers: handlers as Handlers<Remote>,
    notes: {
      news: ({ n }) => {
        news.push(n);
      },
    },
  });
  return { asking, answering, news };
}

test("a call is answered, in whatever order, and notes arrive before later calls", async () => {
  const { asking, news } = connected();
  asking.note("news", { n: 7 });
  assert.deepEqual(await Promise.all([asking.call("echo", 1, LONG_MS), asking.call("echo", { a: [null] }, LONG_MS)]), [1, { a: [null] }]);
  assert.deepEqual(news, [7]);
  asking.close();
});

test("an error crosses with its code and its details", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("fail", "", LONG_MS), (error) => {
    assert.ok(error instanceof CraError);
    assert.deepEqual(error.toBody(), { code: "budget_exceeded", message: "no more", details: { pointer: "/execution/parameters" } });
    return true;
  });
  asking.close();
});

test("an error that is none of ours crosses cut to a readable length", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("fail", "plain", LONG_MS), (error) => error instanceof CraError && error.code === "worker_failed" && error.message.length < 5_000);
  asking.close();
});

test("details or results that cannot be cloned are still answered", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("fail", "uncloneable", LONG_MS), withCode("odd"));
  await assert.rejects(asking.call("function", null, LONG_MS), withCode("worker_failed"));
  asking.close();
});

test("arguments that cannot be cloned reject the call at once", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("echo", () => 1, LONG_MS), withCode("uncloneable_arguments"));
  asking.close();
});

test("an unknown method is answered, not ignored", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("missing", null, LONG_MS), withCode("unknown_method"));
  asking.close();
});

test("a call without an answer rejects at its deadline, and a late answer harms nothing", async () => {
  const { asking } = connected();
  await assert.rejects(asking.call("never", null, 5), (error) => {
    assert.ok(withCode("deadline_exceeded")(error));
    assert.deepEqual((error as CraError).details, { method: "never", deadline_ms: 5 });
    return true;
  });
  assert.equal(await asking.call("echo", "on it goes", LONG_MS), "on it goes");
  asking.close();
});

test("an other end that goes away rejects every pending call and all later ones", async () => {
  const { asking, answering } = connected();
  const pending = [asking.call("never", null, LONG_MS), asking.call("never", null, LONG_MS)];
  const heard: string[] = [];
  asking.onFailure(({ code }) => heard.push(code));
  answering.close();
  for (const call of pending) await assert.rejects(call, withCode("worker_dead"));
  await assert.rejects(asking.call("echo", 1, LONG_MS), withCode("worker_dead"));
  assert.equal(asking.failure?.code, "worker_dead");
  asking.onFailure(({ code }) => heard.push(`late ${code}`));
  asking.fail(new CraError("other", "a second failure"));
  assert.deepEqual(heard, ["worker_dead", "late worker_dead"]);
});

test("a reply can hand over its buffer instead of a copy", async () => {
  const { asking } = connected();
  const echoed = await asking.call("bytes", new Uint8Array([1, 2, 3]), LONG_MS);
  assert.deepEqual([...echoed], [1, 2, 3]);
  asking.close();
});
