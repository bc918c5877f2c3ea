"""Whether a time window is open, and until when that answer holds (PROTOCOL 1.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from ..model.atlas import TimeWindow

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NS: Final = 1_000_000_000
_RECHECK_NS: Final = 60 * _NS
"""An answer holds up to the next multiple of it while the zone is unknown, or the calendar ends. A fixed
moment: counted from the first asking, a kept plan would name another one than a new plan."""

_LOOK_AHEAD: Final = timedelta(days=2)

Answer: TypeAlias = tuple[bool | None, int]
"""Open, shut or (None) not to be told; and the wall-clock ns up to which that holds."""


def window_answer(window: TimeWindow, wall_ns: int) -> Answer:
    """Tell whether `window` is open at `wall_ns`, and the latest time up to which the answer stays true."""
    try:
        zone = ZoneInfo(window.timezone)
    except (LookupError, ValueError, OSError):
        return None, _next_recheck_ns(wall_ns)
    try:
        now = datetime.fromtimestamp(wall_ns // _NS, UTC).astimezone(zone)
        return _is_open(window, now), _next_boundary_ns(window, now)
    except (OverflowError, OSError, ValueError):
        return None, _next_recheck_ns(wall_ns)


def _next_recheck_ns(wall_ns: int) -> int:
    return (wall_ns // _RECHECK_NS + 1) * _RECHECK_NS


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


def _next_boundary_ns(window: TimeWindow, now: datetime) -> int:
    """Return the first moment after `now` at which the window begins or ends, or the zone's offset changes.

    Besides a change of the offset, only the local clock passing a boundary changes the answer: one boundary
    lies within the next two days, as each day has both. A local time that comes twice counts twice.
    """
    changes = _offset_change(now, now + _LOOK_AHEAD)
    boundaries = [
        datetime.combine(now.date() + timedelta(days=ahead), clock, now.tzinfo).replace(fold=fold)
        for ahead in (-1, 0, 1, 2)
        for clock in (window.start, window.end)
        for fold in (0, 1)
    ]
    second = int(now.timestamp())
    upcoming = (int(moment.timestamp()) for moment in [*changes, *boundaries])
    return min(moment for moment in upcoming if moment > second) * _NS


def _offset_change(first: datetime, last: datetime) -> list[datetime]:
    """Return the first second of the new offset when the zone's offset is not the same at both times.

    That two changes within the two days undo each other is not looked for: no zone does that.
    """
    zone = first.tzinfo
    before, after = int(first.timestamp()), int(last.timestamp())
    old = first.utcoffset()
    if old == datetime.fromtimestamp(after, zone).utcoffset():
        return []
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return [datetime.fromtimestamp(after, zone)]
