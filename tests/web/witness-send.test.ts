import assert from "node:assert/strict";
import { test } from "node:test";

import { vkeyText } from "../../web/src/checkpoint.js";
import { generateKeys, publicKeyOf, signCheckpoint } from "../../web/src/checkpoint-keys.js";
import { MemoryStore } from "../../web/src/store-memory.js";
import type { StoredCheckpoint } from "../../web/src/store.js";
import { CraError } from "../../web/src/errors.js";
import { askWitness } from "../../web/src/witness-ask.js";
import { WitnessSender } from "../../web/src/witness-send.js";
import { SESSION_A, SESSION_B } from "./events.js";

const HEAD = "ab".repeat(32);
const KEYS = await generateKeys();
const KEY = await publicKeyOf(KEYS);

async function checkpoint(size: number, session_id = SESSION_A): Promise<StoredCheckpoint> {
  const facts = { session_id, size, head: HEAD, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
  return { session_id, size, key: vkeyText(KEY), note: await signCheckpoint(KEYS, KEY, facts) };
}

function told(size: number, members: object = {}): string {
  return JSON.stringify({ session_id: SESSION_A, size, head: HEAD, algorithm: "sha256", key: vkeyText(KEY), ...members });
}

function conflict(size: number, members: object = {}): Response {
  const known = JSON.parse(told(size, members)) as object;
  return new Response(JSON.stringify({ error: { code: "witness_conflict", message: "no" }, known }), { status: 409 });
}

/** It never ends, and tells how many bytes somebody took and whether they let it go. */
function endless(): { readonly response: Response; readonly seen: { bytes: number; cancelled: boolean } } {
  const seen = { bytes: 0, cancelled: false };
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      seen.bytes += 65_536;
      controller.enqueue(new Uint8Array(65_536).fill(0x20));
    },
    cancel: () => {
      seen.cancelled = true;
    },
  });
  return { response: new Response(body), seen };
}

type Answer = () => Response | Promise<Response>;

/** A witness that gives the queued answers, then none; and a clock that runs only when asked. */
class Bench {
  readonly store: MemoryStore;
  readonly requests: { readonly url: string; readonly init: RequestInit; readonly size: string | undefined }[] = [];
  readonly problems: string[] = [];
  readonly pauses: number[] = [];
  answers: Answer[];
  readonly sender: WitnessSender;
  #timers: (() => void)[] = [];

  constructor(answers: Answer[], store = new MemoryStore(), random = 1) {
    this.store = store;
    this.answers = answers;
    this.sender = new WitnessSender({
      url: "https://witness.example/",
      store,
      fetching: async (url, init) => {
        const { note } = JSON.parse(init.body as string) as { readonly note: string };
        this.requests.push({ url, init, size: note.split("\n")[1] });
        const answer = this.answers.shift();
        if (answer === undefined) throw new TypeError("refused");
        return await answer();
      },
      after: (delayMs, work) => {
        this.pauses.push(delayMs);
        this.#timers.push(work);
        return () => {
          this.#timers = this.#timers.filter((each) => each !== work);
        };
      },
      random: () => random,
      onProblem: ({ code }) => this.problems.push(code),
    });
  }

  get timers(): number {
    return this.#timers.length;
  }

  async offer(...all: readonly StoredCheckpoint[]): Promise<void> {
    for (const each of all) {
      await this.store.keepCheckpoint(each);
      this.sender.offer(each);
    }
    await this.quiet();
  }

  async elapse(): Promise<void> {
    this.#timers.shift()?.();
    await this.quiet();
  }

