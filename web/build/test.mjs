/**
 * Run the TypeScript tests: bundle each for Node, then node --test.
 *
 * Usage: node build/test.mjs [--site] [FILTER]
 * Without --site: tests/web/*.test.ts, which need no build. With it: tests/web/site/*.test.ts, against dist/site.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build } from "esbuild";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const { values, positionals } = parseArgs({ options: { site: { type: "boolean" } }, allowPositionals: true });
const tests = resolve(web, values.site ? "../tests/web/site" : "../tests/web");
const site = resolve(web, "../dist/site");
if (values.site && !existsSync(resolve(site, "pyodide/pyodide-lock.json"))) {
  console.error("these tests need the site: run ./build.sh site first");
  process.exit(2);
}

// Inside node_modules, so that the bundles find the packages that they leave out.
const out = resolve(web, "node_modules/.cache/cra-wasm-tests", values.site ? "site" : "unit");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
writeFileSync(resolve(out, "package.json"), '{ "type": "module" }\n');

const names = readdirSync(tests).filter(
  (name) => name.endsWith(".test.ts") && positionals.every((filter) => name.includes(filter)),
);
if (names.length === 0) {
  console.error(`no tests in ${tests}`);
  process.exit(2);
}
const options = { bundle: true, format: "esm", target: "node20", platform: "node", packages: "external", sourcemap: "inline" };
await build({ ...options, entryPoints: names.map((name) => resolve(tests, name)), outdir: out });
if (!values.site) {
  // A site whose resolver's worker holds a bridge written in TypeScript: the client's tests need no Python. The client is
  // there for scripts that run by themselves.
  await build({
    ...options,
    entryPoints: {
      "resolver.worker": resolve(tests, "fake-resolver.worker.ts"),
      "cra-wasm": resolve(web, "src/cra-wasm.ts"),
      "trace.worker": resolve(web, "src/trace.worker.ts"),
      "mortal-trace.worker": resolve(tests, "mortal-trace.worker.ts"),
    },
    outdir: resolve(out, "site/lib"),
  });
}

const files = names.map((name) => resolve(out, `${basename(name, ".ts")}.js`));
const environment = { ...process.env, CRA_TEST_SITE: values.site ? site : resolve(out, "site") };
// A test that hangs fails, and so does one that leaves a worker alive: without a limit it holds the whole run. The limit
// holds for a file, too, and those on the site boot Pyodide several times.
const node = ["--enable-source-maps", "--test", "--test-timeout", values.site ? "400000" : "240000", "--test-reporter", "spec", ...files];
process.exit(spawnSync(process.execPath, node, { stdio: "inherit", env: environment }).status ?? 1);
