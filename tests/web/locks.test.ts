import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { FileSessionLocks } from "../../web/src/session-locks-file.js";
import { NoLocks } from "../../web/src/session-locks.js";
import { SESSION_A, SESSION_B } from "./events.js";
import { FakeLockManager, webLocks } from "./fake-locks.js";

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await fs.rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const folder = await fs.mkdtemp(join(tmpdir(), "cra-locks-"));
  folders.push(folder);
  return folder;
}

function fileLocks(folder: string, owner: string = randomUUID(), host = hostname()): FileSessionLocks {
  return new FileSessionLocks(fs, folder, owner, host);
}

/** The number of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ["-e", ""]).pid;
}

async function writeLock(folder: string, lock: object): Promise<void> {
  await fs.writeFile(join(folder, `${SESSION_A}.json`), JSON.stringify(lock));
}

void describe("web locks", () => {
  // PROTOCOL 3.17.1
  test("one tab of two has a session, and the other gets it when it is given back", async () => {
    const manager = new FakeLockManager();
    const [left, right] = [webLocks(manager), webLocks(manager)];
    assert.deepEqual([await left.take(SESSION_A), await right.take(SESSION_A)], [true, false]);
    assert.deepEqual([left.holds(SESSION_A), right.holds(SESSION_A)], [true, false]);
    assert.equal(await left.take(SESSION_A), true, "it has it already");
    await left.release([SESSION_A]);
    assert.equal(await right.take(SESSION_A), true);
    assert.deepEqual([left.held(), right.held()], [[], [SESSION_A]]);
  });

  test("are named by database and session", async () => {
    const manager = new FakeLockManager();
    const [one, other] = [webLocks(manager, "one"), webLocks(manager, "other")];
    assert.deepEqual([await one.take(SESSION_A), await other.take(SESSION_A), await one.take(SESSION_B)], [true, true, true]);
    assert.deepEqual(manager.names(), [
      `cra-wasm session one ${SESSION_A}`,
      `cra-wasm session one ${SESSION_B}`,
      `cra-wasm session other ${SESSION_A}`,
    ]);
  });

  test("a request that the browser refuses is a lock that is not held", async () => {
    const manager = new FakeLockManager();
    manager.refusing = true;
    const locks = webLocks(manager);
    assert.deepEqual([await locks.take(SESSION_A), locks.held()], [false, []]);
  });

  test("to give back what is not held is nothing", async () => {
    const locks = webLocks(new FakeLockManager());
    await locks.release([SESSION_A]);
    assert.deepEqual(locks.held(), []);
  });
});

test("where there are no locks none is ever had, so that nothing is recovered", async () => {
  const locks = new NoLocks();
  assert.deepEqual([await locks.take(), locks.holds(), locks.held()], [false, false, []]);
  await locks.release();
});

void describe("lock files", () => {
  test("a session whose writer runs is held, whoever asks in whatever process", async () => {
    const folder = await newFolder();
    const [left, right] = [fileLocks(folder), fileLocks(folder)];
    assert.deepEqual([await left.take(SESSION_A, 9), await right.take(SESSION_A, 9)], [true, false]);
    assert.deepEqual([await left.take(SESSION_A, 9), right.held()], [true, []]);
    assert.equal(await right.atRisk(SESSION_A), 9);
  });

  // PROTOCOL 3.17.1
  test("a process that no longer runs holds nothing, and what it had at risk is told", async () => {
    const folder = await newFolder();
    await writeLock(folder, { pid: deadPid(), host: hostname(), owner: randomUUID(), at_risk: 17 });
    const locks = fileLocks(folder);
    assert.equal(await locks.atRisk(SESSION_A), 17);
    assert.equal(await locks.take(SESSION_A, 17), true);
    assert.deepEqual((await fs.readdir(folder)).sort(), [`${SESSION_A}.json`], "nothing else is left behind");
  });

  test("of many that find a dead writer's session at once exactly one gets it", async () => {
    const folder = await newFolder();
    await writeLock(folder, { pid: deadPid(), host: hostname(), owner: randomUUID(), at_risk: 1 });
    const all = Array.from({ length: 8 }, () => fileLocks(folder));
    const taken = await Promise.all(all.map((locks) => locks.take(SESSION_A, 1)));
    assert.equal(taken.filter(Boolean).length, 1);
  });

  // PROTOCOL 3.17.1
  test("one that was just taken is never moved by who saw the dead one before it", async () => {
    const folder = await newFolder();
    await writeLock(folder, { pid: deadPid(), host: hostname(), owner: randomUUID(), at_risk: 1 });
    const [quick, third] = [fileLocks(folder), fileLocks(folder)];
    const taken: boolean[] = [];
    const meanwhile = async (): Promise<void> => {
      for (const each of [quick, third]) taken.push(await each.take(SESSION_A, 1));
    };
    // Others come between each look of the slow one and what it does then.
    const slowFs = {
      ...fs,
      rename: async (from: string, to: string): Promise<void> => {
        await meanwhile();
        await fs.rename(from, to);
      },
    } as typeof fs;
    const slow = new FileSessionLocks(slowFs, folder, randomUUID(), hostname());
    taken.push(await slow.take(SESSION_A, 1));
    await meanwhile();
    assert.deepEqual([taken.filter(Boolean).length, await fs.readdir(folder)], [1, [`${SESSION_A}.json`]]);
  });

  test("a claim whose writer died with it holds nobody up", async () => {
    const folder = await newFolder();
    const dead = { pid: deadPid(), host: hostname(), owner: randomUUID(), at_risk: 1 };
    await writeLock(folder, dead);
    await fs.writeFile(join(folder, `${SESSION_A}.json.claim`), JSON.stringify(dead));
    assert.equal(await fileLocks(folder).take(SESSION_A, 1), true);
    assert.deepEqual(await fs.readdir(folder), [`${SESSION_A}.json`]);
  });

  test("a writer on another machine is taken for alive", async () => {
    const folder = await newFolder();
    await writeLock(folder, { pid: deadPid(), host: "elsewhere", owner: randomUUID(), at_risk: 1 });
    assert.equal(await fileLocks(folder).take(SESSION_A, 1), false);
  });

  test("a worker takes over what its dead predecessor of the same client held", async () => {
    const folder = await newFolder();
    const owner = randomUUID();
    await fileLocks(folder, owner).take(SESSION_A, 5);
    const next = fileLocks(folder, owner);
    assert.deepEqual([await next.take(SESSION_A, 5), next.holds(SESSION_A)], [true, true]);
  });

  test("what is given back is free, and tells whether anything may be missing", async () => {
    const folder = await newFolder();
    for (const [settled, atRisk] of [[true, 0], [false, 12]] as const) {
      const locks = fileLocks(folder);
      assert.equal(await locks.take(SESSION_A, 12), true);
      await locks.release([SESSION_A, SESSION_B], settled);
      assert.deepEqual([await fileLocks(folder).atRisk(SESSION_A), locks.held()], [atRisk, []]);
    }
  });

  test("a lock file that is torn, or no lock at all, is nobody's and tells nothing", async () => {
    for (const text of ["", "{", "null", "[]", '{"pid":"1"}', '{"pid":1.5,"host":"h","owner":"o"}']) {
      const folder = await newFolder();
      await fs.writeFile(join(folder, `${SESSION_A}.json`), text);
      const locks = fileLocks(folder);
      assert.deepEqual([await locks.atRisk(SESSION_A), await locks.take(SESSION_A, null)], [null, true], text);
    }
  });

  test("an ended session leaves no file", async () => {
    const folder = await newFolder();
    const locks = fileLocks(folder);
    await locks.take(SESSION_A, 1);
    await locks.forget(SESSION_A);
    assert.deepEqual([await fs.readdir(folder), locks.held(), await locks.atRisk(SESSION_A)], [[], [], null]);
  });
});
