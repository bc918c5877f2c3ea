"""Whether a time window is open, and until when that answer holds (PROTOCOL 1.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from ..model.atlas import TimeWindow

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NS: Final = 1_000_000_000
_RECHECK_NS: Final = 60 * _NS
"""How long an answer holds while a change of the zone's offset is near, or the zone is unknown."""

Answer: TypeAlias = tuple[bool | None, int]
"""Open, shut or (None) not to be told; and the wall-clock ns up to which that holds."""


def window_answer(window: TimeWindow, wall_ns: int) -> Answer:
    """Tell whether `window` is open at `wall_ns`, and the latest time up to which the answer stays true."""
    try:
        zone = ZoneInfo(window.timezone)
    except (LookupError, ValueError, OSError):
        return None, wall_ns + _RECHECK_NS
    try:
        now = datetime.fromtimestamp(wall_ns // _NS, UTC).astimezone(zone)
        return _is_open(window, now), _next_boundary_ns(window, now, wall_ns)
    except (OverflowError, OSError, ValueError):
        return None, wall_ns + _RECHECK_NS


def _is_open(window: TimeWindow, now: datetime) -> bool:
    clock = now.time()
    today, yesterday = _DAYS[now.weekday()], _DAYS[now.weekday() - 1]
    if window.start < window.end:
        return window.start <= clock < window.end and _on(window, today)
    if clock >= window.start:
        return _on(window, today)
    return clock < window.end and _on(window, yesterday)


def _on(window: TimeWindow, day: str) -> bool:
    return window.days is None or day in window.days


def _next_boundary_ns(window: TimeWindow, now: datetime, wall_ns: int) -> int:
    """Return when the window next begins or ends; sooner where the zone's offset changes."""
    if now.utcoffset() != (now + timedelta(days=2)).utcoffset():
        return wall_ns + _RECHECK_NS
    boundaries = (
        datetime.combine(now.date() + timedelta(days=ahead), clock, now.tzinfo)
        for ahead in (0, 1)
        for clock in (window.start, window.end)
    )
    upcoming = min(boundary for boundary in boundaries if boundary > now)
    return int(upcoming.timestamp()) * _NS
