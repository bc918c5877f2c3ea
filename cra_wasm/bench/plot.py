"""The plot over all runtimes: an SVG of bars on a logarithmic axis, with each budget as a line.

Written by hand, so that measuring needs no package. Colours follow the reader's scheme, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, floor, log10
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from ..errors import Json
from .judge import shown

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 250, 90, 92, 56
_BAR, _GAP = 11, 12
_FIGURE = 44
_NAMES: Final = {"cpython": "CPython", "node": "Pyodide in Node", "chromium": "Pyodide in Chromium"}
_STYLE: Final = """
text { font: 12px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; fill: var(--text); }
.title { font-size: 16px; font-weight: 600; }
.quiet { fill: var(--quiet); }
.figure { font-size: 10px; fill: var(--quiet); stroke: var(--page); stroke-width: 4; paint-order: stroke; }
.grid { stroke: var(--line); }
.page { fill: var(--page); }
.budget { stroke: var(--bad); stroke-width: 2; }
.cpython { fill: var(--one); } .node { fill: var(--two); } .chromium { fill: var(--three); }
svg { --page: #ffffff; --text: #1b2130; --quiet: #5a6475; --line: #dcdfe5; --bad: #a82a1d;
  --one: #8b93a1; --two: #17683b; --three: #2456c5; }
@media (prefers-color-scheme: dark) {
  svg { --page: #12151b; --text: #e4e8ef; --quiet: #9da8b8; --line: #2e3541; --bad: #ff9d90;
    --one: #6f7a8c; --two: #7bd6a0; --three: #8ab0ff; }
}
"""


def plot_svg(runtimes: Mapping[str, Json]) -> str:
    """Return the SVG of every p50: one group per benchmark, one bar per runtime that measured it."""
    groups = _groups(runtimes)
    values = [value for bars in groups.values() for value, _ in bars.values()]
    budgets = [one for bars in groups.values() for _, one in bars.values() if one is not None]
    scale = _Scale([one for one in (*values, *budgets) if one > 0] or [1.0])
    height = _TOP + _BOTTOM + sum(len(bars) * _BAR + _GAP for bars in groups.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-labelledby="title description">',
        '<title id="title">Time per call of each benchmark</title>',
        f'<desc id="description">{escape("; ".join(_sentences(groups)))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        '<text class="title" x="16" y="28">Time per call, median (p50)</text>',
        *_legend(runtimes),
        *_axis(scale, height),
    ]
    y = _TOP
    for title, bars in groups.items():
        parts += _group(title, bars, scale, y)
        y += len(bars) * _BAR + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Scale:
    """Microseconds to pixels: whole decades, logarithmic."""

    def __init__(self, values: list[float]) -> None:
        self.low = floor(log10(min(values)) - 0.001)
        self.high = max(self.low + 1, ceil(log10(max(values)) + 0.001))

    def x(self, value: float) -> float:
        share = (log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return round(_LEFT + min(1.0, share) * (WIDTH - _LEFT - _RIGHT), 1)


Bars = dict[str, tuple[float, float | None]]
"""By runtime: the figure, and the budget there."""


def _groups(runtimes: Mapping[str, Json]) -> dict[str, Bars]:
    groups: dict[str, Bars] = {}
    for runtime, report in runtimes.items():
        for scenario in report["scenarios"]:
            for metric in scenario["metrics"]:
                if metric["name"] == "p50":
                    bars = groups.setdefault(str(scenario["title"]), {})
                    bars[runtime] = (float(metric["value"]), metric["budget"])
    return groups


def _group(title: str, bars: Bars, scale: _Scale, y: int) -> Iterator[str]:
    height = len(bars) * _BAR
    lines = sorted({scale.x(one) for _, one in bars.values() if one is not None})
    yield f'<text x="{_LEFT - 10}" y="{y + height / 2 + 4}" text-anchor="end">{escape(title)}</text>'
    for index, (runtime, (value, _)) in enumerate(bars.items()):
        top, end = y + index * _BAR, scale.x(value)
        width = max(1.0, end - _LEFT)
        yield (
            f'<rect class={quoteattr(runtime)} x="{_LEFT}" y="{top}" width="{width:.1f}"'
            f' height="{_BAR - 2}"/>'
        )
        x = end + 6
        for line in lines:
            if end < line < x + _FIGURE:
                x = line + 6  # the line must not run through the number
        yield f'<text class="figure" x="{x:.1f}" y="{top + _BAR - 3}">{escape(_us(value))}</text>'
    for x in lines:
        yield f'<line class="budget" x1="{x}" y1="{y - 4}" x2="{x}" y2="{y + height + 2}"/>'


def _legend(runtimes: Mapping[str, Json]) -> Iterator[str]:
    x = 16
    for runtime in runtimes:
        name = _NAMES.get(runtime, runtime)
        yield f'<rect class={quoteattr(runtime)} x="{x}" y="44" width="14" height="10"/>'
        yield f'<text x="{x + 20}" y="53">{escape(name)}</text>'
        x += 44 + 7 * len(name)
    yield f'<line class="budget" x1="{x + 6}" y1="42" x2="{x + 6}" y2="56"/>'
    yield f'<text x="{x + 20}" y="53">budget: the bar must end before it</text>'


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    bottom = height - _BOTTOM + 6
    for power in range(scale.low, scale.high + 1):
        x = scale.x(10.0**power)
        yield f'<line class="grid" x1="{x}" y1="{_TOP - 12}" x2="{x}" y2="{bottom}"/>'
        yield f'<text class="quiet" x="{x}" y="{bottom + 16}" text-anchor="middle">{_us(10.0**power)}</text>'
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    yield (
        f'<text class="quiet" x="{middle}" y="{bottom + 36}" text-anchor="middle">'
        "time per call, logarithmic: less is better</text>"
    )


def _us(value: float) -> str:
    return shown(value, "us").replace(" us", " \u00b5s")


def _sentences(groups: Mapping[str, Bars]) -> Iterator[str]:
    for title, bars in groups.items():
        yield f"{title}: " + ", ".join(
            f"{_NAMES.get(name, name)} {_us(one)}" for name, (one, _) in bars.items()
        )
