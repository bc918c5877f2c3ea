/** Several processes on one folder. This file is their program, too: what they are to do comes in the environment. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { splitLines } from "../../web/src/bytes.js";
import { Hashers } from "../../web/src/hashing.js";
import type { TraceEvent } from "../../web/src/model.js";
import { Recovery } from "../../web/src/recovery.js";
import { FileStore } from "../../web/src/store-file.js";
import type { BatchWrite } from "../../web/src/store.js";
import { verifyTrace } from "../../web/src/verify.js";
import { chainLines, jsonl, rawEvents, SESSION_A, SESSION_B } from "./events.js";

const EVENTS = 40;

function appending(sessionId: string, lines: readonly string[], from: number, to: number): BatchWrite {
  const headAt = (count: number): BatchWrite["heads"][number] => {
    const { event_hash: hash } = JSON.parse(lines[count - 1] ?? "") as TraceEvent;
    return { session_id: sessionId, next_sequence: count, head_hash: hash, ended: false, algorithm: "sha256", at_risk: null };
  };
  return {
    expected: [{ session_id: sessionId, head: from === 0 ? null : headAt(from) }],
    segments: [{ session_id: sessionId, first_sequence: from, count: to - from, bytes: new Uint8Array(jsonl(lines.slice(from, to))) }],
    heads: [headAt(to)],
    quarantine: [],
    durability: "strict",
  };
}

function recoveryOf(store: FileStore): Recovery {
  const context = { store, hashers: new Hashers(), nowMs: () => 0, randomBytes: (count: number) => new Uint8Array(count).fill(process.pid) };
  return new Recovery(context, (problem) => {
    throw problem;
  });
}

/** Write a session event by event and tell each on stdout; then stand still, as a process that waits for work. */
async function writeSession(folder: string, sessionId: string): Promise<void> {
  const store = await FileStore.open(folder);
  await store.locks.take(sessionId, 7);
  const lines = await chainLines(rawEvents(0, EVENTS, { session: sessionId }));
  for (let n = 0; n < EVENTS; n += 1) {
    assert.ok(await store.commit(appending(sessionId, lines, n, n + 1)));
    process.stdout.write("stored\n");
  }
  process.stdin.resume();
}

async function recover(folder: string): Promise<void> {
  const recovery = recoveryOf(await FileStore.open(folder));
  process.stdout.write("ready\n");
  await once(process.stdin, "data");
  await recovery.endOrphans(new Set());
  process.stdout.write(`recovered ${recovery.recovered.length}\n`);
  process.exit(0);
}

const [task = "", folderOfTask = "", sessionOfTask = ""] = (process.env["CRA_TEST_TASK"] ?? "").split("|");

class Child {
  readonly process: ChildProcess;
  #told = "";
  #ended = false;
  #changed: () => void = () => undefined;

  constructor(name: string, folder: string, session = "") {
    // Without the test runner's own words to its children.
    const env = { PATH: process.env["PATH"], CRA_TEST_TASK: `${name}|${folder}|${session}` };
    this.process = spawn(process.execPath, [fileURLToPath(import.meta.url)], { env, stdio: ["pipe", "pipe", "inherit"] });
    this.process.stdout?.on("data", (chunk: Buffer) => {
      this.#told += chunk.toString();
      this.#changed();
    });
    this.process.on("close", () => {
      this.#ended = true;
      this.#changed();
    });
    children.push(this);
  }

  /** Wait until it told so many lines, or ended. */
  async told(count: number): Promise<string[]> {
    for (;;) {
      const lines = this.#told.split("\n").slice(0, -1);
      if (lines.length >= count || this.#ended) return lines;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async kill(): Promise<void> {
    if (this.#ended) return;
    const ended = once(this.process, "close");
    this.process.kill("SIGKILL");
    await ended;
  }
}

const children: Child[] = [];
const folders: string[] = [];

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cra-processes-"));
  folders.push(folder);
  return folder;
}

async function eventsOf(folder: string, session: string): Promise<TraceEvent[]> {
  const bytes = await readFile(join(folder, `${session}.trace.jsonl`));
  assert.equal((await verifyTrace([bytes])).valid, true);
  return splitLines(bytes).map((line) => JSON.parse(line) as TraceEvent);
}

function tests(): void {
  after(async () => {
    for (const child of children) await child.kill();
    for (const folder of folders) await rm(folder, { recursive: true });
  });

  void describe("processes that share a folder", () => {
    // PROTOCOL 3.17.1, 3.17.2
    test("a session is its process's while that runs; killed, it loses nothing stored, and a torn line is cut", async () => {
      const folder = await newFolder();
      const writer = new Child("write", folder, SESSION_A);
      await writer.told(EVENTS);
      const store = await FileStore.open(folder);
      const recovery = recoveryOf(store);
      await recovery.endOrphans(new Set());
      assert.deepEqual([(await eventsOf(folder, SESSION_A)).length, recovery.recovered], [EVENTS, []]);
      const lines = await chainLines(rawEvents(0, EVENTS + 1));
      assert.equal(await store.commit(appending(SESSION_A, lines, EVENTS, EVENTS + 1)), false, "it would write beside its writer");
      await writer.kill();
      await appendFile(join(folder, `${SESSION_A}.trace.jsonl`), (lines[EVENTS] ?? "").slice(0, 99));
      const next = await FileStore.open(folder);
      await recoveryOf(next).endOrphans(new Set());
      const events = await eventsOf(folder, SESSION_A);
      assert.deepEqual(events.slice(EVENTS).map(({ event_type }) => event_type), ["trace.gap", "session.ended"]);
      assert.deepEqual(events[EVENTS]?.payload, { cause: "interrupted", lost_at_most: 7, lost_count: null });
    });

    // PROTOCOL 3.16.1
    test("what was told as stored is there, wherever in its writing a process is killed", async () => {
      for (const count of [1, 5, 17]) {
        const folder = await newFolder();
        const writer = new Child("write", folder, SESSION_A);
        await writer.told(count);
        await writer.kill();
        const told = (await writer.told(0)).length;
        await recoveryOf(await FileStore.open(folder)).endOrphans(new Set());
        const events = await eventsOf(folder, SESSION_A);
        assert.ok(events.length - 2 >= told && told >= count, `${events.length} events, ${told} told`);
        assert.equal(events.at(-1)?.event_type, "session.ended");
      }
    });

    test("two write their own sessions at once", async () => {
      const folder = await newFolder();
      const writers = [new Child("write", folder, SESSION_A), new Child("write", folder, SESSION_B)];
      for (const writer of writers) await writer.told(EVENTS);
      for (const session of [SESSION_A, SESSION_B]) assert.equal((await eventsOf(folder, session)).length, EVENTS);
    });

    // PROTOCOL 3.17.2
    test("of three that find a dead one's session exactly one ends it", async () => {
      const folder = await newFolder();
      const writer = new Child("write", folder, SESSION_A);
      await writer.told(EVENTS);
      await writer.kill();
      const finders = Array.from({ length: 3 }, () => new Child("recover", folder));
      for (const finder of finders) await finder.told(1);
      for (const finder of finders) finder.process.stdin?.write("go\n");
      const told = await Promise.all(finders.map(async (finder) => (await finder.told(2)).at(-1)));
      assert.deepEqual(told.sort(), ["recovered 0", "recovered 0", "recovered 1"]);
      assert.equal((await eventsOf(folder, SESSION_A)).length, EVENTS + 2);
    });
  });
}

if (task === "write") await writeSession(folderOfTask, sessionOfTask);
else if (task === "recover") await recover(folderOfTask);
else tests();
