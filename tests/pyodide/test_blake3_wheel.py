"""The native BLAKE3: how it gets into Pyodide, that it hashes as PyPI's does, that it leaks nothing.

Its interface is in tests/unit/test_blake3_interface.py and upstream's own tests in tests/blake3_sdist; both
run inside Pyodide by test_suites_inside.py.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEST_PYODIDE = Path(__file__).resolve().parents[2] / "dist" / "test-pyodide"
HELLO = blake3(b"hello").hexdigest()
HASH_HELLO = "__import__('blake3').blake3(b'hello').hexdigest()"


@pytest.fixture(scope="session")
def wheel_name() -> str:
    (wheel,) = TEST_PYODIDE.glob("blake3-*.whl")
    return wheel.name


@pytest.fixture(scope="session")
def test_pyodide_url(web_server_main: tuple[str, int, Any]) -> str:
    host, port, _ = web_server_main
    return f"http://{host}:{port}"


# Getting it


def test_load_package_takes_it_by_name(selenium_module_scope: Any) -> None:
    selenium_module_scope.load_package("blake3")
    assert selenium_module_scope.run(HASH_HELLO) == HELLO


def test_load_package_takes_it_by_address(fresh_pyodide: Any, test_pyodide_url: str, wheel_name: str) -> None:
    address = f"{test_pyodide_url}/{wheel_name}"
    fresh_pyodide.run_js(f"await pyodide.loadPackage({json.dumps(address)}); return null;")
    assert fresh_pyodide.run(HASH_HELLO) == HELLO


def test_importing_it_is_enough(fresh_pyodide: Any) -> None:
    # run_async calls loadPackagesFromImports first.
    assert fresh_pyodide.run_async("import blake3\nblake3.blake3(b'hello').hexdigest()") == HELLO


@pytest.mark.parametrize("by", ["name", "address"])
def test_micropip_installs_it(fresh_pyodide: Any, test_pyodide_url: str, wheel_name: str, by: str) -> None:
    what = "blake3" if by == "name" else f"{test_pyodide_url}/{wheel_name}"
    fresh_pyodide.load_package("micropip")
    answer = fresh_pyodide.run_async(
        f"""
        import importlib.metadata, micropip
        await micropip.install({what!r})
        [{HASH_HELLO}, importlib.metadata.version("blake3")]
        """
    )
    assert answer == [HELLO, wheel_name.split("-")[1]]


def test_unpack_archive_takes_it(fresh_pyodide: Any, wheel_name: str) -> None:
    content = list((TEST_PYODIDE / wheel_name).read_bytes())
    unpack = f'pyodide.unpackArchive(new Uint8Array({content}), "wheel"); return null;'
    fresh_pyodide.run_js(unpack)
    assert fresh_pyodide.run(HASH_HELLO) == HELLO


IN_A_PAGE_S_WORKER = """
const source = `
  import {{ loadPyodide }} from "{url}/pyodide.mjs";
  try {{
    const pyodide = await loadPyodide({{ indexURL: "{url}/" }});
    await pyodide.loadPackage("blake3");
    postMessage(pyodide.runPython("{code}"));
  }} catch (error) {{ postMessage(String(error)); }}
`;
const address = URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }}));
const worker = new Worker(address, {{ type: "module" }});
try {{
  return await new Promise((resolve, reject) => {{
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = (event) => reject(new Error(event.message));
  }});
}} finally {{ worker.terminate(); }}
"""

IN_NODE_S_WORKER = """
const {{ Worker }} = require("node:worker_threads");
const source = `
  const {{ parentPort }} = require("node:worker_threads");
  (async () => {{
    const {{ loadPyodide }} = await import("{folder}/pyodide.mjs");
    const pyodide = await loadPyodide({{ indexURL: "{folder}/" }});
    await pyodide.loadPackage("blake3");
    parentPort.postMessage(pyodide.runPython("{code}"));
  }})();
`;
const worker = new Worker(source, {{ eval: true }});
worker.once("message", (answer) => {{ console.log("answer", answer); worker.terminate(); }});
"""


def test_a_worker_can_load_it(selenium_module_scope: Any, runtime: str, test_pyodide_url: str) -> None:
    if runtime == "node":
        script = IN_NODE_S_WORKER.format(folder=TEST_PYODIDE, code=HASH_HELLO)
        done = subprocess.run(["node", "--eval", script], capture_output=True, text=True, check=False)
        assert f"answer {HELLO}\n" in done.stdout, done.stdout[-2_000:] + done.stderr[-2_000:]
    else:
        script = IN_A_PAGE_S_WORKER.format(url=test_pyodide_url, code=HASH_HELLO)
        assert selenium_module_scope.run_js(script) == HELLO


# Hashing as PyPI's does

CHUNK = 1024
LENGTHS = st.one_of(
    st.integers(0, 200),
    st.integers(0, 40).flatmap(lambda chunks: st.integers(max(0, chunks * CHUNK - 2), chunks * CHUNK + 2)),
    st.integers(0, 60_000),
)
MODES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"key": st.binary(min_size=32, max_size=32)}),
    st.fixed_dictionaries({"derive_key_context": st.text(max_size=80)}),
)
CASES = st.fixed_dictionaries(
    {
        "mode": MODES,
        "length": LENGTHS,
        "stride": st.integers(1, 255),
        "splits": st.lists(LENGTHS, max_size=6),
        "copy_after": st.integers(0, 6),
        "output": st.integers(0, 300),
        "seek": st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1_000)),
    }
)

DIGEST = """
def digest(case, blake3):
    data = bytes(i * case["stride"] % 251 for i in range(case["length"]))
    ends = sorted(min(split, len(data)) for split in case["splits"]) + [len(data)]
    hasher, start = blake3(**case["mode"]), 0
    for number, end in enumerate(ends):
        if number == case["copy_after"]:
            before, hasher = hasher, hasher.copy()
            before.update(b"not the copy's")
        hasher.update(data[start:end])
        start = end
    assert hasher.digest() == blake3(data, **case["mode"]).digest()
    return hasher.hexdigest(case["output"], seek=case["seek"])
