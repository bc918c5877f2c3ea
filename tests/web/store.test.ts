import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { appendFile, chmod, mkdtemp, open as openFile, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import fsPromises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, afterEach, describe, mock, test } from "node:test";

// Its classes too: idb tells a request from other objects by them.
import "fake-indexeddb/auto";

import { splitLines } from "../../web/src/bytes.js";
import { GENESIS_HASH } from "../../web/src/chain.js";
import { vkeyText } from "../../web/src/checkpoint.js";
import { publicKeyOf, signCheckpoint } from "../../web/src/checkpoint-keys.js";
import { compressSegment, platformCompress } from "../../web/src/compression.js";
import { CraError } from "../../web/src/errors.js";
import type { SessionHead } from "../../web/src/model.js";
import { openStore } from "../../web/src/open-store.js";
import { Keeper } from "../../web/src/retention.js";
import { FileStore } from "../../web/src/store-file.js";
import { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import { MemoryStore } from "../../web/src/store-memory.js";
import type { BatchWrite, QuarantineRecord, StoredCheckpoint, TraceStore } from "../../web/src/store.js";
import { blake3Events, chainLines, jsonl, rawEvent, rawEvents, SESSION_A, SESSION_B, uuid } from "./events.js";
import { putSegments, storedSegments } from "./stored-segments.js";

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cra-store-"));
  folders.push(folder);
  return folder;
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

function headOf(sessionId: string, lines: readonly string[]): SessionHead {
  const last = JSON.parse(lines.at(-1) ?? "") as { sequence: number; event_hash: string; event_type: string };
  const ended = last.event_type === "session.ended";
  const algorithm = lines[0]?.includes('"hash_algorithm":"blake3"') === true ? "blake3" : "sha256";
  return { session_id: sessionId, next_sequence: last.sequence + 1, head_hash: last.event_hash, ended, algorithm, at_risk: ended ? 0 : null };
}

/** A write that appends lines[from..to) of a session whose first `from` lines are stored. */
function appending(sessionId: string, lines: readonly string[], from: number, to: number): BatchWrite {
  const before = from === 0 ? null : headOf(sessionId, lines.slice(0, from));
  const bytes = new Uint8Array(jsonl(lines.slice(from, to)));
  return {
    expected: [{ session_id: sessionId, head: before }],
    segments: [{ session_id: sessionId, first_sequence: from, count: to - from, bytes }],
    heads: [headOf(sessionId, lines.slice(0, to))],
    quarantine: [],
    durability: "relaxed",
  };
}

function both(left: BatchWrite, right: BatchWrite): BatchWrite {
  return {
    expected: [...left.expected, ...right.expected],
    segments: [...left.segments, ...right.segments],
    heads: [...left.heads, ...right.heads],
    quarantine: [...left.quarantine, ...right.quarantine],
    durability: "strict",
  };
}

async function readAll(store: TraceStore, sessionId: string, maxBytes: number): Promise<string[]> {
  const lines: string[] = [];
  for (let position: number | null = 0; position !== null; ) {
    const chunk: Awaited<ReturnType<TraceStore["read"]>> = await store.read(sessionId, position, maxBytes);
    lines.push(...splitLines(chunk.bytes));
    position = chunk.next;
  }
  return lines;
}

const kinds: Readonly<Record<string, { open: () => Promise<TraceStore> }>> = {
  memory: { open: () => Promise.resolve(new MemoryStore()) },
  file: { open: async () => FileStore.open(await newFolder()) },
  indexeddb: { open: () => IndexedDbStore.open(randomUUID()) },
  "indexeddb, compressed": { open: openCompressed },
};

/** One in which every segment is compressed as soon as it is there. PROTOCOL 3.18.9 */
async function openCompressed(): Promise<TraceStore> {
  const [name, compress] = [randomUUID(), platformCompress()];
  assert.ok(compress !== null);
  const store = await IndexedDbStore.open(name, undefined, undefined, compress);
  const commit = store.commit.bind(store);
  store.commit = async (write) => {
    const stored = await commit(write);
    const plain = (await storedSegments(name)).filter(({ encoding }) => encoding === undefined);
    await putSegments(name, await Promise.all(plain.map((segment) => compressSegment(segment, compress))));
    return stored;
  };
  return store;
}

/** The stores of each transaction that `work` began and that may change them. */
async function recordChanges(work: () => Promise<void>): Promise<string[][]> {
  const database = IDBDatabase.prototype;
  const begin = Reflect.get(database, "transaction");
  const changes: string[][] = [];
  database.transaction = function (stores, mode, options): IDBTransaction {
    const transaction = begin.call(this, stores, mode, options);
    if (mode === "readwrite") changes.push([...transaction.objectStoreNames]);
    return transaction;
  };
  try {
    await work();
  } finally {
    database.transaction = begin;
  }
  return changes;
}

for (const [kind, { open }] of Object.entries(kinds)) {
  void describe(`the ${kind} store`, () => {
    test("knows nothing of a session that it never saw", async () => {
      const store = await open();
      assert.ok(kind.startsWith(store.name));
      assert.equal(await store.head(SESSION_A), null);
      assert.deepEqual(await store.sessions(), []);
      assert.deepEqual(await store.quarantined(), []);
      assert.deepEqual(await store.read(SESSION_A, 0, 1000), { bytes: new Uint8Array(), next: null });
    });

    test("gives back what was committed, in order, in chunks of any size", async () => {
      const store = await open();
      const lines = await chainLines(rawEvents(0, 40, { payload: '{"text":"€"}' }));
      for (let from = 0; from < 40; from += 4) {
        assert.equal(await store.commit(appending(SESSION_A, lines, from, from + 4)), true);
      }
      for (const maxBytes of [1, 3_000, 10_000_000]) assert.deepEqual(await readAll(store, SESSION_A, maxBytes), lines);
      assert.deepEqual(await store.head(SESSION_A), headOf(SESSION_A, lines));
      assert.deepEqual(await store.lines(SESSION_A, 6, 13), lines.slice(6, 13));
      assert.deepEqual(await store.lines(SESSION_A, 38, 99), lines.slice(38));
    });

    test("keeps sessions apart and lists them by id", async () => {
      const store = await open();
      const a = await chainLines(rawEvents(0, 2));
      const b = await chainLines(rawEvents(0, 3, { session: SESSION_B }));
      assert.equal(await store.commit(both(appending(SESSION_B, b, 0, 3), appending(SESSION_A, a, 0, 2))), true);
      assert.deepEqual(await store.sessions(), [headOf(SESSION_A, a), headOf(SESSION_B, b)]);
      assert.deepEqual(await readAll(store, SESSION_A, 100), a);
      assert.deepEqual(await readAll(store, SESSION_B, 100), b);
    });

    test("a head tells the hash that its session began with", async () => {
      const store = await open();
      const lines = await chainLines(blake3Events(0, 3), "blake3");
      await store.commit(appending(SESSION_A, lines, 0, 1));
      await store.commit(appending(SESSION_A, lines, 1, 3));
      assert.equal((await store.head(SESSION_A))?.algorithm, "blake3");
      assert.deepEqual(await store.sessions(), [headOf(SESSION_A, lines)]);
    });

    test("stores nothing of a batch when one head is not the expected one", async () => {
      const store = await open();
      const a = await chainLines(rawEvents(0, 4));
      const b = await chainLines(rawEvents(0, 3, { session: SESSION_B }));
      await store.commit(appending(SESSION_A, a, 0, 2));
      const stale = { ...appending(SESSION_A, a, 2, 4), expected: [{ session_id: SESSION_A, head: null }] };
      assert.equal(await store.commit(both(appending(SESSION_B, b, 0, 3), stale)), false);
      const sameNumber = { ...headOf(SESSION_A, a.slice(0, 2)), head_hash: GENESIS_HASH };
      assert.equal(
        await store.commit({ ...stale, expected: [{ session_id: SESSION_A, head: sameNumber }] }),
        false,
      );
      assert.equal(await store.head(SESSION_B), null);
      assert.deepEqual(await readAll(store, SESSION_A, 100), a.slice(0, 2));
    });

    test("of two writers that append to one head at once exactly one wins", async () => {
      const store = await open();
      const lines = await chainLines(rawEvents(0, 2));
      const write = appending(SESSION_A, lines, 0, 2);
      const first = await store.commit(write);
      assert.deepEqual([first, await store.commit(write)], [true, false]);
      assert.deepEqual(await readAll(store, SESSION_A, 100), lines);
    });

    test("tells what each session takes, and when it was written", async () => {
      const store = await open();
      const lines = await chainLines(rawEvents(0, 4));
      const before = Date.now();
      await store.commit(appending(SESSION_A, lines, 0, 2));
      await store.commit(appending(SESSION_A, lines, 2, 4));
      const [footprint, ...others] = await store.footprints();
      assert.deepEqual([footprint?.session_id, footprint?.ended, footprint?.pinned, others], [SESSION_A, false, false, []]);
      assert.equal(footprint?.size_bytes, jsonl(lines).length);
      // Files' times may be a little coarser than the clock.
      assert.ok(Math.abs(footprint.updated_ms - before) < 10_000);
    });

    // PROTOCOL 3.18.3
    test("removes an ended session and keeps where its chain ended; nothing else is touched", async () => {
      const store = await open();
      const ended = await chainLines([...rawEvents(0, 2), rawEvent(2, { type: "session.ended" })]);
      const other = await chainLines(rawEvents(0, 2, { session: SESSION_B }));
      await store.commit(appending(SESSION_A, ended, 0, 3));
      await store.commit(appending(SESSION_B, other, 0, 2));
      assert.equal(await store.remove(SESSION_A, 1_234), true);
      assert.deepEqual([await store.head(SESSION_A), await readAll(store, SESSION_A, 1000)], [null, []]);
      assert.deepEqual(await store.sessions(), [headOf(SESSION_B, other)]);
      assert.deepEqual(await readAll(store, SESSION_B, 1000), other);
      const { head_hash } = headOf(SESSION_A, ended);
      assert.deepEqual(await store.sealed(), [{ session_id: SESSION_A, events: 3, head_hash, algorithm: "sha256", removed_ms: 1_234 }]);
      assert.equal(await store.remove(SESSION_A, 5_678), false);
    });

    test("removes nothing that is unfinished, pinned or unknown", async () => {
      const store = await open();
      const ended = await chainLines([...rawEvents(0, 2), rawEvent(2, { type: "session.ended" })]);
      await store.commit(appending(SESSION_A, ended, 0, 3));
      await store.commit(appending(SESSION_B, await chainLines(rawEvents(0, 2, { session: SESSION_B })), 0, 2));
      assert.deepEqual([await store.pin(SESSION_A, true), await store.pin(uuid(0xc, 1), true)], [true, false]);
      assert.deepEqual((await store.footprints()).filter(({ pinned }) => pinned).map(({ session_id }) => session_id), [SESSION_A]);
      for (const id of [SESSION_A, SESSION_B, uuid(0xc, 1)]) assert.equal(await store.remove(id, 1), false);
      assert.deepEqual([await readAll(store, SESSION_A, 1000), await store.sealed()], [ended, []]);
      await store.pin(SESSION_A, false);
      assert.equal(await store.remove(SESSION_A, 1), true);
    });

    // PROTOCOL 3.18.1
    test("a session is pinned or removed, whichever is asked first, and never both", async () => {
      for (const asks of [["remove", "pin"], ["pin", "remove"]]) {
        const store = await open();
        const lines = await chainLines([rawEvent(0), rawEvent(1, { type: "session.ended" })]);
        await store.commit(appending(SESSION_A, lines, 0, 2));
        const work = { pin: () => store.pin(SESSION_A, true), remove: () => store.remove(SESSION_A, 1) };
        assert.deepEqual(await Promise.all(asks.map((ask) => work[ask as "pin" | "remove"]())), [true, false]);
        const pinned = (await store.footprints()).map((footprint) => footprint.pinned);
        assert.deepEqual([pinned, (await store.sealed()).length], asks[0] === "pin" ? [[true], 0] : [[], 1]);
      }
    });

    test("keeps a session's checkpoints by size, and the newest of a removed one", async () => {
      const store = await open();
      const lines = await chainLines([rawEvent(0), rawEvent(1, { type: "session.ended" })]);
      assert.deepEqual(await store.checkpoints(SESSION_A), []);
      const keys = await store.signingKeys();
      const key = await publicKeyOf(keys);
      const kept: StoredCheckpoint[] = [];
      for (const [session_id, size] of [[SESSION_A, 1], [SESSION_A, 2], [SESSION_B, 1]] as const) {
        const facts = { session_id, size, head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
        kept.push({ session_id, size, key: vkeyText(key), note: await signCheckpoint(keys, key, facts) });
      }
      for (const checkpoint of kept) await store.keepCheckpoint(checkpoint);
      assert.deepEqual(await store.checkpoints(SESSION_A), kept.slice(0, 2));
      await store.commit(appending(SESSION_A, lines, 0, 2));
      assert.equal(await store.remove(SESSION_A, 7), true);
      assert.deepEqual(await store.checkpoints(SESSION_A), kept.slice(1, 2));
      assert.deepEqual(await store.checkpoints(SESSION_B), kept.slice(2));
    });

    test("tells the newest checkpoint of each session that no witness knows", async () => {
      const store = await open();
      const keys = await store.signingKeys();
      const key = await publicKeyOf(keys);
      for (const [session_id, size] of [[SESSION_A, 1], [SESSION_A, 20], [SESSION_B, 3]] as const) {
        const facts = { session_id, size, head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
        await store.keepCheckpoint({ session_id, size, key: vkeyText(key), note: await signCheckpoint(keys, key, facts) });
      }
      const sizes = async (): Promise<number[]> => (await store.unwitnessed()).map(({ size }) => size);
      assert.deepEqual(await sizes(), [20, 3]);
      await store.keepWitnessed(SESSION_A, 1);
      await store.keepWitnessed(SESSION_B, 3);
      assert.deepEqual(await sizes(), [20]);
      await store.keepWitnessed(SESSION_A, 20);
      assert.deepEqual(await sizes(), []);
    });

    test("has one key, which cannot be exported", async () => {
      const store = await open();
      const [first, second] = await Promise.all([store.signingKeys(), store.signingKeys()]);
      assert.deepEqual(await publicKeyOf(second), await publicKeyOf(first));
      assert.equal(first.privateKey.extractable, false);
      await assert.rejects(crypto.subtle.exportKey("pkcs8", first.privateKey));
    });

    test("keeps a quarantined group once, however often it comes", async () => {
      const store = await open();
      const record: QuarantineRecord = {
        session_id: SESSION_A,
        first_sequence: 7,
        event_id: uuid(1, 7),
        count: 1,
        reason: "session_forked",
        lines: new TextEncoder().encode("any bytes € \u001f\n"),
      };
      const write: BatchWrite = { expected: [], segments: [], heads: [], quarantine: [record], durability: "relaxed" };
      await store.commit(write);
      await store.commit(write);
      assert.deepEqual(await store.quarantined(), [record]);
    });
  });
}

void describe("the stores that close", () => {
  for (const kind of ["file", "indexeddb"]) {
    test(`${kind}: a closed store refuses, and closing twice is one close`, async () => {
      const store = await kinds[kind]?.open();
      await store?.close();
      await store?.close();
      await assert.rejects(Promise.resolve(store?.head(SESSION_A)), withCode("store_closed"));
    });
  }
});

test("a file tells the hash of its session after a restart, however long its first line is", async () => {
  const folder = await newFolder();
  const long = JSON.stringify({ goal: "x".repeat(200_000), hash_algorithm: "blake3" });
  const lines = await chainLines([rawEvent(0, { payload: long }), rawEvent(1)], "blake3");
  await (await FileStore.open(folder)).commit(appending(SESSION_A, lines, 0, 2));
  assert.deepEqual(await (await FileStore.open(folder)).head(SESSION_A), headOf(SESSION_A, lines));
});

test("a file with a damaged first line tells no hash, so nothing is appended and verification names the line", async () => {
  const folder = await newFolder();
  const lines = await chainLines(rawEvents(0, 2));
  await (await FileStore.open(folder)).commit(appending(SESSION_A, lines, 0, 2));
  const path = join(folder, `${SESSION_A}.trace.jsonl`);
  await writeFile(path, (await readFile(path, "utf8")).slice(1));
  assert.deepEqual((await (await FileStore.open(folder)).sessions()).map(({ algorithm }) => algorithm), [""]);
});

test("a database tells the hash of its sessions after a restart, SHA-256 for those that tell none", async () => {
  const name = randomUUID();
  const lines = await chainLines(blake3Events(0, 2), "blake3");
  const first = await IndexedDbStore.open(name);
  await first.commit(appending(SESSION_A, lines, 0, 2));
  const plain = appending(SESSION_B, await chainLines(rawEvents(0, 2, { session: SESSION_B })), 0, 2);
  const heads = plain.heads.map((head) => {
    const older: Partial<SessionHead> = { ...head };
    delete (older as { algorithm?: string }).algorithm;
    return older as SessionHead;
  });
  await first.commit({ ...plain, heads });
  await first.close();
  const again = await IndexedDbStore.open(name);
  assert.deepEqual((await again.sessions()).map(({ algorithm }) => algorithm), ["blake3", "sha256"]);
  assert.deepEqual(await again.head(SESSION_B), plain.heads[0]);
  await again.close();
});

void describe("the key of a folder", () => {
  async function keyOf(folder: string): Promise<string> {
    return vkeyText(await publicKeyOf(await (await FileStore.open(folder)).signingKeys()));
  }

  for (const mode of [0o644, 0o640, 0o602, 0o777]) {
    test(`is refused with the mode ${mode.toString(8)}`, async () => {
      const folder = await newFolder();
      await keyOf(folder);
      await chmod(join(folder, "checkpoint.key.pem"), mode);
      await assert.rejects(keyOf(folder), withCode("key_unsafe"));
    });
  }

  test("is refused when it is none", async () => {
    const folder = await newFolder();
    for (const text of ["", "a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]) {
      await writeFile(join(folder, "checkpoint.key.pem"), text, { mode: 0o600 });
      await assert.rejects(keyOf(folder), withCode("store_corrupt"));
    }
  });

  test("is made once, for its owner only, and stays; nothing else is left", async () => {
    const folder = await newFolder();
    const [first, second] = await Promise.all([keyOf(folder), keyOf(folder)]);
    assert.equal(second, first);
    assert.equal(await keyOf(folder), first);
    assert.equal((await stat(join(folder, "checkpoint.key.pem"))).mode & 0o777, 0o600);
    assert.deepEqual((await readdir(folder)).filter((name) => name.includes("key")), ["checkpoint.key.pem"]);
  });
});

test("a checkpoint that comes while its session is removed is kept, and is the newest", async () => {
  const folder = await newFolder();
  const store = await FileStore.open(folder);
  const keys = await store.signingKeys();
  const key = await publicKeyOf(keys);
  const facts = { head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
  const checkpoint = async (session_id: string, size: number): Promise<StoredCheckpoint> => {
    const note = await signCheckpoint(keys, key, { ...facts, session_id, size });
    return { session_id, size, key: vkeyText(key), note };
  };
  for (let round = 0; round < 40; round += 1) {
    const session = uuid(0xc, round);
    const lines = await chainLines([...rawEvents(0, 2, { session }), rawEvent(2, { session, type: "session.ended" })]);
    await store.commit(appending(session, lines, 0, 3));
    for (const size of [1, 2]) await store.keepCheckpoint(await checkpoint(session, size));
    const newest = await checkpoint(session, 3);
    const removed = store.remove(session, 1);
    for (let turn = 0; turn < round; turn += 1) await new Promise(setImmediate);
    await store.keepCheckpoint(newest);
    assert.equal(await removed, true);
    assert.equal((await store.checkpoints(session)).at(-1)?.size, 3);
  }
});

test("a checkpoint that a crash tore is cut, and what was whole stays", async () => {
  const folder = await newFolder();
  const store = await FileStore.open(folder);
  const keys = await store.signingKeys();
  const key = await publicKeyOf(keys);
  const facts = { session_id: SESSION_A, head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
  for (const size of [1, 2]) {
    await store.keepCheckpoint({ session_id: SESSION_A, size, key: vkeyText(key), note: await signCheckpoint(keys, key, { ...facts, size }) });
    await appendFile(join(folder, `${SESSION_A}.checkpoints.jsonl`), '{"key":"torn');
    assert.equal((await store.checkpoints(SESSION_A)).length, size);
  }
});

test("a database keeps its key over a restart", async () => {
  const name = randomUUID();
  const first = await IndexedDbStore.open(name);
  const made = await publicKeyOf(await first.signingKeys());
  await first.close();
  const again = await IndexedDbStore.open(name);
  assert.deepEqual(await publicKeyOf(await again.signingKeys()), made);
  await again.close();
});

/** What all open files do, to be replaced by a test. */
async function fileMethods(): Promise<Record<"write" | "datasync" | "truncate", (...given: unknown[]) => Promise<unknown>>> {
  const file = await openFile(tmpdir(), "r");
  await file.close();
  return Object.getPrototypeOf(file) as Awaited<ReturnType<typeof fileMethods>>;
}

type Replaced = "open" | "readFile" | "rm" | "stat" | "writeFile";

/** Put `instead` in the place of a function of node:fs/promises until the mocks are restored; it is given the function. */
function replaceFs<Name extends Replaced>(
  name: Name,
  instead: (original: (typeof fsPromises)[Name], path: string, ...rest: never[]) => unknown,
): void {
  const original = fsPromises[name];
  mock.method(fsPromises, name, (path: string, ...rest: never[]) => instead(original, path, ...rest));
  syncBuiltinESMExports();
}

function restoreFs(): void {
  mock.restoreAll();
  syncBuiltinESMExports();
}

function noSpace(): Error {
  return Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
}

/** A disk with room for so many bytes: it takes a part of the write for which it has too little, as Linux does. */
async function diskWithRoom(bytes: number): Promise<{ room: number }> {
  const methods = await fileMethods();
  const { write } = methods;
  const disk = { room: bytes };
  mock.method(methods, "write", function (this: unknown, data: Uint8Array, offset: number, length: number, position: number) {
    const taken = Math.min(length, disk.room);
    disk.room -= taken;
    if (taken === 0) return Promise.reject(noSpace());
    return write.call(this, data, offset, taken, position);
  });
  return disk;
}

void describe("a folder on a full disk", () => {
  afterEach(restoreFs);

  // PROTOCOL 3.16.4
  test("tells that it is full, keeps nothing of the batch's session, and takes it when there is room", async () => {
    const folder = await newFolder();
    const store = await FileStore.open(folder);
    const lines = await chainLines(rawEvents(0, 6));
    await store.commit(appending(SESSION_A, lines, 0, 2));
    const before = await readFile(join(folder, `${SESSION_A}.trace.jsonl`), "utf8");
    for (const room of [0, 1, before.length]) {
      const disk = await diskWithRoom(room);
      await assert.rejects(store.commit(appending(SESSION_A, lines, 2, 6)), withCode("store_full"), String(room));
      assert.equal(disk.room, 0);
      mock.restoreAll();
      assert.equal(await readFile(join(folder, `${SESSION_A}.trace.jsonl`), "utf8"), before);
      assert.deepEqual(await store.head(SESSION_A), headOf(SESSION_A, lines.slice(0, 2)));
    }
    assert.equal(await store.commit(appending(SESSION_A, lines, 2, 6)), true);
    assert.deepEqual(await readAll(store, SESSION_A, 1000), lines);
  });

  test("takes a batch of which it wrote parts", async () => {
    const store = await FileStore.open(await newFolder());
    const lines = await chainLines(rawEvents(0, 4));
    const methods = await fileMethods();
    const { write } = methods;
    mock.method(methods, "write", function (this: unknown, data: Uint8Array, offset: number, length: number, position: number) {
      return write.call(this, data, offset, Math.min(length, 100), position);
    });
    assert.equal(await store.commit(appending(SESSION_A, lines, 0, 4)), true);
    assert.deepEqual(await readAll(store, SESSION_A, 1000), lines);
  });

  test("has no session of a batch that failed in its first line", async () => {
    const store = await FileStore.open(await newFolder());
    const lines = await chainLines(rawEvents(0, 2));
    await diskWithRoom(100);
    await assert.rejects(store.commit(appending(SESSION_A, lines, 0, 2)), withCode("store_full"));
    mock.restoreAll();
    assert.deepEqual(await store.sessions(), []);
    assert.equal(await store.commit(appending(SESSION_A, lines, 0, 2)), true);
  });

  test("a batch that could not be made durable is not found to be stored", async () => {
    const store = await FileStore.open(await newFolder());
    const lines = await chainLines(rawEvents(0, 4));
    await store.commit(appending(SESSION_A, lines, 0, 2));
    mock.method(await fileMethods(), "datasync", () => Promise.reject(new Error("an error of the disk")));
    await assert.rejects(store.commit(appending(SESSION_A, lines, 2, 4)), withCode("store_failed"));
    mock.restoreAll();
    assert.deepEqual(await store.head(SESSION_A), headOf(SESSION_A, lines.slice(0, 2)));
    assert.equal(await store.commit(appending(SESSION_A, lines, 2, 4)), true);
  });

  test("keeps no part of a checkpoint", async () => {
    const folder = await newFolder();
    const store = await FileStore.open(folder);
    const keys = await store.signingKeys();
    const key = await publicKeyOf(keys);
    const facts = { session_id: SESSION_A, size: 1, head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };
    const checkpoint = { session_id: SESSION_A, size: 1, key: vkeyText(key), note: await signCheckpoint(keys, key, facts) };
    await diskWithRoom(100);
    await assert.rejects(store.keepCheckpoint(checkpoint), withCode("store_full"));
    assert.equal((await stat(join(folder, `${SESSION_A}.checkpoints.jsonl`))).size, 0);
  });

  test("tells that it has no room for a session's lock", async () => {
    const folder = await newFolder();
    const store = await FileStore.open(folder);
    replaceFs("writeFile", () => Promise.reject(noSpace()));
    await assert.rejects(store.locks.take(SESSION_A, 1), withCode("store_full"));
    restoreFs();
    assert.deepEqual([store.locks.holds(SESSION_A), await readdir(join(folder, "locks"))], [false, []]);
    assert.equal(await store.locks.take(SESSION_A, 1), true);
  });
});

// PROTOCOL 3.18.2
test("a folder on a disk without any room removes a session all the same, and has room for the next one", async () => {
  const folder = await newFolder();
  const store = await FileStore.open(folder);
  for (const session of [SESSION_A, SESSION_B]) {
    const ended = await chainLines([rawEvent(0, { session }), rawEvent(1, { session, type: "session.ended" })]);
    await store.commit(appending(session, ended, 0, 2));
  }
  const reserve = join(folder, "sealed", "reserve");
  replaceFs("open", (open, path, ...rest) => (path.includes("/sealed/") && existsSync(reserve) ? Promise.reject(noSpace()) : open(path, ...rest)));
  const removed = [await store.remove(SESSION_A, 1), await store.remove(SESSION_B, 2)];
  restoreFs();
  assert.deepEqual(removed, [true, true]);
  assert.deepEqual((await store.sealed()).map(({ removed_ms }) => removed_ms), [1, 2]);
  await rm(reserve);
  assert.deepEqual([await FileStore.open(folder).then(() => existsSync(reserve)), await store.sessions()], [true, []]);
});

void describe("two stores on one folder", () => {
  afterEach(restoreFs);

  async function twoStores(): Promise<{ folder: string; ours: FileStore; theirs: FileStore }> {
    const folder = await newFolder();
    const [ours, theirs] = [await FileStore.open(folder), await FileStore.open(folder)];
    for (const session of [SESSION_A, SESSION_B]) {
      const ended = await chainLines([rawEvent(0, { session }), rawEvent(1, { session, type: "session.ended" })]);
      await ours.commit(appending(session, ended, 0, 2));
    }
    return { folder, ours, theirs };
  }

  /** Have `work` done once, just before the nth call of `name` for a path that ends so. */
  function before(name: Replaced, end: string, work: () => Promise<unknown>, nth = 1): void {
    let calls = 0;
    replaceFs(name, async (original, path, ...rest) => {
      if (path.endsWith(end)) calls += 1;
      if (path.endsWith(end) && calls === nth) await work();
      return await (original as (...given: unknown[]) => Promise<unknown>)(path, ...rest);
    });
  }

  test("a session that the other pins while it is sealed is not removed", async () => {
    const { ours, theirs } = await twoStores();
    before("open", ".part", () => theirs.pin(SESSION_A, true));
    assert.equal(await ours.remove(SESSION_A, 1), false);
    assert.deepEqual([(await ours.sessions()).length, await ours.sealed()], [2, []]);
  });

  test("a session that the other removes is left out, wherever that comes between", async () => {
    const path = `/${SESSION_A}.trace.jsonl`;
    const looks = {
      sessions: async (store: FileStore) => (await store.sessions()).length,
      footprints: async (store: FileStore) => (await store.footprints()).length,
      remove: async (store: FileStore) => Number(await store.remove(SESSION_A, 2)),
      lines: async (store: FileStore) => (await store.lines(SESSION_A, 0, 2)).length,
      read: async (store: FileStore) => (await store.read(SESSION_A, 0, 100)).bytes.length,
    };
    const whole = { sessions: 2, footprints: 2, remove: 1, lines: 2, read: 1 };
    for (const [ask, look] of Object.entries(looks)) {
      for (const call of ["stat", "open", "rm", "readFile"] as const) {
        for (let nth = 1; nth <= 3; nth += 1) {
          const { folder, theirs } = await twoStores();
          // A store that has not looked at it yet looks most often.
          const later = await FileStore.open(folder);
          const removals: boolean[] = [];
          before(call, path, async () => removals.push(await theirs.remove(SESSION_A, 1)), nth);
          const found = await look(later);
          restoreFs();
          const isRemoved = removals.includes(true);
          if (isRemoved) assert.ok(found < whole[ask as keyof typeof looks] || ask === "footprints", `${ask}, ${call} ${nth}: ${found}`);
          assert.deepEqual((await later.sealed()).map(({ session_id }) => session_id), isRemoved || ask === "remove" ? [SESSION_A] : []);
        }
      }
    }
  });

  test("a session that both remove at once is removed once", async () => {
    const { folder, ours, theirs } = await twoStores();
    const removed = await Promise.all([ours.remove(SESSION_A, 1), theirs.remove(SESSION_A, 2)]);
    assert.deepEqual([removed.filter(Boolean).length, (await ours.sealed()).length], [1, 1]);
    assert.deepEqual((await readdir(join(folder, "sealed"))).filter((name) => name.endsWith(".part")), []);
  });

  test("a session that the other removes while it is pinned is not pinned", async () => {
    const { folder, ours, theirs } = await twoStores();
    before("writeFile", `/pinned/${SESSION_A}`, () => theirs.remove(SESSION_A, 1));
    assert.equal(await ours.pin(SESSION_A, true), false);
    assert.deepEqual([(await ours.sessions()).length, await readdir(join(folder, "pinned"))], [1, []]);
  });
});

// PROTOCOL 3.18.10
void describe("a folder with damage in it", () => {
  const note = { size: 3, head: GENESIS_HASH, algorithm: "sha256", time: "2026-01-02T03:04:05.006Z" };

  /** Two ended sessions with a checkpoint each, of which the first one's file of this kind has a line that is none. */
  async function damaged(kind: string, text = "damage\n"): Promise<{ store: FileStore; path: string; told: string[]; lines: string[] }> {
    const folder = await newFolder();
    const told: string[] = [];
    const store = await FileStore.open(folder, undefined, ({ code, message }) => told.push(`${code} ${message}`));
    let lines: string[] = [];
    for (const session of [SESSION_B, SESSION_A]) {
      lines = await chainLines([...rawEvents(0, 2, { session }), rawEvent(2, { session, type: "session.ended" })]);
      await store.commit(appending(session, lines, 0, 3));
      await store.keepCheckpoint(await checkpointOf(store, session));
    }
    const path = join(folder, `${SESSION_A}.${kind}.jsonl`);
    await appendFile(path, text);
    return { store, path, told, lines };
  }

  async function checkpointOf(store: FileStore, sessionId: string): Promise<StoredCheckpoint> {
    const keys = await store.signingKeys();
    const key = await publicKeyOf(keys);
    return { session_id: sessionId, size: 3, key: vkeyText(key), note: await signCheckpoint(keys, key, { ...note, session_id: sessionId }) };
  }

  test("lists the other sessions, and tells of the damaged one once", async () => {
    const { store, told } = await damaged("trace");
    for (let time = 0; time < 2; time += 1) {
      assert.deepEqual((await store.sessions()).map(({ session_id }) => session_id), [SESSION_B]);
      assert.deepEqual((await store.footprints()).map(({ session_id }) => session_id), [SESSION_B]);
    }
    assert.equal(told.length, 1);
    assert.ok(told[0]?.startsWith("store_corrupt ") === true && told[0].includes(SESSION_A), told[0]);
  });

  test("does nothing with a damaged session: it is no unfinished one, and its id is taken", async () => {
    const { store, path, lines } = await damaged("trace");
    const before = await readFile(path, "utf8");
    const anew = appending(SESSION_A, lines, 0, 3);
    const behind = { ...anew, expected: [{ session_id: SESSION_A, head: headOf(SESSION_A, lines) }] };
    for (const write of [anew, behind]) await assert.rejects(store.commit(write), withCode("store_corrupt"));
    await assert.rejects(store.head(SESSION_A), withCode("store_corrupt"));
    await assert.rejects(store.remove(SESSION_A, 1), withCode("store_corrupt"));
    await assert.rejects(store.pin(SESSION_A, true), withCode("store_corrupt"));
    const staged = await store.stage(randomUUID());
    await staged.add({ session_id: SESSION_A, first_sequence: 0, count: 3, bytes: new Uint8Array(jsonl(lines)) });
    assert.equal(await staged.publish(headOf(SESSION_A, lines)), false);
    const keeper = new Keeper(store, { maxSessions: 0 });
    assert.equal(await keeper.tidy(), 1);
    assert.deepEqual([await readFile(path, "utf8"), (await store.sealed()).map(({ session_id }) => session_id)], [before, [SESSION_B]]);
  });

  test("tells the newest checkpoints of the other sessions, and keeps none behind a damaged line", async () => {
    const { store, path, told } = await damaged("checkpoints");
    const before = await readFile(path, "utf8");
    // More than any: nobody tries to sign behind the damage.
    assert.deepEqual([...(await store.checkpointSizes())], [[SESSION_A, Infinity], [SESSION_B, 3]]);
    assert.deepEqual((await store.unwitnessed()).map(({ session_id }) => session_id), [SESSION_B]);
    assert.equal(told.length, 1);
    await assert.rejects(store.checkpoints(SESSION_A), withCode("store_corrupt"));
    await assert.rejects(store.keepCheckpoint(await checkpointOf(store, SESSION_A)), withCode("store_corrupt"));
    assert.equal(await readFile(path, "utf8"), before);
    assert.equal((await store.sessions()).length, 2);
  });

  test("a removal tells of damaged checkpoints and leaves them as they are", async () => {
    for (const text of ["damage\n", "\n", "\u00ff\n"]) {
      const { store, path, told } = await damaged("checkpoints", text);
      await store.keepCheckpoint(await checkpointOf(store, SESSION_A)).catch(() => undefined);
      const before = await readFile(path, "utf8");
      assert.deepEqual([told.length, await store.remove(SESSION_A, 1), told.length, await readFile(path, "utf8")], [0, true, 1, before]);
    }
  });
});

void describe("the file store on disk", () => {
  afterEach(restoreFs);

  test("is what any tool reads: one JSONL file per session", async () => {
    const folder = await newFolder();
    const store = await FileStore.open(folder);
    const lines = await chainLines(rawEvents(0, 3));
    await store.commit(appending(SESSION_A, lines, 0, 3));
    const path = join(folder, `${SESSION_A}.trace.jsonl`);
    assert.equal(await readFile(path, "utf8"), lines.map((line) => `${line}\n`).join(""));
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  test("takes up where an earlier process stopped", async () => {
    const folder = await newFolder();
    const lines = await chainLines(rawEvents(0, 4, { payload: `{"long":"${"x".repeat(100_000)}"}` }));
    await (await FileStore.open(folder)).commit(appending(SESSION_A, lines, 0, 2));
    const later = await FileStore.open(folder);
    assert.deepEqual(await later.sessions(), [headOf(SESSION_A, lines.slice(0, 2))]);
    assert.equal(await later.commit(appending(SESSION_A, lines, 2, 4)), true);
    assert.deepEqual(await readAll(later, SESSION_A, 1000), lines);
  });

  test("cuts back a torn last line when it appends, and reads only what is whole before that", async () => {
    const folder = await newFolder();
    const path = join(folder, `${SESSION_A}.trace.jsonl`);
    const lines = await chainLines(rawEvents(0, 4));
    await (await FileStore.open(folder)).commit(appending(SESSION_A, lines, 0, 2));
    const whole = (await stat(path)).size;
    // Longer than what is appended next, so that overwriting alone would leave its end.
    const torn = (lines[2] ?? "").slice(0, 60).padEnd(9_000, "x");
    await appendFile(path, torn);
    const later = await FileStore.open(folder);
    assert.deepEqual(await readAll(later, SESSION_A, 1000), lines.slice(0, 2));
    assert.equal((await stat(path)).size, whole + torn.length);
    assert.equal(await later.commit(appending(SESSION_A, lines, 2, 4)), true);
    assert.deepEqual(await readAll(later, SESSION_A, 1000), lines);
    assert.equal(await readFile(path, "utf8"), lines.map((line) => `${line}\n`).join(""));
  });

  test("a file that holds nothing but a torn line is a session not yet begun", async () => {
    const folder = await newFolder();
    const lines = await chainLines(rawEvents(0, 2));
    await writeFile(join(folder, `${SESSION_A}.trace.jsonl`), (lines[0] ?? "").slice(0, 60));
    const store = await FileStore.open(folder);
    assert.equal(await store.head(SESSION_A), null);
    assert.equal(await store.commit(appending(SESSION_A, lines, 0, 2)), true);
    assert.deepEqual(await readAll(store, SESSION_A, 1000), lines);
  });

  test("a file that another process cut or grew is noticed before the swap", async () => {
    const folder = await newFolder();
    const path = join(folder, `${SESSION_A}.trace.jsonl`);
    const lines = await chainLines(rawEvents(0, 4));
    const store = await FileStore.open(folder);
    await store.commit(appending(SESSION_A, lines, 0, 2));
    await appendFile(path, `${lines[2] ?? ""}\n`);
    assert.equal(await store.commit(appending(SESSION_A, lines, 2, 4)), false);
    await truncate(path, (await readFile(path)).indexOf(10) + 1);
    assert.equal(await store.commit(appending(SESSION_A, lines, 3, 4)), false);
  });

  test("a whole last line that is no event is damage and never cut", async () => {
    const folder = await newFolder();
    const path = join(folder, `${SESSION_A}.trace.jsonl`);
    for (const text of ["{}\n", "null\n", "not json\n", `${(await chainLines(rawEvents(0, 1, { session: SESSION_B })))[0] ?? ""}\n`]) {
      await writeFile(path, text);
      const store = await FileStore.open(folder);
      await assert.rejects(store.head(SESSION_A), withCode("store_corrupt"), text);
      assert.equal(await readFile(path, "utf8"), text);
    }
  });

  test("remembers as many sessions as it has room for, those written last first, and knows the others all the same", async () => {
    const folder = await newFolder();
    const [line = ""] = await chainLines(rawEvents(0, 1));
    const ids = Array.from({ length: 4_098 }, (_, n) => uuid(0xe, n));
    for (const id of ids) writeFileSync(join(folder, `${id}.trace.jsonl`), `${line.replaceAll(SESSION_A, id)}\n`);
    const store = await FileStore.open(folder);
    assert.equal((await store.footprints()).length, ids.length);
    const read = new Set<string>();
    replaceFs("open", (open, path, ...rest) => {
      if (path.endsWith(".trace.jsonl")) read.add(basename(path, ".trace.jsonl"));
      return open(path, ...rest);
    });
    const readAgain = async (): Promise<string[]> => {
      read.clear();
      assert.equal((await store.footprints()).length, ids.length);
      return [...read].sort();
    };
    assert.deepEqual(await readAgain(), ids.slice(-2));
    const last = ids.at(-1) ?? "";
    const lines = await chainLines(rawEvents(0, 3, { session: last }));
    await writeFile(join(folder, `${last}.trace.jsonl`), `${lines[0] ?? ""}\n`);
    for (const at of [1, 2]) assert.equal(await store.commit(appending(last, lines, at, at + 1)), true);
    assert.deepEqual(await readAgain(), [ids[0], ids.at(-2)]);
    restoreFs();
    assert.deepEqual(await readAll(store, last, 1000), lines);
  });

  test("a session id that is no lower-case UUID never becomes a file name", async () => {
    const store = await FileStore.open(await newFolder());
    for (const id of ["../escape", "", SESSION_A.toUpperCase(), `${SESSION_A}\n`, `${SESSION_A}/x`, "a\0b"]) {
      await assert.rejects(store.head(id), withCode("invalid_id"), id);
      await assert.rejects(store.read(id, 0, 10), withCode("invalid_id"), id);
      await assert.rejects(store.lines(id, 0, 1), withCode("invalid_id"), id);
    }
  });
});

/** Open a database as version 1 of the store made it. */
function openFirstVersion(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("segments", { keyPath: ["session_id", "first_sequence"] });
    request.result.createObjectStore("heads", { keyPath: "session_id" });
    request.result.createObjectStore("quarantine", { keyPath: ["session_id", "first_sequence", "event_id"] });
  };
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(new Error(request.error?.message));
    };
  });
}

void describe("the IndexedDB store beside others", () => {
  test("takes over a database of before there was retention", async () => {
    const name = randomUUID();
    const lines = await chainLines(rawEvents(0, 2));
    const head: Partial<SessionHead> = { ...headOf(SESSION_A, lines) };
    delete (head as { at_risk?: unknown }).at_risk;
    const older = await openFirstVersion(name);
    const transaction = older.transaction(["segments", "heads"], "readwrite");
    transaction.objectStore("segments").put({ session_id: SESSION_A, first_sequence: 0, count: 2, bytes: jsonl(lines) });
    transaction.objectStore("heads").put(head);
    await new Promise((resolve) => {
      transaction.oncomplete = resolve;
    });
    older.close();
    const store = await IndexedDbStore.open(name);
    assert.deepEqual([await store.sessions(), await readAll(store, SESSION_A, 1000)], [[headOf(SESSION_A, lines)], lines]);
    assert.deepEqual([await store.sealed(), (await store.footprints())[0]?.pinned], [[], false]);
    assert.deepEqual(await store.checkpoints(SESSION_A), []);
    assert.equal((await store.signingKeys()).privateKey.extractable, false);
  });

  // PROTOCOL 3.16.7
  test("tells while an older version's connection, which does not give way, keeps it from opening", async () => {
    const name = randomUUID();
    const older = await openFirstVersion(name);
    const told = new Promise<CraError>((resolve) => {
      void IndexedDbStore.open(name, resolve).then((store) => store.close());
    });
    assert.equal((await told).code, "store_blocked");
    older.close();
  });

  // PROTOCOL 3.16.8
  test("tells when the browser says that it gave up what was stored, and only then", async () => {
    const told: string[] = [];
    const tell = ({ code, message }: CraError): void => void told.push(`${code}: ${message}`);
    await (await IndexedDbStore.open(randomUUID(), tell)).close();
    assert.equal(told.length, 0);
    const event = IDBVersionChangeEvent.prototype;
    Object.defineProperties(event, {
      dataLoss: { configurable: true, value: "total" },
      dataLossMessage: { configurable: true, value: "checksum mismatch" },
    });
    try {
      const name = randomUUID();
      await (await IndexedDbStore.open(name, tell)).close();
      // It is there now, and nothing is lost a second time.
      await (await IndexedDbStore.open(name, tell)).close();
    } finally {
      Reflect.deleteProperty(event, "dataLoss");
      Reflect.deleteProperty(event, "dataLossMessage");
    }
    assert.equal(told.length, 1);
    assert.match(told[0] ?? "", /^store_lost: .* checksum mismatch$/);
  });

  // PROTOCOL 3.16.9
  test("takes the heads along in each change, so that no two run at once", async () => {
    const lines = await chainLines(rawEvents(0, 4));
    const write = appending(SESSION_A, lines, 0, 4);
    const bytes = new Uint8Array(0);
    const record = { session_id: SESSION_A, first_sequence: 0, event_id: uuid(1, 0), count: 1, reason: "session_forked", lines: bytes } as const;
    const changes = await recordChanges(async () => {
      const store = await IndexedDbStore.open(randomUUID());
      await store.commit({ ...write, quarantine: [record] });
      await store.keepCheckpoint({ session_id: SESSION_A, size: 4, key: "", note: "" });
      await store.keepWitnessed(SESSION_A, 4);
      await store.signingKeys();
      await store.pin(SESSION_A, false);
      await store.compaction.compact(SESSION_A);
      for (const publishes of [true, false]) {
        const staged = await store.stage(randomUUID());
        await staged.add({ session_id: SESSION_B, first_sequence: 0, count: 4, bytes: new Uint8Array(jsonl(lines)) });
        if (publishes) await staged.publish({ ...headOf(SESSION_A, lines), session_id: SESSION_B });
        else await staged.discard();
      }
      await store.remove(SESSION_B, 0);
      await store.close();
    });
    assert.deepEqual([...new Set(changes.flat())].sort(), ["checkpoints", "heads", "keys", "quarantine", "sealed", "segments", "witnessed"]);
    assert.deepEqual(changes.filter((stores) => !stores.includes("heads")), []);
  });

  test("takes up where an earlier page stopped", async () => {
    const name = randomUUID();
    const lines = await chainLines(rawEvents(0, 4));
    const first = await IndexedDbStore.open(name);
    await first.commit(appending(SESSION_A, lines, 0, 2));
    await first.close();
    const later = await IndexedDbStore.open(name);
    assert.equal(await later.commit(appending(SESSION_A, lines, 2, 4)), true);
    assert.deepEqual(await readAll(later, SESSION_A, 1000), lines);
  });

  test("two tabs that append to one head at once make no fork", async () => {
    const name = randomUUID();
    const [left, right] = [await IndexedDbStore.open(name), await IndexedDbStore.open(name)];
    const lines = await chainLines(rawEvents(0, 30));
    for (let from = 0; from < 30; from += 2) {
      const write = appending(SESSION_A, lines, from, from + 2);
      const won = await Promise.all([left.commit(write), right.commit(write)]);
      assert.deepEqual(won.sort(), [false, true]);
    }
    assert.deepEqual(await readAll(left, SESSION_A, 1000), lines);
  });

  // PROTOCOL 3.16.7
  test("gives way to a database that is deleted, and starts anew at the next call, with another key", async () => {
    const name = randomUUID();
    const store = await IndexedDbStore.open(name);
    const keys = await store.signingKeys();
    assert.equal(await store.signingKeys(), keys);
    await store.commit(appending(SESSION_A, await chainLines(rawEvents(0, 1)), 0, 1));
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = resolve;
      request.onerror = reject;
    });
    assert.equal(await store.head(SESSION_A), null);
    assert.notDeepEqual(await publicKeyOf(await store.signingKeys()), await publicKeyOf(keys));
  });

  test("a put that cannot be stored leaves nothing of its batch", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const write = appending(SESSION_A, await chainLines(rawEvents(0, 1)), 0, 1);
    const uncloneable = { ...write, heads: [...write.heads, { session_id: () => undefined } as unknown as SessionHead] };
    await assert.rejects(store.commit(uncloneable), withCode("store_failed"));
    assert.equal(await store.head(SESSION_A), null);
    assert.deepEqual(await readAll(store, SESSION_A, 1000), []);
  });

  test("a segment whose key is taken fails the whole batch", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const lines = await chainLines(rawEvents(0, 2));
    await store.commit(appending(SESSION_A, lines, 0, 2));
    const again = { ...appending(SESSION_A, lines, 0, 1), expected: [{ session_id: SESSION_A, head: headOf(SESSION_A, lines) }] };
    await assert.rejects(store.commit(again), withCode("store_failed"));
    assert.deepEqual(await store.head(SESSION_A), headOf(SESSION_A, lines));
  });
});

const noOptions = { owner: "", tell: () => undefined };

test("a storage that this platform does not have is refused by name", async () => {
  await assert.rejects(openStore("opfs" as "memory", "x", noOptions), withCode("unknown_storage"));
  assert.equal((await openStore("memory", "x", noOptions)).name, "memory");
});
