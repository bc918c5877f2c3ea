"""Nothing runs unrecorded: which calls are stored before they run, and how that is waited for (PROTOCOL 2.7).

Immediate mode has stored what it recorded. In deferred mode a processor of the resolver's own is told to
store; a consumer of `drain_traces` is asked to, and its acknowledgement is waited for.
"""

from __future__ import annotations

from typing import Final

from ..errors import BackendFailure, InvalidInput, InvalidState
from ..platform.event_loop import TimeIsUp, first_told
from ..trace.buffer import Tell, TraceRingBuffer
from ..trace.processor import TraceProcessor

DURABLE_BEFORE: Final = {
    "high": ("high", "critical"),
    "all": ("low", "medium", "high", "critical"),
    "none": (),
}
"""The effective tiers whose calls are stored before they run, by what a host may choose."""

DURABLE_WAIT_SECONDS: Final = 10
MAX_DURABLE_WAIT_SECONDS: Final = 300


class Durability:
    """What stands between the approval of a call and its executor.

    Args:
        before: one of DURABLE_BEFORE.
        wait_seconds: 1-300, how long an acknowledgement is waited for.
        buffer: None in immediate mode.
        processor: None where `drain_traces` feeds another store.

    Raises:
        InvalidInput: `invalid_durable_before`, `invalid_durable_wait`.
    """

    def __init__(
        self,
        before: object,
        wait_seconds: object,
        buffer: TraceRingBuffer | None,
        processor: TraceProcessor | None,
    ) -> None:
        if not isinstance(before, str) or before not in DURABLE_BEFORE:
            raise InvalidInput(
                "invalid_durable_before", f"use one of {', '.join(DURABLE_BEFORE)}", pointer="/durable_before"
            )
        if (
            isinstance(wait_seconds, bool)
            or not isinstance(wait_seconds, int)
            or not 1 <= wait_seconds <= MAX_DURABLE_WAIT_SECONDS
        ):
            raise InvalidInput(
                "invalid_durable_wait",
                f"give 1 to {MAX_DURABLE_WAIT_SECONDS} seconds",
                pointer="/durable_wait_seconds",
            )
        self._tiers: tuple[str, ...] = DURABLE_BEFORE[before]
        self._wait_seconds = wait_seconds
        self._processor = processor
        self._drained = buffer if processor is None else None

    def check_can_store(self, risk_tier: str, *, may_wait: bool) -> None:
        """Refuse a call that would have to wait and cannot, before anything of it is recorded.

        Raises:
            InvalidState: `not_durable`.
        """
        if self._drained is not None and not may_wait and risk_tier in self._tiers:
            raise InvalidState(
                "not_durable",
                f"a call of tier `{risk_tier}` waits until drain_traces' consumer has stored its approval:"
                " use execute_async, or Resolver(durable_before='none')",
                pointer="/execution/action_id",
            )

    def store(self, session_id: str, risk_tier: str) -> None:
        """Store what a call was approved by, if its tier asks for that.

        Raises:
            CRAError: the storage's, or InvalidState `not_durable`: it must not run.
        """
        if self._processor is None or risk_tier not in self._tiers:
            return
        self._processor.flush()
        if self._processor.is_stopped(session_id):
            raise InvalidState(
                "not_durable",
                f"events of session `{session_id}` cannot join its chain: its calls are no longer stored",
            )

    async def wait_stored(self, session_id: str, risk_tier: str) -> None:
        """As `store`; behind `drain_traces` wait until its consumer has acknowledged.

        Raises:
            BackendFailure: `not_durable`: the consumer refused it, or did not answer in time.
        """
        if self._drained is None or risk_tier not in self._tiers:
            self.store(session_id, risk_tier)
            return
        buffer = self._drained
        begun: list[Tell] = []

        def begin(tell: Tell) -> None:
            begun.append(tell)
            buffer.tell_when_stored(session_id, tell)

        try:
            refusal = await first_told(begin, self._wait_seconds)
        except TimeIsUp:
            refusal = f"nobody acknowledged it within {self._wait_seconds} s: does anybody drain the traces?"
        finally:
            for tell in begun:
                buffer.stop_waiting(tell)
        if refusal is not None:
            raise BackendFailure("not_durable", f"the call's approval is not stored: {refusal}")
