"""What becomes of a report: the comparison with a baseline, the table, the page, the plot."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cra_wasm.bench.judge import compare, missed, read_baseline, shown
from cra_wasm.bench.plot import plot_svg
from cra_wasm.bench.report import page_text, table_text
from cra_wasm.errors import InvalidInput

SVG = "{http://www.w3.org/2000/svg}"


def metric(value: float, unit: str = "us", **members: Any) -> dict[str, Any]:
    made = {"name": "p50", "unit": unit, "value": value, "text": shown(value, unit), "runs": [value] * 5}
    return {**made, "budget": None, "budget_text": "", "held": None, **members}


def report(*metrics: dict[str, Any], runtime: str = "node", calibration_us: float = 100.0) -> dict[str, Any]:
    pace = {"in": "python", "before": calibration_us, "after": calibration_us}
    scenarios = [
        {
            "name": f"one_{number}",
            "title": f"one {number}",
            "claim": "nothing",
            "runs": 5,
            "calibration_us": pace,
            "unsteady": False,
            "metrics": [each],
        }
        for number, each in enumerate(metrics)
    ]
    return {
        "runtime": runtime,
        "versions": {"cra-wasm": "0.1.0"},
        "machine": {"cpu": "A CPU", "cores": 2, "os": "Linux", "load_before": 0.1, "load_after": 0.2},
        "measured_at": "2026-01-01T00:00:00Z",
        "quick": False,
        "timer_resolution_us": 5.0,
        "calibration_us": calibration_us,
        "unsteady": [],
        "scenarios": scenarios,
    }


def against(new_metric: dict[str, Any], old: dict[str, Any], *, now: float = 100.0) -> tuple[str, float]:
    new = report(new_metric, calibration_us=now)
    compare(new, {"node": report(old)})
    verdict = new["scenarios"][0]["metrics"][0]["against"]
    return verdict["verdict"], verdict["expected"]


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(10.0, "same"), (11.4, "same"), (8.6, "same"), (11.6, "regressed"), (8.4, "improved")],
)
def test_15_percent_either_way_is_noise(value: float, verdict: str) -> None:
    assert against(metric(value), metric(10.0)) == (verdict, 10.0)


def test_a_rate_regresses_downward() -> None:
    assert against(metric(80.0, "/s"), metric(100.0, "/s"))[0] == "regressed"
    assert against(metric(120.0, "/s"), metric(100.0, "/s"))[0] == "improved"


def test_a_machine_of_half_the_pace_may_take_twice_as_long() -> None:
    assert against(metric(20.0), metric(10.0), now=200.0) == ("same", 20.0)
    assert against(metric(10.0), metric(10.0), now=200.0) == ("improved", 20.0)
    assert against(metric(50.0, "/s"), metric(100.0, "/s"), now=200.0) == ("same", 50.0)


@pytest.mark.parametrize("unit", ["B", "x", ""])
def test_bytes_and_ratios_do_not_depend_on_the_pace(unit: str) -> None:
    assert against(metric(20.0, unit), metric(10.0, unit), now=200.0) == ("regressed", 10.0)


def test_a_wide_spread_of_either_s_runs_widens_the_noise() -> None:
    wide = [8.0, 9.0, 10.0, 11.0, 14.0]  # 60 % of the median, so 30 % either way
    assert against(metric(12.5), metric(10.0, runs=wide))[0] == "same"
    assert against(metric(13.5), metric(10.0, runs=wide))[0] == "regressed"


@pytest.mark.parametrize("unsteady", ["now", "then"])
def test_times_of_an_unsteady_run_are_not_judged_against_a_baseline_but_bytes_are(unsteady: str) -> None:
    new, old = report(metric(50.0), metric(50, "B")), report(metric(10.0), metric(10, "B"))
    for scenario in (new if unsteady == "now" else old)["scenarios"]:
        scenario["unsteady"] = True
    compare(new, {"node": old})
    verdicts = [one["metrics"][0]["against"]["verdict"] for one in new["scenarios"]]
    assert verdicts == ["unsteady", "regressed"]
    assert missed(new) == ["one_1 p50"]


def test_the_pace_is_that_of_both_calibrations() -> None:
    new, old = report(metric(15.0)), report(metric(10.0))
    new["scenarios"][0]["calibration_us"]["after"] = 200.0
    compare(new, {"node": old})
    assert new["scenarios"][0]["metrics"][0]["against"]["expected"] == 15.0


def test_from_nothing_to_something_is_regressed() -> None:
    assert against(metric(0, "B"), metric(0, "B"))[0] == "same"
    assert against(metric(1, "B"), metric(0, "B"))[0] == "regressed"


def test_what_the_baseline_lacks_is_not_compared() -> None:
    new = report(metric(1.0), metric(2.0))
    compare(new, {"chromium": report(metric(1.0), runtime="chromium")})
    assert "against" not in new["scenarios"][0]["metrics"][0]
    compare(new, {"node": report(metric(1.0))})
    assert ["against" in one["metrics"][0] for one in new["scenarios"]] == [True, False]


def test_missed_names_what_was_missed_and_what_regressed() -> None:
    new = report(
        metric(1.0, held=True),
        metric(1.0, held=False),
        metric(1.0, against={"verdict": "regressed"}),
        metric(1.0, against={"verdict": "improved"}),
    )
    assert missed(new) == ["one_1 p50", "one_2 p50"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"runtimes": []}',
        '{"runtimes": {"node": {}}}',
        '{"runtimes": {"node": {"scenarios": [{}]}}}',
        '{"runtimes": {"node": {"scenarios": 3}}}',
        b"\xff\xfe",
        "calibration",
        "runs",
        "value",
    ],
)
def test_a_baseline_that_cannot_be_used_is_refused(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "baseline.json"
    bad = report(metric(1.0))
    if content == "calibration":
        bad["scenarios"][0]["calibration_us"] = {"before": 0, "after": 0}
    elif content == "runs":
        bad["scenarios"][0]["metrics"][0]["runs"] = []
    elif content == "value":
        bad["scenarios"][0]["metrics"][0]["value"] = "fast"
    if content in ("calibration", "runs", "value"):
        content = json.dumps({"runtimes": {"node": bad}})
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as caught:
        read_baseline(path)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_baseline", "/baseline")


def test_a_baseline_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"runtimes": {"node": report(metric(1.0))}}))
    assert read_baseline(path) == {"node": report(metric(1.0))}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (9.876, "us", "9.88 us"),
        (999.4, "us", "999 us"),
        (30_000, "us", "30 ms"),
        (1.199, "x", "1.20 x"),
        (65_536, "", "65,536"),
        (12_345.6, "/s", "12,346 per s"),
        (256, "B", "256 B"),
    ],
)
def test_a_figure_is_shown_in_the_unit_that_reads_best(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_the_table_tells_machine_timer_calibration_and_verdicts() -> None:
    one = report(metric(1.0, budget=2, budget_text="<= 2 us", held=True), metric(3.0, held=False))
    one["unsteady"] = ["one_1"]
    text = table_text(one)
    for part in ("A CPU, 2 cores, Linux", "load average 0.10 to 0.20", "timer steps of 5 us"):
        assert part in text
    for part in ("calibration 100 us", "<= 2 us  held", "MISSED", "unsteady", "during one_1"):
        assert part in text


def test_a_quick_run_says_that_it_is_one() -> None:
    assert "hints" not in table_text(report(metric(1.0)))
    assert "hints" in table_text({**report(metric(1.0)), "quick": True})


HOSTILE = "</text><script>alert(1)</script>&\"'|*_`[x](y)"


def hostile_report() -> dict[str, Any]:
    made = report(metric(1.0, budget=2.0), metric(0.0), metric(1e9))
    made["scenarios"][0]["title"] = HOSTILE
    made["scenarios"][0]["claim"] = HOSTILE
    made["machine"]["cpu"] = HOSTILE
    return made


def test_the_plot_is_well_formed_and_text_stays_text() -> None:
    runtimes = {"node": hostile_report(), HOSTILE: hostile_report()}
    root = ElementTree.fromstring(plot_svg(runtimes))
    assert root.tag == f"{SVG}svg"
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        *("svg", "title", "desc", "style", "rect", "text", "line")
    }
    texts = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert HOSTILE in texts and any("logarithmic" in text for text in texts)
    assert any("budget" in text for text in texts)


def test_the_plot_has_a_bar_per_runtime_and_a_line_per_budget() -> None:
    reports = {
        name: report(metric(5.0, budget=None if name == "cpython" else 10.0), runtime=name)
        for name in ("cpython", "node", "chromium")
    }
    root = ElementTree.fromstring(plot_svg(reports))
    bars = [one for one in root.iter(f"{SVG}rect") if one.get("height") == "9"]
    assert [one.get("class") for one in bars] == ["cpython", "node", "chromium"]
    assert (
        len([one for one in root.iter(f"{SVG}line") if one.get("class") == "budget"]) == 2
    )  # and the legend's
    assert all(float(one.get("width", "0")) > 0 for one in bars)


def test_a_longer_time_is_a_longer_bar() -> None:
    root = ElementTree.fromstring(plot_svg({"node": report(metric(1.0), metric(50.0), metric(20_000.0))}))
    widths = [float(one.get("width", "")) for one in root.iter(f"{SVG}rect") if one.get("height") == "9"]
    assert widths == sorted(widths) and len(set(widths)) == 3


def test_a_plot_without_a_p50_still_draws() -> None:
    assert ElementTree.fromstring(plot_svg({"node": report(metric(1.0, "B", name="session"))})) is not None


def test_the_page_has_a_table_per_runtime_and_no_markup_of_a_machine_s_name() -> None:
    text = page_text({"node": hostile_report(), "chromium": report(metric(1.0), runtime="chromium")})
    assert "## Pyodide in Node" in text and "## Pyodide in Chromium" in text
    assert "<script" not in text.replace("\\<", "") and "[x](y)" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = {line.replace("\\|", "").count("|") for line in tables}
    assert columns == {8}


def test_comparing_changes_nothing_but_what_it_adds() -> None:
    new = report(metric(1.0))
    before = copy.deepcopy(new)
    compare(new, {"node": report(metric(1.0))})
    del new["scenarios"][0]["metrics"][0]["against"]
    assert new == before
