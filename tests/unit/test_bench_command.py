"""`cra-wasm bench`: bad arguments first, then what it prints, writes and returns."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.bench import command, runtimes
from cra_wasm.bench.judge import read_baseline
from cra_wasm.cli import main
from cra_wasm.errors import CRAError

pytestmark = pytest.mark.cpython_only(reason="the command line starts other programs")


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Measure nothing: every runtime answers with this report, which a test may change."""
    kept: dict[str, Any] = {
        "runtime": "node",
        "versions": {"cra-wasm": "0.1.0"},
        "machine": {"cpu": "A", "cores": 2, "os": "Linux", "load_before": 0.1, "load_after": None},
        "measured_at": "2026-01-01T00:00:00Z",
        "quick": False,
        "timer_resolution_us": 1.0,
        "calibration_us": 100.0,
        "unsteady": [],
        "scenarios": [entry("resolve_5", 5.0)],
        "not_measured": [],
    }

    def measure(runtime: str, names: Any, **options: Any) -> dict[str, Any]:
        return json.loads(json.dumps({**kept, "runtime": runtime}))

    monkeypatch.setattr(command, "measure", measure)
    return kept


def entry(name: str, value: float, *, held: bool | None = True) -> dict[str, Any]:
    p50 = {"name": "p50", "unit": "us", "value": value, "text": f"{value} us", "runs": [value]}
    return {
        "name": name,
        "title": name,
        "claim": "nothing",
        "runs": 1,
        "calibration_us": {"in": "python", "before": 100.0, "after": 100.0},
        "unsteady": False,
        "metrics": [{**p50, "budget": 10, "budget_text": "<= 10 us", "held": held}],
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], "unknown_benchmark"),
        (["bridge_resolve_5"], "unknown_benchmark"),
        (["--runs", "4"], "invalid_arguments"),
        (["--runs", "-5"], "invalid_arguments"),
        (["--runs", "101"], "invalid_arguments"),
        (["--quick", "--out", "somewhere"], "invalid_arguments"),
        (["--baseline", "none.json"], "invalid_baseline"),
        pytest.param(
            ["--baseline", "/dev/zero"],
            "invalid_baseline",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="an endless file"),
        ),
        (["--runtime", "node", "nonsense"], "unknown_benchmark"),
        (["--runtime", "node", "--site", "none"], "bench_unavailable"),
        (["--runtime", "chromium", "--site", "none"], "bench_unavailable"),
    ],
)
def test_what_cannot_be_measured_is_2_with_a_code(
    arguments: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments, "--json"]) == 2
    assert printed(capsys)["error"]["code"] == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--runs", "x"], ["--runs", "5.5"], ["--runtime", "safari"]])
def test_a_number_that_is_none_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for part in ("lib/bench.js", "pyodide/pyodide-lock.json"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).write_text("")
    return tmp_path


def test_a_missing_node_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CRAError) as caught:
        runtimes.measure("node", [], runs=5, quick=True, site=site)
    assert caught.value.code == "bench_unavailable"


def test_a_missing_playwright_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "playwright.sync_api", None)
    with pytest.raises(CRAError) as caught:
        runtimes.measure("chromium", [], runs=5, quick=True, site=site)
    assert caught.value.code == "bench_unavailable"


def test_a_chromium_that_was_named_and_is_none_is_told() -> None:
    with pytest.raises(CRAError) as caught:
        runtimes.find_chromium({"CHROMIUM": "/no/such/chromium"})
    assert caught.value.code == "bench_unavailable"


@pytest.mark.parametrize("script", ["process.exit(3)", "", "console.log('{')", "throw new Error('x')"])
def test_a_node_that_gives_no_report_is_told(site: Path, script: str) -> None:
    (site / "lib" / "bench.js").write_text(script)
    with pytest.raises(CRAError) as caught:
        runtimes.measure("node", [], runs=5, quick=True, site=site)
    assert caught.value.code == "bench_failed"


def test_an_error_inside_keeps_its_code_and_lines_are_told(site: Path) -> None:
    told: list[str] = []
    (site / "lib" / "bench.js").write_text(
        'console.log("1 of 2: one");'
        'console.log(JSON.stringify({error: {code: "some_code", message: "m", details: {pointer: "/p"}}}))'
    )
    with pytest.raises(CRAError) as caught:
        runtimes.measure("node", [], runs=5, quick=True, site=site, tell=told.append)
    assert (caught.value.code, caught.value.details) == ("some_code", {"pointer": "/p"})
    assert told == ["1 of 2: one"]


