import assert from "node:assert/strict";
import { test } from "node:test";

import { parseEntry, parseNote, vkeyText } from "../../web/src/checkpoint.js";
import { generateKeys, publicKeyOf } from "../../web/src/checkpoint-keys.js";
import { CheckpointSigner } from "../../web/src/checkpoint-signer.js";
import { CraError } from "../../web/src/errors.js";
import type { SessionHead } from "../../web/src/model.js";
import { MemoryStore } from "../../web/src/store-memory.js";
import type { StoredCheckpoint } from "../../web/src/store.js";
import { SESSION_A, SESSION_B } from "./events.js";

function head(next: number, members: Partial<SessionHead> = {}): SessionHead {
  return { session_id: SESSION_A, next_sequence: next, head_hash: "ab".repeat(32), ended: false, algorithm: "sha256", at_risk: 0, ...members };
}

/** A store that can refuse, and counts how often its key was asked for. */
class FaultyStore extends MemoryStore {
  faults: CraError[] = [];
  keyFaults: CraError[] = [];
  asked = 0;

  override keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    const fault = this.faults.shift();
    return fault === undefined ? super.keepCheckpoint(checkpoint) : Promise.reject(fault);
  }

  override signingKeys(): Promise<CryptoKeyPair> {
    this.asked += 1;
    const fault = this.keyFaults.shift();
    return fault === undefined ? super.signingKeys() : Promise.reject(fault);
  }
}

function signer(every: number): { store: FaultyStore; problems: string[]; signer: CheckpointSigner; step: (from: number, to: number, members?: Partial<SessionHead>) => void; sizes: () => Promise<number[]> } {
  const store = new FaultyStore();
  const problems: string[] = [];
  const made = new CheckpointSigner({ store, every, nowMs: () => 1_000, onProblem: ({ code }) => problems.push(code) });
  const step = (from: number, to: number, members: Partial<SessionHead> = {}): void => {
    made.stored([{ before: from, head: head(to, members) }]);
  };
  const sizes = async (): Promise<number[]> => (await made.lines(SESSION_A)).map((line) => parseNote(parseEntry(line).note).size);
  return { store, problems, signer: made, step, sizes };
}

test("a checkpoint that cannot be stored is counted and told once, and the next one is signed", async () => {
  const { store, problems, signer: made, step, sizes } = signer(10);
  store.faults = [new CraError("store_full", "no room"), new CraError("store_full", "no room")];
  for (const at of [10, 20, 30]) {
    step(at - 10, at);
    await made.idle();
  }
  assert.deepEqual(problems, ["store_full"]);
  assert.deepEqual(await sizes(), [30]);
  const { state, signed, failed, last_error: error } = made.statistics();
  assert.deepEqual([state, signed, failed, error?.code], ["ready", 1, 2, "store_full"]);
});

test("without Ed25519 nothing is told but the statistics, and the platform is asked once", async () => {
  const { store, problems, signer: made, step } = signer(1);
  store.keyFaults = [new CraError("ed25519_unavailable", "none here")];
  for (const at of [1, 2, 3]) {
    step(at - 1, at);
    await made.idle();
  }
  assert.deepEqual([made.statistics().state, made.statistics().failed, store.asked], ["unavailable", 0, 1]);
  assert.deepEqual(problems, []);
  assert.deepEqual(await made.lines(SESSION_A), []);
});

test("a head that is no checkpoint's is a problem and no crash", async () => {
  const { problems, signer: made } = signer(1);
  made.sign(head(1, { algorithm: "" }));
  await made.idle();
  assert.deepEqual(problems, ["checkpoint_malformed"]);
});

test("a key that could not be had is asked for again", async () => {
  const { store, signer: made, step, sizes } = signer(1);
  store.keyFaults = [new CraError("store_failed", "not now")];
  step(0, 1);
  await made.idle();
  step(1, 2);
  assert.deepEqual(await sizes(), [2]);
});

test("a store that was deleted under its page has another key, and signs by that one from then on", async () => {
  const { store, signer: made, step } = signer(1);
  step(0, 1);
  const before = await made.publicKey();
  const other = await generateKeys();
  store.signingKeys = (): Promise<CryptoKeyPair> => Promise.resolve(other);
  step(1, 2);
  const lines = await made.lines(SESSION_A);
  assert.deepEqual(lines.map((line) => parseEntry(line).key), [before, vkeyText(await publicKeyOf(other))]);
});

test("a session is signed where it goes past a multiple of the interval, and at its end", async () => {
  const { signer: made, step, sizes } = signer(10);
  for (const [from, to] of [[0, 9], [9, 10], [10, 19], [19, 41], [41, 49]] as const) {
    step(from, to);
    await made.idle();
  }
  step(49, 50, { ended: true });
  assert.deepEqual(await sizes(), [10, 41, 50]);
});

test("an end that a worker before it stored and did not sign is signed at the start, once, and nobody else's", async () => {
  const { store, signer: made, sizes } = signer(10);
  const of = (session_id: string, members: Partial<SessionHead> = {}): SessionHead => head(3, { session_id, ended: true, ...members });
  const heads = [
    of(SESSION_A),
    of(SESSION_B, { ended: false }),
    of("00000000-0000-7000-8000-0000000000ee", { imported: true }),
    of("00000000-0000-7000-8000-0000000000ff", { algorithm: "" }),
  ];
  await store.commit({
    expected: heads.map(({ session_id }) => ({ session_id, head: null })),
    segments: [],
    heads,
    quarantine: [],
    durability: "relaxed",
  });
  await made.catchUp();
  await made.catchUp();
  assert.deepEqual([await sizes(), made.statistics().signed, made.statistics().failed], [[3], 1, 0]);
});

test("an end that this worker has tried to sign is not tried again by its start", async () => {
  const { store, signer: made, step } = signer(10);
  store.keyFaults = [new CraError("key_unsafe", "others may read it")];
  const ended = head(2, { ended: true });
  await store.commit({ expected: [{ session_id: SESSION_A, head: null }], segments: [], heads: [ended], quarantine: [], durability: "relaxed" });
  step(0, 2, { ended: true });
  await made.catchUp();
  assert.deepEqual([made.statistics().signed, made.statistics().failed, store.asked], [0, 1, 1]);
});

test("an end that its start finds before the worker is told that it stored it is signed once", async () => {
  const { store, signer: made, step, sizes } = signer(10);
  await store.commit({
    expected: [{ session_id: SESSION_A, head: null }],
    segments: [],
    heads: [head(12, { ended: true })],
    quarantine: [],
    durability: "relaxed",
  });
  await made.catchUp();
  step(0, 11);
  step(11, 12, { ended: true });
  await made.idle();
  assert.deepEqual([await sizes(), made.statistics().signed], [[12], 1]);
});

test("what waits is one checkpoint a session, the newest, and nobody waits for it", async () => {
  const { signer: made, step, sizes } = signer(1);
  for (let at = 1; at <= 100; at += 1) step(at - 1, at);
  step(0, 5, { session_id: SESSION_B, ended: true });
  assert.equal(made.statistics().signed, 0);
  assert.deepEqual(await sizes(), [100]);
  assert.equal((await made.lines(SESSION_B)).length, 1);
});
