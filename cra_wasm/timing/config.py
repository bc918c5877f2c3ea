"""What a host may set about time. Units stand in the names; None switches a thing off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import InvalidInput

MAX_SECONDS: Final = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatConfig:
    """How often runtime.heartbeat is recorded (PROTOCOL 3.15).

    Raises:
        InvalidInput: `invalid_heartbeat` with the pointer of the culprit.
    """

    interval_seconds: int = 30
    """1 to 2,592,000."""

    def __post_init__(self) -> None:
        _check_seconds(self.interval_seconds, "invalid_heartbeat", "/interval_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTTLConfig:
    """How long sessions live (PROTOCOL 3.14). Each is 1 to 2,592,000 seconds, or None for never.

    Args:
        idle_timeout_seconds: from a session's last event to its end. A running executor is no idleness.
        max_lifetime_seconds: from a session's start to its end, whatever it does.
        idle_warning_seconds: from a session's last event to the warning; less than the idle timeout.

    Raises:
        InvalidInput: `invalid_session_ttl` with the pointer of the culprit.
    """

    idle_timeout_seconds: int | None = 1_800
    max_lifetime_seconds: int | None = 86_400
    idle_warning_seconds: int | None = None

    def __post_init__(self) -> None:
        for name in ("idle_timeout_seconds", "max_lifetime_seconds", "idle_warning_seconds"):
            value = getattr(self, name)
            if value is not None:
                _check_seconds(value, "invalid_session_ttl", f"/{name}")
        warning, timeout = self.idle_warning_seconds, self.idle_timeout_seconds
        if warning is not None and (timeout is None or warning >= timeout):
            raise InvalidInput(
                "invalid_session_ttl",
                "a warning comes before the idle timeout: give less than idle_timeout_seconds",
                pointer="/idle_warning_seconds",
            )


def _check_seconds(value: object, code: str, pointer: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SECONDS:
        raise InvalidInput(code, f"give 1 to {MAX_SECONDS} whole seconds", pointer=pointer)
