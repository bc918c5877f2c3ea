"""What `import cra_wasm` gives, and what it leaves alone until it is asked for."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cra_wasm

PRINT_MODULES = "import sys, cra_wasm; print('\\n'.join(sys.modules))"


@pytest.mark.parametrize("name", cra_wasm.__all__)
def test_every_public_name_imports(name: str) -> None:
    value = getattr(cra_wasm, name)
    assert value is not None
    assert getattr(cra_wasm, name) is value
    if name != "__version__":
        assert value.__name__ == name


def test_the_names_are_those_that_the_protocol_suite_knows() -> None:
    assert {"Resolver", "RawEvent", "TraceRingBuffer", "TraceProcessor", "StorageBackend"} <= set(
        cra_wasm.__all__
    )
    assert len(cra_wasm.__all__) == len(set(cra_wasm.__all__))
    assert dir(cra_wasm) == sorted(cra_wasm.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = cra_wasm.Resolvers
    with pytest.raises(ImportError):
        importlib.import_module("cra_wasm.Resolvers")


def test_types_are_declared_for_checkers() -> None:
    assert (Path(cra_wasm.__file__).parent / "py.typed").is_file()


@pytest.mark.cpython_only(reason="there are no processes inside Pyodide")
def test_importing_the_package_alone_pulls_in_neither_pydantic_nor_the_resolver() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(cra_wasm.__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES], capture_output=True, text=True, check=True, env=environment
    )
    loaded = done.stdout.split()
    assert "cra_wasm" in loaded
    assert [one for one in loaded if one.startswith(("pydantic", "rfc8785", "cra_wasm."))] == []
