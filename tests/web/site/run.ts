/** Runs a script in a Node of its own. */

import { spawn } from "node:child_process";

/** Return the exit code and everything that it printed. */
export async function run(args: readonly string[], cwd: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const collect = (data: Buffer): void => {
    output += data.toString();
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const code = await new Promise<number | null>((ended) => child.on("close", ended));
  return { code, output };
}
