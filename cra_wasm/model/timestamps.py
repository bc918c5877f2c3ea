"""Times as integer nanoseconds and their text, `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""

from __future__ import annotations

from datetime import datetime, timedelta

_EPOCH = datetime(1970, 1, 1)
_last_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def timestamp_text(wall_ns: int) -> str:
    """Return the 27 characters of a time. The text of a whole second is kept for the next call."""
    global _last_second
    second, rest = divmod(wall_ns, 1_000_000_000)
    known, text = _last_second
    if second != known:
        text = (_EPOCH + timedelta(seconds=second)).isoformat()
        _last_second = (second, text)
    return f"{text}.{rest // 1000:06d}Z"


def parse_timestamp_ns(text: str) -> int:
    """Return the nanoseconds of an RFC 3339 time with a zone; fractions below a microsecond are cut."""
    moment = datetime.fromisoformat(text.upper())
    # Not astimezone(UTC): in the first and last hours of the calendar that overflows.
    since = moment.replace(tzinfo=None) - _EPOCH - (moment.utcoffset() or timedelta())
    return since // timedelta(microseconds=1) * 1000