@pytest.mark.parametrize(("held", "status"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_status_says_whether_the_budgets_hold(
    measured: dict[str, Any], held: bool | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured["scenarios"] = [entry("resolve_5", 5.0, held=held)]
    assert main(["bench", "--runtime", "node"]) == status
    assert ("missed or regressed: resolve_5 p50" in capsys.readouterr().out) == (status == 1)


UNMEASURED = {"name": "hash_700", "code": "hash_unavailable", "message": "load the package"}


@pytest.mark.parametrize("held", [True, False])
def test_what_could_not_be_measured_is_2_whatever_the_rest_says(
    measured: dict[str, Any], held: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    measured.update(scenarios=[entry("resolve_5", 5.0, held=held)], not_measured=[UNMEASURED])
    assert main(["bench", "--runtime", "node"]) == 2
    text = capsys.readouterr().out
    assert "not measured: hash_700: load the package\n" in text
    assert ("missed or regressed: resolve_5 p50" in text) != held
    assert main(["bench", "--runtime", "node", "--json"]) == 2
    assert printed(capsys)["not_measured"] == [UNMEASURED]


def test_what_was_not_measured_stands_on_the_page_until_it_is(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    def told() -> bool:
        assert read_baseline(tmp_path / "results.json")
        return "not measured: hash\\_700: load the package" in (tmp_path / "README.md").read_text()

    def run(*names: str) -> int:
        return main(["bench", *names, "--runtime", "node", "--out", str(tmp_path)])

    measured["not_measured"] = [UNMEASURED]
    assert (run(), told()) == (2, True)
    measured["not_measured"] = []
    assert (run("resolve_5"), told()) == (0, True)
    measured["scenarios"] = [entry("hash_700", 1.0)]
    assert (run("hash_700"), told()) == (0, False)
    measured.update(scenarios=[], not_measured=[UNMEASURED])
    assert (run("hash_700"), told()) == (2, False)  # the older figure of the same machine stays


def test_out_writes_page_plot_results_and_a_baseline_that_stays(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "docs" / "benchmarks"
    for runtime in ("chromium", "cpython"):
        assert main(["bench", "--runtime", runtime, "--out", str(out), "--json"]) == 0
    assert printed_lines(capsys) == 2
    assert {one.name for one in out.iterdir()} == {
        *("README.md", "benchmarks.svg", "results.json", "baseline.json")
    }
    assert list(json.loads((out / "results.json").read_text())["runtimes"]) == ["cpython", "chromium"]

    measured["scenarios"] = [entry("resolve_5", 50.0)]
    baseline = str(out / "baseline.json")
    assert main(["bench", "--runtime", "chromium", "--out", str(out), "--baseline", baseline, "--json"]) == 1
    verdict = printed(capsys)["scenarios"][0]["metrics"][0]["against"]
    assert verdict == {"was": 5.0, "expected": 5.0, "verdict": "regressed"}
    assert json.loads(Path(baseline).read_text())["runtimes"]["chromium"]["scenarios"] == [
        entry("resolve_5", 5.0)
    ]
    assert "regressed" in (out / "README.md").read_text()


def printed_lines(capsys: pytest.CaptureFixture[str]) -> int:
    return len(capsys.readouterr().out.splitlines())


def test_a_run_of_some_renews_these_and_keeps_the_others_of_the_same_machine(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    def values() -> dict[str, float]:
        stored = json.loads((tmp_path / "results.json").read_text())["runtimes"]["node"]["scenarios"]
        return {one["name"]: one["metrics"][0]["value"] for one in stored}

    measured["scenarios"] = [entry("resolve_5", 5.0), entry("emit", 6.0)]
    assert main(["bench", "--runtime", "node", "--out", str(tmp_path)]) == 0
    measured["scenarios"] = [entry("emit", 7.0)]
    assert main(["bench", "emit", "--runtime", "node", "--out", str(tmp_path)]) == 0
    assert values() == {"resolve_5": 5.0, "emit": 7.0}
    measured["machine"]["cpu"] = "Another"
    assert main(["bench", "emit", "--runtime", "node", "--out", str(tmp_path)]) == 0
    assert values() == {"emit": 7.0}


def test_a_folder_that_cannot_be_written_is_told(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["bench", "--out", str(tmp_path / "file"), "--json"]) == 2
    assert printed(capsys)["error"]["code"] in ("cannot_write", "invalid_baseline")


def test_the_machine_is_named() -> None:
    facts = runtimes.machine_facts()
    assert facts["cpu"] and facts["cores"] >= 1 and facts["os"]
