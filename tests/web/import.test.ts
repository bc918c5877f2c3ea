import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import "fake-indexeddb/auto";
import { openDB } from "idb";

import type { ImportSource } from "../../web/src/api.js";
import { splitLines } from "../../web/src/bytes.js";
import { CraError } from "../../web/src/errors.js";
import { Hashers } from "../../web/src/hashing.js";
import { Imports } from "../../web/src/import.js";
import { importPieces, PIECE_BYTES } from "../../web/src/import-source.js";
import type { Patience } from "../../web/src/import-source.js";
import type { ImportResult } from "../../web/src/model.js";
import { Recovery } from "../../web/src/recovery.js";
import { FileStore } from "../../web/src/store-file.js";
import { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import { MemoryStore } from "../../web/src/store-memory.js";
import type { StagedSession, TraceStore } from "../../web/src/store.js";
import { blake3Events, chainLines, jsonl, rawEvent, rawEvents, SESSION_A, SESSION_B } from "./events.js";
import { FakeLockManager } from "./fake-locks.js";

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cra-import-"));
  folders.push(folder);
  return folder;
}

interface Place {
  /** Open the same store once more, as a later start does. */
  open(): Promise<TraceStore>;
  /** What an import keeps while it is not published. */
  leftovers(): Promise<number>;
}

async function stagedSegments(name: string): Promise<number> {
  const database = await openDB(name);
  const keys = await database.getAllKeys("segments");
  database.close();
  return keys.filter((key) => String((key as string[])[0]).startsWith("import")).length;
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  memory: () => {
    const store = new MemoryStore();
    return Promise.resolve({ open: () => Promise.resolve(store), leftovers: () => Promise.resolve(0) });
  },
  file: async () => {
    const folder = await newFolder();
    const names = async (): Promise<string[]> => readdir(join(folder, "imports")).catch(() => []);
    return { open: () => FileStore.open(folder), leftovers: async () => (await names()).length };
  },
  indexeddb: () => {
    const [name, manager] = [randomUUID(), new FakeLockManager()];
    return Promise.resolve({ open: () => IndexedDbStore.open(name, undefined, manager.tab()), leftovers: () => stagedSegments(name) });
  },
};

async function endedLines(count = 4, session = SESSION_A): Promise<string[]> {
  return chainLines([...rawEvents(0, count - 1, { session }), rawEvent(count - 1, { session, type: "session.ended" })]);
}

/** Give the bytes to an import, so many at a time. */
async function importInto(store: TraceStore, bytes: Uint8Array, step = 1_000, imports = new Imports(store)): Promise<ImportResult> {
  const importId = randomUUID();
  for (let offset = 0; ; offset += step) {
    const last = offset + step >= bytes.length;
    const result = await imports.take({ import_id: importId, offset, bytes: bytes.slice(offset, offset + step), last });
    assert.equal(result === null, !last);
    if (result !== null) return result;
  }
}

function refusing(code: string, error?: string, errorAt?: number): (cause: unknown) => boolean {
  return (cause) => {
    assert.ok(cause instanceof CraError);
    assert.equal(cause.code, code);
    if (error !== undefined) assert.deepEqual([cause.details["error"], cause.details["error_at"]], [error, errorAt]);
    return true;
  };
}

async function linesOf(store: TraceStore, session = SESSION_A): Promise<string[]> {
  return splitLines((await store.read(session, 0, 8_000_000)).bytes);
}

