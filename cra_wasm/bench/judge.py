"""Judging figures: against their budgets, against other scenarios, against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from ..errors import InvalidInput, Json
from ..model.limits import MAX_TEXT_BYTES
from ..model.parse import parse_json
from .scenario import BROWSER_SIDE, Metric, Scenario

NOISE: Final = 0.15
"""Medians of two runs on the same machine differ by less; a wider spread of their runs widens it."""

_SCALED: Final = ("us", "/s")
"""Units that a slower machine changes, so that they are compared at the same calibration."""


_TIMED: Final = (*_SCALED, "x")
"""Units that come of times, so that an unsteady machine blurs them."""


def shown(value: float, unit: str) -> str:
    """Return a figure with its unit, in the unit that is easiest to read."""
    if unit == "us" and value >= 1e6:
        return f"{value / 1e6:,.4g} s"
    if unit == "us":
        return f"{value / 1_000:,.4g} ms" if value >= 1_000 else f"{value:,.3g} us"
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:,.0f} {'per s' if unit == '/s' else unit}".rstrip()


def judge(metric: Metric, runs: Sequence[float], runtime: str) -> dict[str, Json]:
    """Return a metric's JSON: the median of its runs, its budget here, and whether it was held."""
    budget = metric.budget if runtime in metric.budget_runtimes else None
    value = median(runs)
    return {
        "name": metric.name,
        "unit": metric.unit,
        "value": value,
        "text": shown(value, metric.unit),
        "runs": list(runs),
        "budget": budget,
        "budget_text": "" if budget is None else f"<= {shown(budget, metric.unit)}",
        "held": None if budget is None else value <= budget,
    }


def judge_ratios(results: Sequence[Json], scenarios: Sequence[Scenario], runtime: str) -> None:
    """Add to each scenario with a ratio the row of its p50 to that of the other."""
    by_name = {one["name"]: one for one in results}
    for result, scenario in zip(results, scenarios, strict=True):
        ratio = scenario.ratio
        if ratio is None or ratio.to not in by_name:
            continue
        other = by_name[ratio.to]
        pairs = zip(result["metrics"][0]["runs"], other["metrics"][0]["runs"], strict=True)
        runs = [round(mine / its, 3) if its else 0.0 for mine, its in pairs]
        metric = Metric(name=f"to {ratio.to}", unit="x", budget=ratio.budget, budget_runtimes=BROWSER_SIDE)
        result["metrics"].append({**judge(metric, runs, runtime), "unsteady": bool(other["unsteady"])})


def read_baseline(path: Path) -> dict[str, Json]:
    """Return the reports by runtime of a baseline file, {"runtimes": {name: report}}.

    Raises:
        InvalidInput: `invalid_baseline` when it cannot be read or is not what `--out` writes.
    """
    try:
        with path.open("rb") as file:
            value = parse_json(file.read(MAX_TEXT_BYTES + 1), code="invalid_baseline")
        for report in value["runtimes"].values():
            bool(report["versions"] and [report["machine"][name] for name in ("cpu", "cores", "os")])
            for scenario in report["scenarios"]:
                calibration_us = _pace_us(scenario)
                bool(scenario["unsteady"])
                figures = [(str(one["name"]), float(one["value"])) for one in scenario["metrics"]]
                spreads = [_spread(one["runs"]) for one in scenario["metrics"]]
                if calibration_us <= 0 or len(figures) != len(spreads):
                    raise ValueError(scenario["name"])
        runtimes: dict[str, Json] = value["runtimes"]
        return runtimes
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except InvalidInput as error:
        reason = error.message
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"not a baseline: {type(error).__name__} {error}"
    raise InvalidInput(
        "invalid_baseline",
        f"cannot use `{path}` ({reason}): name a file that `cra-wasm bench --out` wrote",
        pointer="/baseline",
    )


def compare(report: dict[str, Json], baseline: Mapping[str, Json]) -> None:
    """Add `against` to each metric that the baseline has: {"was", "expected", "verdict"}.

    `expected` is the baseline's figure at this machine's present pace, by the calibrations of both. The
    verdict is regressed, improved or same: within 15 %, or half the spread of either's runs if that is wider;
    it is `unsteady` where times of an unsteady run cannot be compared.
    """
    before = {one["name"]: one for one in baseline.get(report["runtime"], {}).get("scenarios", ())}
    for scenario in report["scenarios"]:
        old = before.get(scenario["name"])
        if old is None:
            continue
        slower = _pace_us(scenario) / _pace_us(old)
        unsteady = scenario["unsteady"] or old["unsteady"]
        figures = {one["name"]: one for one in old["metrics"]}
        for metric in scenario["metrics"]:
            if metric["name"] in figures:
                metric["against"] = _against(metric, figures[metric["name"]], slower)
                if (unsteady or metric.get("unsteady")) and metric["unit"] in _TIMED:
                    metric["against"]["verdict"] = "unsteady"


def _against(metric: Json, old: Json, slower: float) -> dict[str, Json]:
    unit, was = metric["unit"], float(old["value"])
    scale = 1.0 if unit not in _SCALED else 1 / slower if unit == "/s" else slower
    expected = was * scale
    noise = max(NOISE, _spread(metric["runs"]) / 2, _spread(old["runs"]) / 2)
    value = metric["value"]
    worse, better = value > expected * (1 + noise), value < expected * (1 - noise)
    if unit == "/s":
        worse, better = better, worse
    verdict = "regressed" if worse else "improved" if better else "same"
    return {"was": was, "expected": round(expected, 3), "verdict": verdict}


def _pace_us(scenario: Json) -> float:
    calibration = scenario["calibration_us"]
    return (float(calibration["before"]) + float(calibration["after"])) / 2


def _spread(runs: Sequence[float]) -> float:
    middle = median(runs)
    return (max(runs) - min(runs)) / middle if middle else 0.0


def missed(report: Mapping[str, Json]) -> list[str]:
    """Return `scenario metric` of each budget that was missed and each figure that regressed."""
    return [
        f"{scenario['name']} {metric['name']}"
        for scenario in report["scenarios"]
        for metric in scenario["metrics"]
        if metric["held"] is False or metric.get("against", {}).get("verdict") == "regressed"
    ]
