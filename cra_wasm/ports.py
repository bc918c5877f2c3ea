"""What the layers need from each other and from the platform, as Protocols.

`carp`, `trace`, `storage` and `atlas` never import each other: what one needs of another comes in as an
argument typed here. `cra_wasm.testing` has a public fake of each port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from .errors import Json
from .model.event import TraceEvent

VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""Tells whether the Ed25519 key (32 bytes) made the signature (second) of the message (third)."""


class Clock(Protocol):
    """Two clocks, both in nanoseconds. Expiry uses the larger of their deltas (PROTOCOL 3.6)."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z; may step in either direction."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some point; never goes back, may stop while the machine sleeps."""
        ...


class IdSource(Protocol):
    """Gives out 128-bit ids as integers; `model.ids.uuid_text` writes them."""

    def reserve(self, wall_ns: int) -> int:
        """Return the first of 65,536 consecutive ids that no other call returns.

        The low 16 bits of the result are zero, so `base + k` for k < 65,536 never carries. Each is an
        RFC 9562 UUIDv7 whose time is `wall_ns`.
        """
        ...


class StorageBackend(Protocol):
    """Where finished events are kept. Calls may come from several threads.

    `store_events` is all or nothing: when it returns, the events are as durable as the backend's docs say.
    """

    @property
    def name(self) -> str:
        """Short name of the backend: `memory`, `jsonl`, `sqlite`, `null`."""
        ...

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Append events. One already stored with the same hash is skipped.

        Raises:
            InvalidState: `session_forked` for another event at a stored (session_id, sequence);
                `sequence_gap` for a number that is not the session's next; `storage_closed` after close().
            BackendFailure: nothing of this call was stored.
        """
        ...

    def get_events(
        self, session_id: str | None = None, *, event_type: str | None = None, last: int | None = None
    ) -> list[TraceEvent]:
        """Return events in the order of their arrival, filtered; `last` keeps the newest n of them."""
        ...

    def iter_lines(self, session_id: str) -> Iterator[bytes]:
        """Yield the session's canonical lines, each with its line feed, in sequence order."""
        ...

    def sessions(self) -> list[str]:
        """Return the ids of all stored sessions in the order of their first event."""
        ...

    def count(self, session_id: str | None = None) -> int:
        """Return the number of stored events, of one session or of all."""
        ...

    def delete_session(self, session_id: str) -> int:
        """Remove a session's events and return how many there were; 0 for an unknown session."""
        ...

    def health_check(self) -> dict[str, Json]:
        """Return {"ok": bool, ...}: whether the next store_events can be expected to work."""
        ...

    def close(self) -> None:
        """Release files and connections. Calling it again does nothing."""
        ...


class TimerBackend(Protocol):
    """Timers by id (PROTOCOL 3.14). A firing gives back the text that its timer was scheduled with.

    Backends differ in where the listener runs and in how late they are; none fires early, and a repeating
    timer that missed beats fires once and keeps its rhythm. What the listener raises stops no timer.
    """

    @property
    def name(self) -> str:
        """Short name of the backend: `mock`, `std`, `event_loop`, `minoots`."""
        ...

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Have `on_event(timer_id, event)` called for each firing; it replaces the one before."""
        ...

    def schedule_once(self, timer_id: str, delay_ms: int, event: str) -> None:
        """Fire once after 0 ms to 366 days; a timer of the same id is replaced.

        Args:
            timer_id: 1-255 characters.
            event: at most 1,000 characters.

        Raises:
            InvalidInput: `invalid_timer_id`, `invalid_delay`, `invalid_timer_event`.
            InvalidState: `timers_closed`.
            BackendFailure: the platform has no such timers.
        """
        ...

    def schedule_repeating(self, timer_id: str, interval_ms: int, event: str) -> None:
        """Fire every 1 ms to 366 days, first after one interval; raises as `schedule_once`."""
        ...

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer; False when there is none (any more)."""
        ...

    def exists(self, timer_id: str) -> bool:
        """Whether a timer is still to fire."""
        ...

    def time_remaining_ms(self, timer_id: str) -> int | None:
        """Return the milliseconds until a timer is due, rounded up; None when there is none."""
        ...

    def close(self) -> None:
        """Forget all timers and release what the platform gave. Calling it again does nothing.

        A backend whose timers outlive the process leaves them where they are.
        """
        ...


class Drive(Protocol):
    """Calls a function again and again in the background until it is stopped."""

    def start(self, step: Callable[[], None], interval_ms: int) -> None:
        """Call `step` every `interval_ms`, and as soon as possible after each `wake`."""
        ...

    def wake(self) -> None:
        """Ask for a step now. Safe from any thread."""
        ...

    def is_running(self) -> bool:
        """Whether steps are still to come."""
        ...

    def stop(self) -> None:
        """Ask for the end. A step under way is finished."""
        ...

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait until no step runs any more; False when the time ran out first."""
        ...
