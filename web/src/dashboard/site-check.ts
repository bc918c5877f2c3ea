/** Finds out which file of the site is missing. Pyodide itself waits for ever for one, and names another for the next. */

import { CraError } from "../errors.js";
import { isObject } from "./sample.js";

const FOLDER = "pyodide/";
const LOCK = "pyodide-lock.json";
const CORE = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", LOCK];

/** Ask the server for each file that a boot needs; returns the error that names those which it does not have. */
export async function findMissingFiles(): Promise<CraError | undefined> {
  const names = [...CORE, ...(await lockedFiles())];
  const answers = await Promise.all(names.map(isMissing));
  const missing = names.filter((_, index) => answers[index]).map((name) => FOLDER + name);
  if (missing.length === 0) return undefined;
  return new CraError("file_missing", `the server does not have \`${missing.join("`, `")}\``, { files: missing });
}

/** The wheels that the lock names; none when it cannot be read, which is told as its own file. */
async function lockedFiles(): Promise<readonly string[]> {
  try {
    const lock: unknown = await (await fetch(FOLDER + LOCK)).json();
    const packages: unknown = isObject(lock) ? lock["packages"] : undefined;
    if (!isObject(packages)) return [];
    return Object.values(packages).flatMap((each) =>
      isObject(each) && typeof each["file_name"] === "string" ? [each["file_name"]] : [],
    );
  } catch {
    return [];
  }
}

/** Only a plain "not found" counts: a host may refuse HEAD, and a server that is gone is told by the boot itself. */
async function isMissing(name: string): Promise<boolean> {
  try {
    return [404, 410].includes((await fetch(FOLDER + name, { method: "HEAD" })).status);
  } catch {
    return false;
  }
}
