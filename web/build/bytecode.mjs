// node bytecode.mjs PYODIDE_FOLDER SOURCE TARGET INSTALLED_UNDER
//
// Recompiles one zip or wheel with compile_archive.py inside Pyodide. One process per archive: which strings a
// .pyc shares depends on what the interpreter did before, and a fresh one makes the bytes repeat.
import { readFile, rename, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, source, target, installedUnder] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(folder, "pyodide.mjs")).href);
const pyodide = await loadPyodide({
  indexURL: resolve(folder),
  env: { PYTHONHASHSEED: "0", HOME: "/home/pyodide" },
});
const script = await readFile(new URL("compile_archive.py", import.meta.url), "utf8");
const namespace = pyodide.globals.get("dict")();
pyodide.runPython(script, { globals: namespace, filename: "compile_archive.py" });
const compile = namespace.get("compile_archive");
const bytes = pyodide.toPy(new Uint8Array(await readFile(source)));
const compiled = compile(bytes, installedUnder);
const view = compiled.getBuffer("u8");
await writeFile(`${target}.part`, view.data);
view.release();
for (const proxy of [compiled, bytes, compile, namespace]) proxy.destroy?.();
await rename(`${target}.part`, target);