for (const [kind, newPlace] of Object.entries(places)) {
  void describe(`an import into the ${kind} store`, () => {
    // PROTOCOL 3.18.6
    test("of what does not verify is refused by its first fault and leaves nothing", async () => {
      const place = await newPlace();
      const store = await place.open();
      const lines = await endedLines();
      const other = await endedLines(4, SESSION_B);
      const text = lines.map((line) => `${line}\n`).join("");
      const [first = "", second = "", third = ""] = lines;
      const bad: readonly (readonly [string, string, number])[] = [
        ["", "bad_genesis", 0],
        ["\n", "bad_field", 0],
        ["PK\u0003\u0004 no trace at all", "bad_field", 0],
        [text.replaceAll("\n", "\r\n"), "bad_field", 0],
        [`\ufeff${text}`, "bad_field", 0],
        [text.slice(0, -1), "bad_field", 3],
        [text.slice(0, -30), "bad_field", 3],
        [text.slice(text.indexOf("\n") + 1), "bad_genesis", 0],
        [`${first}\n${third}\n`, "sequence_gap", 1],
        [text.replace('"n":2', '"n":7'), "hash_mismatch", 2],
        [text + (other[0] ?? "") + "\n", "sequence_gap", 4],
        [`${first}\n${other[1] ?? ""}\n`, "chain_broken", 1],
        [`${first}\n${second}\n${second}\n`, "sequence_gap", 2],
      ];
      for (const [broken, error, errorAt] of bad) {
        for (const step of [7, 1e6]) {
          const bytes = new TextEncoder().encode(broken);
          await assert.rejects(importInto(store, bytes, step), refusing("invalid_trace", error, errorAt), broken.slice(0, 80));
        }
      }
      assert.deepEqual([await store.sessions(), await linesOf(store), await place.leftovers()], [[], [], 0]);
    });

    test("of a fault behind a megabyte leaves nothing of that either", async () => {
      const place = await newPlace();
      const store = await place.open();
      const lines = await chainLines(rawEvents(0, 4, { payload: JSON.stringify({ text: "x".repeat(400_000) }) }));
      const bytes = jsonl([...lines.slice(0, 3), (lines[3] ?? "").replace("xx", "xy")]);
      await assert.rejects(importInto(store, bytes, 300_000), refusing("invalid_trace", "hash_mismatch", 3));
      assert.deepEqual([await store.sessions(), await place.leftovers()], [[], 0]);
    });

    test("beyond the limits is refused", async () => {
      const place = await newPlace();
      const store = await place.open();
      const bytes = jsonl(await endedLines());
      for (const limits of [{ maxEvents: 3, maxBytes: 1e9 }, { maxEvents: 1e6, maxBytes: bytes.length - 1 }]) {
        await assert.rejects(importInto(store, bytes, 100, new Imports(store, limits)), refusing("trace_too_large"));
      }
      const exactly = { maxEvents: 4, maxBytes: bytes.length };
      assert.equal((await importInto(store, bytes, 100, new Imports(store, exactly))).imported, true);
    });

    // PROTOCOL 3.18.6
    test("stores the session byte for byte, and nobody sees it before that", async () => {
      const place = await newPlace();
      const store = await place.open();
      const lines = await chainLines([...blake3Events(0, 3, { payload: JSON.stringify({ text: "€".repeat(200_000) }) }), rawEvent(3, { type: "session.ended" })], "blake3");
      const imports = new Imports(store);
      const importId = randomUUID();
      const bytes = jsonl(lines);
      const half = bytes.length - 10;
      assert.equal(await imports.take({ import_id: importId, offset: 0, bytes: bytes.slice(0, half), last: false }), null);
      assert.deepEqual([await store.sessions(), await store.head(SESSION_A), await store.footprints()], [[], null, []]);
      const result = await imports.take({ import_id: importId, offset: half, bytes: bytes.slice(half), last: true });
      const { head_hash: head, ...rest } = (await store.head(SESSION_A)) ?? { head_hash: "" };
      assert.deepEqual(result, { session_id: SESSION_A, imported: true, events: 4, head, algorithm: "blake3", warnings: [] });
      assert.deepEqual(rest, { session_id: SESSION_A, next_sequence: 4, ended: true, algorithm: "blake3", at_risk: 0, imported: true });
      const later = await place.open();
      assert.deepEqual([await linesOf(later), await place.leftovers()], [lines, 0]);
      assert.equal((await later.sessions())[0]?.imported, true);
      assert.equal((await later.footprints())[0]?.size_bytes, bytes.length);
    });

    // PROTOCOL 3.18.7
    test("of what is there already, or a beginning of it, stores nothing and says so", async () => {
      const store = await (await newPlace()).open();
      const lines = await endedLines();
      await importInto(store, jsonl(lines));
      for (const count of [4, 3, 1]) {
        const { imported, events } = await importInto(store, jsonl(lines.slice(0, count)));
        assert.deepEqual([imported, events], [false, count]);
      }
      assert.deepEqual(await linesOf(store), lines);
    });

    // PROTOCOL 3.18.7
    test("of a session that is there with other events, or fewer, is a conflict and changes nothing", async () => {
      const place = await newPlace();
      const store = await place.open();
      const lines = await chainLines(rawEvents(0, 3));
      await importInto(store, jsonl(lines));
      for (const others of [await endedLines(), await endedLines(3), await chainLines(rawEvents(0, 3, { kind: 7 })), await chainLines(rawEvents(0, 4))]) {
        await assert.rejects(importInto(store, jsonl(others)), refusing("import_conflict"));
      }
      assert.deepEqual([await linesOf(store), await place.leftovers()], [lines, 0]);
    });

    // PROTOCOL 3.18.7
    test("of a removed session is held to its checkpoint, and brings it back", async () => {
      const store = await (await newPlace()).open();
      const lines = await endedLines();
      await importInto(store, jsonl(lines));
      assert.equal(await store.remove(SESSION_A, 1), true);
      await assert.rejects(importInto(store, jsonl(lines.slice(0, 3))), refusing("import_conflict"));
      assert.equal((await importInto(store, jsonl(lines))).imported, true);
      assert.deepEqual([await linesOf(store), await store.sealed()], [lines, []]);
    });

    // PROTOCOL 3.18.8
    test("of a session that has not ended is left as it is by recovery, and may be removed", async () => {
      const place = await newPlace();
      const store = await place.open();
      const lines = await chainLines(rawEvents(0, 3));
      assert.deepEqual((await importInto(store, jsonl(lines))).warnings, ["truncated"]);
      const later = await place.open();
      const problems: string[] = [];
      const context = { store: later, hashers: new Hashers(), nowMs: () => 0, randomBytes: (count: number) => new Uint8Array(count) };
      const recovery = new Recovery(context, ({ code }) => problems.push(code));
      await recovery.endOrphans(new Set());
      assert.deepEqual([await linesOf(later), recovery.recovered, problems], [lines, [], []]);
      assert.deepEqual((await later.footprints()).map(({ ended }) => ended), [true]);
      await later.pin(SESSION_A, true);
      assert.equal(await later.remove(SESSION_A, 1), false);
      assert.equal((await later.head(SESSION_A))?.imported, true);
      await later.pin(SESSION_A, false);
      assert.deepEqual([await later.remove(SESSION_A, 1), await later.sessions()], [true, []]);
    });

    test("whose beginning went to a worker that died is told as interrupted", async () => {
      const place = await newPlace();
      const imports = new Imports(await place.open());
      const bytes = jsonl(await endedLines());
      const chunk = { import_id: randomUUID(), offset: 100, bytes: bytes.slice(100), last: true };
      await assert.rejects(imports.take(chunk), refusing("import_interrupted"));
      await assert.rejects(imports.take({ ...chunk, import_id: "../x", offset: 0 }), refusing("invalid_id"));
      await imports.abort(chunk.import_id);
    });

    for (const step of ["stage", "add"] as const) {
      test(`that is aborted during ${step} leaves nothing`, async () => {
        const place = await newPlace();
        const store = await place.open();
        const stage = store.stage.bind(store);
        let [begin, goOn] = [(): void => undefined, (): void => undefined];
        const begun = new Promise<void>((resolve) => {
          begin = resolve;
        });
        const aborted = new Promise<void>((resolve) => {
          goOn = resolve;
        });
        const wait = async (here: typeof step): Promise<void> => {
          if (here !== step) return;
          begin();
          await aborted;
        };
        store.stage = async (importId): Promise<StagedSession> => {
          const staged = await stage(importId);
          await wait("stage");
          const add = async (...given: Parameters<StagedSession["add"]>): Promise<void> => {
            await wait("add");
            await staged.add(...given);
          };
          return { add, publish: (head) => staged.publish(head), discard: () => staged.discard() };
        };
        const imports = new Imports(store);
        const importId = randomUUID();
        const bytes = new Uint8Array(jsonl(await endedLines()));
        const taken = imports.take({ import_id: importId, offset: 0, bytes, last: true });
        await begun;
        await imports.abort(importId);
        goOn();
        await assert.rejects(taken, (error) => error instanceof CraError && ["import_interrupted", "store_failed"].includes(error.code));
        assert.deepEqual([await place.leftovers(), await store.sessions()], [0, []]);
      });
    }

    test("of one session twice at once stores it once", async () => {
      const place = await newPlace();
      const bytes = jsonl(await endedLines());
      const stores = [await place.open(), await place.open(), await place.open()];
      const results = await Promise.all(stores.map((store) => importInto(store, bytes)));
      assert.equal(results.filter(({ imported }) => imported).length, 1);
      assert.deepEqual([(await stores[0]?.sessions())?.length, await place.leftovers()], [1, 0]);
    });
  });
}

