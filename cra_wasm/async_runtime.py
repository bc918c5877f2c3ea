"""`AsyncRuntime`: a Resolver for asyncio, on CPython and in Pyodide alike, with back-pressure.

Deciding takes microseconds, so it happens on the loop. What waits is: room in the trace buffer, an executor,
the storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

from .errors import Json
from .model.atlas import Atlas
from .model.event import TraceEvent
from .model.resolution import ExecuteResponse, Resolution
from .platform.stream import Stream
from .platform.turnstile import Turnstile, run_blocking
from .ports import StorageBackend
from .resolver import Resolver, ResolverStats
from .storage.memory import MemoryStorage
from .storage.tapped import TappedStorage
from .trace.buffer import BufferStats
from .trace.processor import ProcessorHandle
from .trace.raw import RawEvent
from .trace.verdict import VerifyResult

DEFAULT_PATIENCE_SECONDS: Final = 30.0
EVENTS_WAITING: Final = 10_000


class AsyncRuntime:
    """A deferred Resolver with its own storage, whose calls wait for room instead of raising BufferFull.

    Waiting calls get through in the order in which they came. A task may be cancelled at any await: a call
    that waited for room has then done nothing; an executor that was running is recorded as
    action.failed with `cancelled`.

    Args:
        storage: where events go; None keeps them in memory. Closing it is the caller's.
        patience_seconds: how long a call waits for room before BufferFull is raised after all.
        options: as Resolver's, but `tracing` and `storage`.

    Use it within one event loop: `async with AsyncRuntime(...) as runtime`. What goes wrong is a CRAError, as
    Resolver says for each call.
    """

    # Any: what there is to set is Resolver's own, and Resolver checks it.
    def __init__(
        self,
        *,
        storage: StorageBackend | None = None,
        patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
        **options: Any,
    ) -> None:
        self._storage = TappedStorage(storage or MemoryStorage())
        self._turns = Turnstile(patience_seconds)
        self._streams: set[Stream[TraceEvent]] = set()
        kept = cast(StorageBackend, self._storage)
        self.resolver = Resolver(tracing="deferred", storage=kept, **options)
        self.resolver.on_room(self._turns.open)

    async def __aenter__(self) -> AsyncRuntime:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def load_atlas(self, source: str | bytes | dict[str, Json] | Path, *, strict: bool = True) -> Atlas:
        """Load an atlas; see `Resolver.load_atlas`. What else there is of atlases, `resolver` has."""
        return self.resolver.load_atlas(source, strict=strict)

    def register_executor(
        self, action_id: str, function: Callable[..., Any], *, with_call: bool = False
    ) -> None:
        """Let a function run an action; see `Resolver.register_executor`. A sync one holds the loop up."""
        self.resolver.register_executor(action_id, function, with_call=with_call)

    async def create_session(
        self,
        agent_id: str,
        goal: str,
        *,
        hash_algorithm: str | None = None,
        parent_session_id: str | None = None,
    ) -> str:
        """Start a session and return its id."""
        return await self._turns.run(
            lambda: self.resolver.create_session(
                agent_id, goal, hash_algorithm=hash_algorithm, parent_session_id=parent_session_id
            )
        )

    async def end_session(self, session_id: str, reason: str = "completed") -> dict[str, Json]:
        """End a session and return its session.ended payload."""
        return await self._turns.run(lambda: self.resolver.end_session(session_id, reason))

    async def resolve(
        self,
        session_id: str,
        goal: str,
        *,
        risk_tier: str = "low",
        required_capabilities: Sequence[str] = (),
        context_hints: Sequence[str] = (),
        atlas_ids: Sequence[str] | None = None,
        context: Mapping[str, Json] | None = None,
        reuse: bool = False,
    ) -> Resolution:
        """Decide every candidate action for a goal."""
        return await self._turns.run(
            lambda: self.resolver.resolve(
                session_id,
                goal,
                risk_tier=risk_tier,
                required_capabilities=required_capabilities,
                context_hints=context_hints,
                atlas_ids=atlas_ids,
                context=context,
                reuse=reuse,
            )
        )

    async def execute(
        self,
        session_id: str,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Json],
        *,
        idempotency_key: str | None = None,
    ) -> ExecuteResponse:
        """Run an action that a resolution allowed, by a sync or async executor."""
        begun = await self._turns.run(
            lambda: self.resolver.begin_execute(
                session_id, resolution_id, action_id, parameters, idempotency_key=idempotency_key
            )
        )
        return begun if isinstance(begun, ExecuteResponse) else await self.resolver.run_begun(begun)

    async def emit(self, session_id: str, event_type: str, payload: dict[str, Json]) -> RawEvent | None:
        """Record an event of the host's own."""
        return await self._turns.run(lambda: self.resolver.emit(session_id, event_type, payload))

    async def flush_traces(self) -> int:
        """Store what was recorded so far and return how many events that were."""
        return await run_blocking(self.resolver.flush_traces)

    async def get_trace(self, session_id: str) -> list[TraceEvent]:
        """Return a session's events in order, after a flush."""
        return await run_blocking(lambda: self.resolver.get_trace(session_id))

    async def verify_chain(self, session_id: str) -> VerifyResult:
        """Verify a session's stored events, after a flush."""
        return await run_blocking(lambda: self.resolver.verify_chain(session_id))

    def events(self, session_id: str | None = None, *, event_type: str | None = None) -> Stream[TraceEvent]:
        """Iterate over events as they are stored, from now on, of one session or type or of all.

        At most 10,000 wait for a slow reader; then the iterator raises InvalidState `events_missed` with
        their number, and the storage has them. It ends when the runtime is closed, or with its `aclose`.
        """

        def wanted(event: TraceEvent) -> bool:
            return (session_id is None or event.session_id == session_id) and (
                event_type is None or event.event_type == event_type
            )

        def listener(events: Sequence[TraceEvent]) -> None:
            stream.put(filter(wanted, events))

        def forget() -> None:
            self._storage.unlisten(listener)
            self._streams.discard(stream)

        stream: Stream[TraceEvent] = Stream(EVENTS_WAITING, forget)
        self._storage.listen(listener)
        self._streams.add(stream)
        return stream

    @property
    def processor(self) -> ProcessorHandle:
        """What stores in the background: is_running(), flush(), shutdown(), join()."""
        return cast(ProcessorHandle, self.resolver.processor)

    def buffer_stats(self) -> BufferStats:
        """Return the buffer's counts."""
        return self.resolver.buffer_stats()

    def buffer_pressure(self) -> float:
        """Return how full the buffer is, 0.0 to 1.0."""
        return self.resolver.buffer_pressure()

    def statistics(self) -> ResolverStats:
        """Return the state of this moment."""
        return self.resolver.statistics()

    @property
    def calls_waiting(self) -> int:
        """How many calls wait for room."""
        return self._turns.waiting

    async def close(self) -> None:
        """Store what is left, refuse what comes and what waits, and end the iterators. Again: nothing."""
        try:
            await run_blocking(self.resolver.close)
        finally:
            self._turns.open()
            for stream in tuple(self._streams):
                stream.end()