"""
"""The same source runs on both sides."""


def test_random_bytes_splits_modes_and_outputs_hash_as_pypi_s_do(selenium_module_scope: Any) -> None:
    names: dict[str, Any] = {}
    exec(DIGEST, names)
    selenium_module_scope.load_package("blake3")
    selenium_module_scope.run(DIGEST + "import blake3, json; None")

    # An example is a batch, because each one is a call into Pyodide.
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.large_base_example])
    @given(st.lists(CASES, min_size=1, max_size=10))
    def check(cases: list[dict[str, Any]]) -> None:
        ours = selenium_module_scope.run(f"[digest(case, blake3.blake3) for case in {cases!r}]")
        assert ours == [names["digest"](case, blake3) for case in cases]

    check()


# Memory

ROUND = """
import blake3, gc, sys
from blake3 import blake3 as new
data, key = bytes(700), bytes(32)

def round(times):
    for number in range(times):
        hasher = new(data, key=key)
        # Numbers that are made anew: a small one or a constant would hide that it was never freed.
        hasher.update(data).copy().hexdigest(257 + number % 8, seek=2**40 + number)
        new(derive_key_context="c").digest()
        hasher.reset()

def bad_round(times):
    strided = memoryview(data)[::2]
    for number in range(times):
        for call in (
            lambda: new("text"), lambda: new(strided), lambda: new(key=b""), lambda: new(key=strided),
            lambda: new(key=key, derive_key_context=""), lambda: new(derive_key_context="\\ud800"),
            lambda: new(max_threads=0), lambda: new(data, nope=1), lambda: new().update(strided),
            lambda: new().digest(-1000 - number),
            lambda: new().hexdigest(2**80 + number), lambda: new().digest(seek=-1000 - number),
        ):
            try:
                call()
            except (TypeError, ValueError, BufferError, OverflowError):
                continue
            raise AssertionError("not refused")

def counts():
    gc.collect()
    return [sys.getallocatedblocks(), sys.getrefcount(new), sys.getrefcount(data), sys.getrefcount(key)]
"""


def test_a_million_objects_leave_nothing_behind(selenium_module_scope: Any) -> None:
    selenium_module_scope.load_package("blake3")
    memory = "return pyodide._module.HEAP8.length;"
    selenium_module_scope.run(ROUND + "round(1000); bad_round(100); counts(); None")
    before, heap_before = selenium_module_scope.run("counts()"), selenium_module_scope.run_js(memory)
    # Three objects a round.
    selenium_module_scope.run("round(333_400); bad_round(10_000); None")
    after, heap_after = selenium_module_scope.run("counts()"), selenium_module_scope.run_js(memory)

    assert heap_after == heap_before, "the WebAssembly memory grew"
    # Blocks: the counting itself makes and frees some. A leak of one object a round would be 333,400.
    assert abs(after[0] - before[0]) < 100
    assert after[1:] == before[1:]