void describe("what an import leaves that was cut off", () => {
  // PROTOCOL 3.18.6
  test("in IndexedDB is swept by a start once its tab is gone, and not before", async () => {
    const [name, manager] = [randomUUID(), new FakeLockManager()];
    const tab = await IndexedDbStore.open(name, undefined, manager.tab());
    const lines = await endedLines();
    const segment = { session_id: SESSION_A, first_sequence: 0, count: 4, bytes: new Uint8Array(jsonl(lines)) };
    const staged = await tab.stage(randomUUID());
    await staged.add(segment);
    const other = await IndexedDbStore.open(name, undefined, manager.tab());
    assert.deepEqual([await tab.sweepStaged(), await other.sweepStaged(), await stagedSegments(name)], [0, 0, 1]);
    manager.kill();
    assert.deepEqual([await other.sweepStaged(), await stagedSegments(name), await other.sessions()], [1, 0, []]);
    // It ran on all the same: it finds its lines gone and publishes nothing.
    const head = { session_id: SESSION_A, next_sequence: 4, head_hash: "", ended: true, algorithm: "sha256", at_risk: 0 };
    await assert.rejects(staged.publish(head), refusing("import_interrupted"));
    assert.equal(await other.head(SESSION_A), null);
  });

  // PROTOCOL 3.18.6
  test("in a folder is swept by a start once its process is gone, with a mark whose session never came", async () => {
    const folder = await newFolder();
    const lines = await endedLines();
    const store = await FileStore.open(folder);
    await importInto(store, jsonl(lines));
    const [dead, alive] = [randomUUID(), randomUUID()];
    const pid = spawnSync(process.execPath, ["-e", ""]).pid;
    await writeFile(join(folder, `imports/${dead}.part`), "half a li");
    await writeFile(join(folder, `imports/${dead}.json`), JSON.stringify({ pid, host: hostname(), owner: randomUUID(), at_risk: null }));
    await mkdir(join(folder, "imported"), { recursive: true });
    await writeFile(join(folder, `imported/${SESSION_B}`), "");
    const staged = await store.stage(alive);
    const later = await FileStore.open(folder);
    assert.equal(await later.sweepStaged(), 1);
    assert.deepEqual((await readdir(join(folder, "imported"))).sort(), [SESSION_A, SESSION_B].sort(), "an import runs, whose mark it may be");
    await staged.discard();
    assert.equal(await later.sweepStaged(), 0);
    assert.deepEqual([await readdir(join(folder, "imported")), await readdir(join(folder, "imports"))], [[SESSION_A], []]);
    assert.equal((await later.head(SESSION_A))?.imported, true);
  });
});

