"""`cra-wasm bench`: the same measurements in CPython, in Pyodide in Node and in Pyodide in Chromium."""
