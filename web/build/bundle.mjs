/**
 * Bundle the client and its workers into <site>/lib, with types. Usage: node build/bundle.mjs [--out DIR]
 *
 * One file per entry, no splitting: the paths that others link to (lib/cra-wasm.js, the workers) stay stable.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build } from "esbuild";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({ options: { out: { type: "string", default: resolve(web, "../dist/site/lib") } } });
const out = resolve(values.out);

const entries = {
  "cra-wasm": "src/cra-wasm.ts",
  "resolver.worker": "src/resolver.worker.ts",
  "trace.worker": "src/trace.worker.ts",
  bench: "src/bench.ts",
  "bench.worker": "src/bench.worker.ts",
  "bench-page": "src/bench-page.ts",
};
const dashboard = "src/dashboard/main.ts";
if (existsSync(resolve(web, dashboard))) entries.dashboard = dashboard;

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

await build({
  absWorkingDir: web,
  entryPoints: entries,
  outdir: out,
  bundle: true,
  format: "esm",
  target: "es2022",
  // "neutral" would not read the packages' "browser" and "module" fields; Node's own modules are loaded on demand.
  platform: "browser",
  external: ["node:*"],
  minify: true,
  keepNames: true,
  sourcemap: true,
  legalComments: "inline",
  logLevel: "warning",
});

// Node takes .js files for CommonJS where no package.json says otherwise.
writeFileSync(resolve(out, "package.json"), '{ "type": "module" }\n');

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const types = [tsc, "--project", resolve(web, "tsconfig.types.json"), "--outDir", out];
process.exitCode = spawnSync(process.execPath, types, { stdio: "inherit" }).status ?? 1;
