"""The wheel can be had in each of the ways that a page or a script has in Pyodide."""

from __future__ import annotations

from typing import Any

from pytest_pyodide import run_in_pyodide


def test_micropip_installs_the_built_wheel(fresh_pyodide: Any, wheel_url: str) -> None:
    fresh_pyodide.load_package("micropip")
    origin, version = fresh_pyodide.run_async(
        f"""
        import importlib.metadata, micropip
        await micropip.install({wheel_url!r})
        import cra_wasm
        [cra_wasm.__file__, importlib.metadata.version("cra-wasm")]
        """
    )
    assert origin.endswith("/site-packages/cra_wasm/__init__.py")
    assert f"cra_wasm-{version}-" in wheel_url


def test_micropip_installs_by_name_from_the_lock(fresh_pyodide: Any) -> None:
    fresh_pyodide.load_package("micropip")
    installed = fresh_pyodide.run_async(
        """
        import importlib, micropip
        await micropip.install("cra-wasm")
        importlib.import_module("cra_wasm.errors")
        sorted(name.replace("_", "-") for name in micropip.list() if name != "micropip")
        """
    )
    assert installed == [
        "annotated-types",
        "cra-wasm",
        "pydantic",
        "pydantic-core",
        "rfc8785",
        "typing-extensions",
        "typing-inspection",
        "tzdata",
    ]


def test_importing_code_loads_the_package_that_has_it(fresh_pyodide: Any) -> None:
    # run_async calls loadPackagesFromImports first.
    assert fresh_pyodide.run_async("import cra_wasm.errors\ncra_wasm.errors.CRAError.__name__") == "CRAError"


@run_in_pyodide(packages=["cra-wasm"])
def test_the_site_s_modules_are_bytecode_of_this_interpreter(selenium):  # type: ignore[no-untyped-def]
    import json

    import _pyodide
    import pydantic

    import cra_wasm

    for module in (cra_wasm, json, pydantic, _pyodide):
        assert module.__file__.endswith("/__init__.pyc"), module.__file__


@run_in_pyodide(packages=["cra-wasm"])
def test_time_zones_are_there_without_the_system_s(selenium):  # type: ignore[no-untyped-def]
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    assert datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")).utcoffset() == timedelta(hours=2)