void describe("the pieces of a source", () => {
  const PATIENCE: Patience = { silentMs: 60_000, signal: new AbortController().signal };

  async function pieces(source: ImportSource): Promise<{ offset: number; size: number; last: boolean }[]> {
    const all: { offset: number; size: number; last: boolean }[] = [];
    for await (const { offset, bytes, last } of importPieces(source, PATIENCE)) all.push({ offset, size: bytes.length, last });
    return all;
  }

  function streamOf(chunks: readonly unknown[], onCancel: () => void = () => undefined): ReadableStream<Uint8Array> {
    const queue = [...chunks];
    return new ReadableStream({
      pull: (controller) => {
        if (queue.length === 0) controller.close();
        else controller.enqueue(queue.shift() as Uint8Array);
      },
      cancel: onCancel,
    });
  }

  test("are refused where it is no bytes", async () => {
    for (const source of ["text", null, {}, [1], streamOf(["text"])]) {
      await assert.rejects(pieces(source as ImportSource), refusing("invalid_arguments"));
    }
  });

  test("are of one size, whatever its chunks are, and the last one says so", async () => {
    const large = new Uint8Array(2 * PIECE_BYTES + 5);
    const expected = [
      { offset: 0, size: PIECE_BYTES, last: false },
      { offset: PIECE_BYTES, size: PIECE_BYTES, last: false },
      { offset: 2 * PIECE_BYTES, size: 5, last: true },
    ];
    const chunks = Array.from({ length: 41 }, (_, n) => large.subarray(n * 52_000, (n + 1) * 52_000));
    for (const source of [large, large.buffer, new Blob([large]), streamOf(chunks)]) assert.deepEqual(await pieces(source), expected);
    assert.deepEqual(await pieces(new Uint8Array()), [{ offset: 0, size: 0, last: true }]);
    assert.deepEqual(await pieces(large.subarray(0, PIECE_BYTES)), [{ offset: 0, size: PIECE_BYTES, last: true }]);
  });

  test("a stream is cancelled when nobody takes more", async () => {
    let cancelled = false;
    const stream = streamOf([new Uint8Array(PIECE_BYTES + 1), new Uint8Array(1), new Uint8Array(1)], () => {
      cancelled = true;
    });
    for await (const piece of importPieces(stream, PATIENCE)) {
      assert.equal(piece.offset, 0);
      break;
    }
    assert.equal(cancelled, true);
  });

  test("a stream that gives nothing, or nothing but empty chunks, rejects at the deadline", async () => {
    const nothing = new Uint8Array();
    for (const pull of [
      () => new Promise<void>(() => undefined),
      (controller: ReadableStreamDefaultController<Uint8Array>) => {
        controller.enqueue(nothing);
      },
    ]) {
      const stream = new ReadableStream<Uint8Array>({ pull });
      const read = (async () => {
        for await (const piece of importPieces(stream, { ...PATIENCE, silentMs: 50 })) assert.equal(piece.last, false);
      })();
      await assert.rejects(read, refusing("deadline_exceeded"));
    }
  });

  test("a stream that was read by another is refused", async () => {
    const stream = streamOf([]);
    stream.getReader();
    await assert.rejects(pieces(stream), refusing("invalid_arguments"));
  });
});