  /** Until nothing moves: every answer here is given at once. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  sizes(): (string | undefined)[] {
    return this.requests.map(({ size }) => size);
  }
}

const faults: Readonly<Record<string, Answer>> = {
  "an error of its own": () => new Response("oops", { status: 500 }),
  "too many sessions": () => new Response('{"error":{}}', { status: 507 }),
  "a refused connection": () => Promise.reject(new TypeError("fetch failed")),
  "a timeout": () => Promise.reject(new DOMException("timed out", "TimeoutError")),
  "a page for everything": () => new Response("<html>welcome</html>"),
  "nothing": () => new Response(""),
  "no end": () => endless().response,
  "null": () => new Response("null"),
  "a receipt of another session": () => new Response(told(5, { session_id: SESSION_B })),
  "a receipt of another size": () => new Response(told(4)),
  "a receipt of another head": () => new Response(told(5, { head: "cd".repeat(32) })),
  "a receipt that breaks off": () => new Response(told(5).slice(0, -1)),
  "a conflict without what it knows": () => new Response("{}", { status: 409 }),
  "a redirection": () => new Response(null, { status: 304 }),
};
for (const [what, fault] of Object.entries(faults)) {
  test(`${what} is tried again, and no problem`, async () => {
    const bench = new Bench([fault, fault, () => new Response(told(5))]);
    await bench.offer(await checkpoint(5));
    const { sent, pending, failed, last_error: error } = bench.sender.statistics();
    assert.deepEqual([sent, pending, failed, error?.code], [0, 1, 1, "witness_failed"]);
    assert.equal((await bench.store.unwitnessed()).length, 1);
    await bench.elapse();
    await bench.elapse();
    assert.deepEqual([bench.sender.statistics().sent, bench.sender.statistics().pending, bench.timers], [1, 0, 0]);
    assert.deepEqual([bench.sizes(), bench.problems], [["5", "5", "5"], []]);
    assert.deepEqual(await bench.store.unwitnessed(), []);
  });
}

for (const status of [400, 403, 413, 422]) {
  test(`what is refused with ${status} is told and not tried again before a restart`, async () => {
    const bench = new Bench([() => new Response("{}", { status })]);
    await bench.offer(await checkpoint(5));
    const { sent, pending, failed, last_error: error } = bench.sender.statistics();
    assert.deepEqual([sent, pending, failed, error?.code, bench.timers], [0, 0, 1, "witness_refused", 0]);
    assert.deepEqual(bench.problems, ["witness_refused"]);
    assert.equal((await bench.store.unwitnessed()).length, 1);
  });
}

for (const [what, answer] of [["head", conflict(5, { head: "cd".repeat(32) })], ["key of a newer one", conflict(9, { key: "other" })]] as const) {
  test(`another ${what} is an alarm and not sent again`, async () => {
    const bench = new Bench([() => answer]);
    await bench.offer(await checkpoint(5));
    const { sent, pending, superseded, failed } = bench.sender.statistics();
    assert.deepEqual({ sent, pending, superseded, failed }, { sent: 0, pending: 0, superseded: 0, failed: 1 });
    assert.deepEqual([bench.problems, bench.timers, await bench.store.unwitnessed()], [["witness_conflict"], 0, []]);
  });
}

test("a witness that knows more already has superseded it", async () => {
  const bench = new Bench([() => conflict(9)]);
  await bench.offer(await checkpoint(5));
  const { sent, pending, superseded, failed } = bench.sender.statistics();
  assert.deepEqual({ sent, pending, superseded, failed }, { sent: 0, pending: 0, superseded: 1, failed: 0 });
  assert.deepEqual([bench.problems, bench.timers], [[], 0]);
});

test("pauses grow to five minutes, with jitter, however much is offered meanwhile", async () => {
  const bench = new Bench([], new MemoryStore(), 0);
  for (let size = 1; size <= 12; size += 1) {
    await bench.offer(await checkpoint(size));
    await bench.elapse();
  }
  assert.deepEqual(bench.pauses.slice(0, 4), [500, 1_000, 2_000, 4_000]);
  assert.equal(bench.pauses.at(-1), 150_000);
  assert.equal(bench.timers, 1);
});

test("of what waits only the newest of each session is sent", async () => {
  const bench = new Bench([]);
  await bench.offer(await checkpoint(1), await checkpoint(2), await checkpoint(1, SESSION_B), await checkpoint(3));
  const tried = bench.requests.length;
  assert.equal(bench.sender.statistics().pending, 2);
  bench.answers = [() => new Response(told(3)), () => new Response(told(1, { session_id: SESSION_B }))];
  await bench.elapse();
  assert.deepEqual(bench.sizes().slice(tried), ["3", "1"]);
  assert.equal(bench.sender.statistics().sent, 2);
});

test("what was not sent is sent after a restart, and what was is not", async () => {
  const first = new Bench([() => new Response(told(1, { session_id: SESSION_B }))]);
  await first.offer(await checkpoint(1, SESSION_B), await checkpoint(7));
  const again = new Bench([() => new Response(told(7))], first.store);
  again.sender.start();
  await again.quiet();
  assert.deepEqual([again.sizes(), again.sender.statistics().pending], [["7"], 0]);
});

test("at rest nothing is sent, and everything after it", async () => {
  const bench = new Bench([]);
  await bench.offer(await checkpoint(1));
  await bench.sender.rest();
  assert.equal(bench.timers, 0);
  await bench.offer(await checkpoint(2));
  assert.equal(bench.requests.length, 1);
  bench.answers = [() => new Response(told(2))];
  bench.sender.start();
  await bench.quiet();
  assert.deepEqual([bench.sizes(), bench.sender.statistics().sent], [["1", "2"], 1]);
});

test("a rest does not wait for ever for what is on its way", async () => {
  const bench = new Bench([() => new Promise<Response>(() => undefined)]);
  await bench.offer(await checkpoint(1));
  const resting = bench.sender.rest();
  await bench.elapse();
  await resting;
  assert.equal(bench.sender.statistics().sent, 0);
});

test("a request needs no preflight, carries no cookies and outlives the page", async () => {
  const bench = new Bench([() => new Response(told(1))]);
  await bench.offer(await checkpoint(1));
  const [request] = bench.requests;
  assert.equal(request?.url, "https://witness.example/checkpoints");
  const { method, credentials, keepalive, headers } = request.init;
  assert.deepEqual({ method, credentials, keepalive }, { method: "POST", credentials: "omit", keepalive: true });
  assert.deepEqual(headers, { "content-type": "text/plain;charset=utf-8" });
});

test("of a witness that answers without end no more is read than 16 MiB", async () => {
  const { response, seen } = endless();
  const asking = askWitness("https://witness.example", SESSION_A, () => Promise.resolve(response));
  await assert.rejects(asking, (error) => error instanceof CraError && error.code === "witness_failed");
  assert.ok(seen.cancelled && seen.bytes < 17 * 1_048_576);
});
