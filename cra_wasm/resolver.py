"""`Resolver`: the one object that a host needs. It wires deciding, executing and recording together.

A facade: each method is a few lines over the layers below, which is why the file is longer than others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from .atlas.findings import Finding
from .carp.approvals import Approvals
from .carp.catalogue import Catalogue, CompiledAction
from .carp.limits import Ledger
from .carp.planner import Planner
from .errors import BackendFailure, BufferFull, CRAError, InvalidInput, InvalidState, Json, NotFound
from .hashing import DEFAULT_ALGORITHM, constructor_of
from .model.atlas import RISK_TIERS, Atlas
from .model.event import TraceEvent
from .model.limits import MAX_GOAL_CHARS
from .model.parse import parse_model
from .model.request import CARPRequest
from .model.resolution import ExecuteResponse, Resolution
from .model.validation import ValidateResponse
from .platform.clock import PooledIds, SystemClock
from .platform.drives import new_drive, new_timers
from .platform.threads import new_lock
from .ports import Clock, IdSource, StorageBackend, TimerBackend
from .runtime import arguments
from .runtime.approving import Approving
from .runtime.durability import DURABLE_WAIT_SECONDS, Durability
from .runtime.execution import MAX_ERROR_MESSAGE_CHARS, Execution, Running
from .runtime.execution_checks import ExecuteRequest, ExecutionChecks
from .runtime.executors import ExecutionFailed, Executor, new_executor, refuse_async, run, run_async
from .runtime.heartbeat import Heartbeat
from .runtime.loading import (
    AtlasSource,
    ReadAtlas,
    check_not_required,
    read_one,
    read_several,
    with_atlases,
)
from .runtime.recorder import Recorder
from .runtime.redacting import redacted_host_texts, session_redaction
from .runtime.requests import check_request
from .runtime.resolving import Resolving
from .runtime.reusing import Reusing
from .runtime.session import Session
from .runtime.sessions import Sessions
from .runtime.timekeeping import ClockStats, Timekeeping
from .runtime.validating import Validating
from .storage.memory import MemoryStorage
from .timing.config import HeartbeatConfig, SessionTTLConfig
from .timing.timeline import Timeline
from .trace.buffer import DEFAULT_CAPACITY, Batch, BufferStats, TraceRingBuffer
from .trace.processor import ProcessorHandle, TraceProcessor
from .trace.raw import EventTexts, RawEvent
from .trace.tracer import DeferredTracer, ImmediateTracer, Tracer
from .trace.verdict import VerifyResult
from .trace.verify import verify_lines

DEFAULT_TTL_SECONDS: Final = 3600
DEFAULT_SKEW_SECONDS: Final = 300
END_REASONS: Final = ("completed", "timeout", "error", "cancelled", "interrupted")

_CALM_PRESSURE: Final = 0.5

_TOLD: Final = (InvalidInput, NotFound, InvalidState)
"""Errors that the trace records; a full buffer and a broken store cannot be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverStats:
    """The state of a resolver. `buffer` is None and `pressure` 0.0 in immediate mode."""

    tracing: str
    atlases: tuple[str, ...]
    sessions_active: int
    resolutions_remembered: int
    buffer: BufferStats | None
    pressure: float
    clock: ClockStats


class Resolver:
    """Decides what agents may do and know, runs what is allowed, and records every step.

    Args:
        tracing: "immediate" hashes and stores each event before the call returns. "deferred" keeps raw
            records in a buffer of `capacity` events: a background processor stores them when `storage` is
            given, else `drain_traces` hands them out.
        storage: where events go; without one, immediate mode keeps them in memory. Closing it is the
            caller's.
        capacity: 16 to 16,777,216 events' worth: an event weighs 1, and 1 more for each KiB of its own text.
        on_full: what happens when the buffer is full. "refuse": calls raise BufferFull, nothing was decided.
            "drop" (deferred mode only): resolve, emit and the record of an error go on without their events,
            which are counted in `buffer_stats().dropped` and told by a trace.gap event before anything newer
            of the session; execute, approvals and new sessions are refused all the same, and so is an execute
            under a resolution that was dropped.
        ttl_seconds: 1-86400, how long an execute may name a resolution.
        skew_seconds: 0 or more, how far a CARPRequest's timestamp may be from now.
        hash_algorithm: "sha256", or "blake3" where it is installed; each session may have its own.
        durable_before: which calls are stored before their executor starts: those of an effective tier of
            "high" or critical, "all", or "none". Behind `drain_traces` that has to be waited for, which only
            `execute_async` can.
        durable_wait_seconds: 1-300, how long it waits for the consumer's acknowledgement; then nothing runs.
        heartbeat: record runtime.heartbeat at this interval; None for none.
        session_ttl: end sessions that are idle or old with reason timeout; None for never. No call can act in
            a session that is over, however late its timer is.
        timers: what wakes the runtime for these two; its listener is the resolver from now on, and closing it
            is the caller's. Without one, and only if one of the two is given, the resolver has its own: a
            daemon thread on CPython, the event loop in Pyodide.
        clock, ids: for tests; see `cra_wasm.testing`.

    Safe to call from several threads. What goes wrong is a CRAError; a denial is a value.

    Raises:
        InvalidInput: `invalid_tracing`, `invalid_capacity`, `invalid_ttl`, `invalid_skew`,
            `invalid_durable_before`, `invalid_durable_wait`, `unknown_algorithm`, `invalid_heartbeat`,
            `invalid_session_ttl`.
        BackendFailure: `hash_unavailable`.
    """

    def __init__(
        self,
        *,
        tracing: Literal["immediate", "deferred"] = "immediate",
        storage: StorageBackend | None = None,
        capacity: int = DEFAULT_CAPACITY,
        on_full: Literal["refuse", "drop"] = "refuse",
        ttl_seconds: int = DEFAULT_TTL_SECONDS,
        skew_seconds: int = DEFAULT_SKEW_SECONDS,
        hash_algorithm: str = DEFAULT_ALGORITHM,
        durable_before: Literal["high", "all", "none"] = "high",
        durable_wait_seconds: int = DURABLE_WAIT_SECONDS,
        heartbeat: HeartbeatConfig | None = None,
        session_ttl: SessionTTLConfig | None = None,
        timers: TimerBackend | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        if (
            not isinstance(ttl_seconds, int)
            or isinstance(ttl_seconds, bool)
            or not 1 <= ttl_seconds <= 86_400
        ):
            raise InvalidInput("invalid_ttl", "give 1 to 86400 seconds", pointer="/ttl_seconds")
        constructor_of(hash_algorithm)
        for name, config, kind in (
            ("heartbeat", heartbeat, HeartbeatConfig),
            ("session_ttl", session_ttl, SessionTTLConfig),
        ):
            if not isinstance(config, kind | None):
                raise InvalidInput(f"invalid_{name}", f"give a {kind.__name__}", pointer=f"/{name}")
        self._lock = new_lock()
        self._skew_seconds = arguments.check_skew(skew_seconds)
        self._planner = Planner(Catalogue(), ttl_seconds)
        self._atlas_warnings: dict[str, tuple[Finding, ...]] = {}
        self._executors: dict[str, Executor] = {}
        self._buffer: TraceRingBuffer | None = None
        self._processor: TraceProcessor | None = None
        self._storage = storage
        self._tracing = tracing
        self._tracer = self._new_tracer(capacity, on_full)
        self._durability = Durability(durable_before, durable_wait_seconds, self._buffer, self._processor)
        timeline = Timeline(clock or SystemClock(), new_lock())
        self._recorder = Recorder(self._tracer, timeline, ids or PooledIds())
        self._ledger = Ledger()
        self._approvals = Approvals()
        self._sessions = Sessions(
            self._recorder, lambda: self._planner, hash_algorithm, self._forget_session, session_ttl
        )
        self._resolving = Resolving(self._recorder, self._sessions, self._ledger)
        self._reusing = Reusing(self._recorder, self._resolving)
        checks = ExecutionChecks(self._ledger, self._approvals, self._executors, self._is_loaded)
        self._execution = Execution(
            self._recorder,
            checks,
            self._ledger,
            self._approvals,
            self._durability,
            lambda: self._planner.catalogue.atlases,
        )
        self._validating = Validating(
            self._recorder, self._sessions, self._resolving, self._approvals, checks, skew_seconds
        )
        self._approving = Approving(self._recorder, self._sessions, self._approvals)
        self._closed = False
        self._timekeeping = self._keep_time(heartbeat, session_ttl, timers)
        self._processor_handle: ProcessorHandle | None = self._start_processor()

    # Atlases

    def load_atlas(self, source: AtlasSource, *, strict: bool = True) -> Atlas:
        """Load an atlas: JSON text, a dict, the bytes of a zip, or the Path of a file, a folder or a zip; one
        with the same id is replaced.

        Running sessions see it from their next resolve on; until then they keep the one that they resolved
        against.

        Args:
            strict: False reads other dialects where that allows nothing more; see `atlas_warnings`.

        Raises:
            InvalidInput: `invalid_atlas` with all findings, `duplicate_action`, `too_many_actions`; nothing
                was changed.
            NotFound: `file_not_found`.
            InvalidState: `atlas_required` when a loaded atlas needs another version of it; `resolver_closed`,
                as all calls but those that read or drain traces.
        """
        return self._load([read_one(source, strict=strict)])[0]

    def load_atlases(self, sources: Sequence[AtlasSource], *, strict: bool = True) -> list[Atlas]:
        """Load atlases that need each other, given in any order: all or none (PROTOCOL 1.12).

        Raises:
            CRAError: as `load_atlas`; each finding says in `source` which of the sources it is about.
        """
        return self._load(read_several(sources, strict=strict))

    def _load(self, read: Sequence[ReadAtlas]) -> list[Atlas]:
        with self._lock:
            self._check_open()
            before = self._planner.catalogue
            self._planner = with_atlases(self._planner, read)
            for one in read:
                self._atlas_warnings[one.atlas.atlas_id] = one.loaded.warnings
                if one.atlas.atlas_id in before.atlases:
                    self._ledger.look_again_at(one.atlas.atlas_id)
        return [one.atlas for one in read]

    def unload_atlas(self, atlas_id: str) -> None:
        """Remove an atlas with its actions, policies, context and limits; its resolutions can no longer run.

        Raises:
            InvalidInput: `invalid_atlas_ids` for what is no id.
            NotFound: `atlas_not_found`.
            InvalidState: `atlas_required` when a loaded atlas needs it.
        """
        arguments.check_atlas_ids((atlas_id,))
        with self._lock:
            self._check_open()
            check_not_required(self._planner.catalogue, atlas_id)
            self._planner = self._planner.unloading(atlas_id)
            self._approvals.forget_atlas(atlas_id)
            self._ledger.forget_atlas(atlas_id)
            del self._atlas_warnings[atlas_id]

    def atlas(self, atlas_id: str) -> Atlas:
        """Return a loaded atlas; what stood in files of a package is part of its lists.

        Raises:
            InvalidInput: `invalid_atlas_ids` for what is no id.
            NotFound: `atlas_not_found`.
        """
        arguments.check_atlas_ids((atlas_id,))
        return self._planner.catalogue.named(atlas_id, pointer="/atlas_id").atlas

    def atlas_warnings(self, atlas_id: str) -> list[dict[str, Json]]:
        """Return what of a loaded atlas was read from another dialect, as {pointer, code, message}.

        Raises:
            NotFound: `atlas_not_found`.
        """
        self.atlas(atlas_id)
        return [dict(one) for one in self._atlas_warnings.get(atlas_id, ())]

    def atlases(self) -> list[Atlas]:
        """Return the loaded atlases in the order of loading."""
        return [compiled.atlas for compiled in self._planner.catalogue.atlases.values()]

    # Sessions

    def create_session(
        self,
        agent_id: str,
        goal: str,
        *,
        hash_algorithm: str | None = None,
        parent_session_id: str | None = None,
    ) -> str:
        """Start a session and return its id.

        Args:
            hash_algorithm: "sha256" or "blake3", the hash of its whole trace; None means the resolver's.
            parent_session_id: a running session, of any agent, under which this one is started
                (PROTOCOL 2.11): it ends with it at the latest.

        Raises:
            InvalidInput: `invalid_agent_id` (1-255 characters), `invalid_goal` (1-10,000),
                `unknown_algorithm`, `invalid_id` for the parent's.
            NotFound: `session_not_found`: the parent.
            InvalidState: `session_ended`: the parent; `resolver_closed`.
            BackendFailure: `hash_unavailable` where that hash is not installed.
            BufferFull, BackendFailure: it could not be recorded, so there is no session.
        """
        with self._lock:
            try:
                self._check_open()
                if hash_algorithm is not None:
                    constructor_of(hash_algorithm)
                return self._sessions.start(
                    arguments.check_agent_id(agent_id),
                    arguments.check_goal(goal),
                    self._planner,
                    hash_algorithm,
                    parent_session_id,
                ).session_id
            except _TOLD as error:
                self._tell(None, error)

    def end_session(self, session_id: str, reason: str = "completed") -> dict[str, Json]:
        """End a session, free its memory, and return the payload of its session.ended event.

        Sessions that run under it end first, with the reason cancelled.

        Args:
            reason: completed, timeout, error, cancelled or interrupted.

        Raises:
            InvalidInput: `invalid_reason`, `invalid_id`.
            NotFound: `session_not_found`.
            InvalidState: `session_ended`; `execution_in_progress` while an executor of it, or of a session
                under it, runs: then none has ended.
        """
        with self._lock:
            try:
                self._check_open()
                if reason not in END_REASONS:
                    raise InvalidInput(
                        "invalid_reason", f"use one of {', '.join(END_REASONS)}", pointer="/reason"
                    )
                return self._sessions.end(session_id, reason)
            except _TOLD as error:
                self._tell(session_id, error)

    def _forget_session(self, session_id: str) -> None:
        self._approvals.forget_session(session_id)
        self._ledger.forget_session(session_id)

    # Resolve

    def resolve(
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
        """Decide every candidate action for a goal (PROTOCOL 2.3-2.5). Consumes no limit.

        Args:
            goal: 1-10,000 characters.
            risk_tier: low, medium, high or critical; an action's own counts where it is higher.
            required_capabilities: only their actions are candidates; () means all.
            context_hints: bring in context blocks by id or keyword.
            atlas_ids: None means all that are loaded.
            context: facts that policies' `context_matches` look at; recorded in the trace.
            reuse: return the session's latest resolution that was asked for with `reuse` and these very
                arguments, if it would come out the same (PROTOCOL 2.12). It costs two events then, and its
                ttl_seconds count from its own timestamp.

        Raises:
            InvalidInput: `invalid_goal`, `invalid_risk_tier`, ... with the pointer of the culprit.
            NotFound: `session_not_found`, `atlas_not_found`, `capability_not_found`.
            InvalidState: `session_ended`.
            BufferFull, BackendFailure: it could not be recorded, so it was not decided. With
                `on_full="drop"` it is decided all the same, but nothing may be executed under it.
        """
        with self._lock:
            try:
                # Looked at here, before the checks that do the rest: a call costs 0.2 us in WebAssembly.
                if self._closed:
                    self._check_open()
                session = self._sessions.settled(session_id)
                if type(goal) is not str or not 0 < len(goal) <= MAX_GOAL_CHARS or not goal.isascii():
                    goal = arguments.check_goal(goal)
                if type(risk_tier) is not str or risk_tier not in RISK_TIERS:
                    risk_tier = arguments.check_tier(risk_tier)
                options = None
                if (
                    required_capabilities != ()
                    or context_hints != ()
                    or atlas_ids is not None
                    or context is not None
                ):
                    options = arguments.check_options(
                        required_capabilities, context_hints, atlas_ids, context
                    )
                if reuse is False:
                    return self._resolving.resolve(self._planner, session, goal, risk_tier, options)
                arguments.check_reuse(reuse)
                session = self._sessions.running(session_id)
                return self._reusing.resolve(self._planner, session, goal, risk_tier, options)
            except _TOLD as error:
                self._tell(session_id, error)

    def resolve_request(
        self, request: str | bytes | dict[str, Json]
    ) -> Resolution | ExecuteResponse | ValidateResponse:
        """Answer a whole CARPRequest, JSON text or dict (PROTOCOL 2.1): resolve, execute or validate.

        Raises:
            InvalidInput: `invalid_request` with all findings, `stale_timestamp`, `agent_mismatch`,
                `parent_mismatch`, `duplicate_request_id`.
            CRAError: as `resolve` and `execute`.
        """
        session: Session | None = None
        session_id: str | None = None
        request_id = 0
        with self._lock:
            try:
                self._check_open()
                parsed = parse_model(CARPRequest, request, code="invalid_request")
                if parsed.operation == "validate":
                    return self._validating.validate_parsed(self._planner, parsed)
                session_id = parsed.requester.session_id
                session = self._sessions.running(session_id)
                wall_ns, _ = self._recorder.times()
                request_id = check_request(session, parsed, wall_ns, self._skew_seconds)
                begun = self._answer_request(session, parsed, request_id)
            except _TOLD as error:
                self._tell(session_id, error)
            except (BufferFull, BackendFailure):
                if session is not None:
                    session.forget_request_id(request_id)
                raise
        return self._run(begun) if isinstance(begun, Running) else begun

    def validate_request(self, request: str | bytes | dict[str, Json]) -> ValidateResponse:
        """Tell what a whole CARPRequest of any operation would be answered now, and all that is wrong with it
        (PROTOCOL 2.10).

        Nothing is recorded, consumed or remembered, not even the request's id. What depends on the way of the
        call is not looked at: room in the trace, and whether the caller can wait.

        Raises:
            InvalidState: `resolver_closed`. What is wrong with the request is a finding, no error.
        """
        with self._lock:
            self._check_open()
            return self._validating.validate(self._planner, request)

    def _answer_request(
        self, session: Session, parsed: CARPRequest, request_id: int
    ) -> Resolution | ExecuteResponse | Running:
        task, execution = parsed.task, parsed.execution
        if execution is not None:
            request = ExecuteRequest(
                resolution_id=execution.resolution_id,
                action_id=execution.action_id,
                parameters=execution.parameters,
                idempotency_key=execution.idempotency_key,
                goal=task.goal,
                request_id=request_id,
            )
            return self._begin_checked(session, request, may_wait=False)
        options = arguments.check_options(
            task.required_capabilities, task.context_hints, parsed.atlas_ids, parsed.context
        )
        return self._resolving.resolve(self._planner, session, task.goal, task.risk_tier, options, request_id)

    def explain(self, session_id: str, resolution_id: str) -> list[dict[str, Json]]:
        """Return which policy decided each candidate of a resolution, in manifest order.

        Each is {action_id, result allow|deny, policy_id, policy_name, policy_type, reason}.

        Raises:
            CRAError: as `execute` for the session and the resolution.
        """
        with self._lock:
            try:
                session = self._sessions.running(session_id)
                _, elapsed_ns = self._recorder.times()
                return session.find(resolution_id, elapsed_ns).explain()
            except _TOLD as error:
                self._tell(session_id, error)

    # Execute

    def register_executor(
        self, action_id: str, function: Callable[..., Any], *, with_call: bool = False
    ) -> None:
        """Let `function(parameters)` run an action; it replaces the one before.

        Args:
            function: sync or async; returns a JSON value. What it raises becomes action.failed.
            with_call: call `function(parameters, call)` with {session_id, agent_id, resolution_id,
                execution_id, action_id}.

        Raises:
            InvalidInput: `invalid_executor`, `invalid_action_id`.
        """
        arguments.check_execution(action_id, None)
        self._executors[action_id] = new_executor(function, with_call=with_call)

    def unregister_executor(self, action_id: str) -> bool:
        """Remove an action's executor; False when it had none. Raises InvalidInput `invalid_action_id`."""
        arguments.check_execution(action_id, None)
        return self._executors.pop(action_id, None) is not None

    def execute(
        self,
        session_id: str,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Json],
        *,
        idempotency_key: str | None = None,
    ) -> ExecuteResponse:
        """Run an action that a resolution allowed, by a sync executor (PROTOCOL 2.7).

        A denial, a wait for approval and a failing executor are answers with that `status`. A sync
        executor cannot be interrupted: `timeout_seconds` holds for async ones in `execute_async` only.

        Raises:
            InvalidInput: `invalid_parameters` with the pointer of the culprit, `invalid_id`, ...
            NotFound: `session_not_found`, `resolution_not_found`, `action_not_found`.
            InvalidState: `session_ended`, `resolution_expired`, `resolution_unrecorded`, `atlas_unloaded`,
                `no_executor`, `async_executor`, `idempotency_conflict`, `execution_in_progress`,
                `not_durable` where only `execute_async` can wait until the approval is stored.
            BufferFull, BackendFailure: it could not be recorded or stored, so nothing ran.
        """
        return self._execute(
            session_id,
            ExecuteRequest(
                resolution_id=resolution_id,
                action_id=action_id,
                parameters=parameters,
                idempotency_key=idempotency_key,
            ),
        )

    async def execute_async(
        self,
        session_id: str,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Json],
        *,
        idempotency_key: str | None = None,
    ) -> ExecuteResponse:
        """Run an action by a sync or async executor; an async one is cancelled after its action's
        timeout_seconds (`timeout`). Else as `execute`.

        Raises:
            BackendFailure: `not_durable`: behind `drain_traces`, nobody acknowledged in time what the call
                was approved by, or its store refused it. Nothing ran; limits and grants were taken.
            CRAError: as `execute`.
        """
        begun = self.begin_execute(
            session_id, resolution_id, action_id, parameters, idempotency_key=idempotency_key
        )
        return begun if isinstance(begun, ExecuteResponse) else await self.run_begun(begun)

    def begin_execute(
        self,
        session_id: str,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Json],
        *,
        idempotency_key: str | None = None,
    ) -> ExecuteResponse | Running:
        """Do the first half of `execute_async`, which waits for nothing; raises as it does.

        A Running is recorded as approved: whoever gets one awaits `run_begun` at once.
        """
        request = ExecuteRequest(
            resolution_id=resolution_id,
            action_id=action_id,
            parameters=parameters,
            idempotency_key=idempotency_key,
        )
        return self._begin(session_id, request, may_wait=True)

    async def run_begun(self, begun: Running) -> ExecuteResponse:
        """Do the second half of `execute_async`."""
        await self._make_durable_async(begun)
        try:
            result = await run_async(begun.executor, begun.parameters(), begun.names(), begun.timeout_seconds)
        except ExecutionFailed as failed:
            return self._fail(begun, failed.code, failed.message)
        except BaseException:
            self._fail(begun, "cancelled", "the call was cancelled while its executor ran")
            raise
        return self._finish(begun, result)

    def _execute(self, session_id: str, request: ExecuteRequest) -> ExecuteResponse:
        begun = self._begin(session_id, request, may_wait=False)
        return self._run(begun) if isinstance(begun, Running) else begun

    def _make_durable(self, begun: Running) -> None:
        """Store what an action was approved by before it runs, or do not run it."""
        try:
            self._durability.store(begun.session.session_id, begun.risk_tier)
        except CRAError:
            self._give_up(begun, "not_durable", "its approval could not be stored: nothing ran")
            raise

    async def _make_durable_async(self, begun: Running) -> None:
        try:
            await self._durability.wait_stored(begun.session.session_id, begun.risk_tier)
        except CRAError:
            self._give_up(begun, "not_durable", "its approval could not be stored: nothing ran")
            raise
        except BaseException:
            self._give_up(begun, "cancelled", "the call was cancelled before its executor ran")
            raise

    def _run(self, begun: Running) -> ExecuteResponse:
        self._make_durable(begun)
        try:
            result = run(begun.executor, begun.parameters(), begun.names())
        except ExecutionFailed as failed:
            return self._fail(begun, failed.code, failed.message)
        except BaseException:
            self._fail(begun, "cancelled", "the call was interrupted while its executor ran")
            raise
        return self._finish(begun, result)

    def _begin(
        self, session_id: str, request: ExecuteRequest, *, may_wait: bool
    ) -> ExecuteResponse | Running:
        with self._lock:
            try:
                self._check_open()
                arguments.check_execution(request.action_id, request.idempotency_key)
                return self._begin_checked(self._sessions.running(session_id), request, may_wait=may_wait)
            except _TOLD as error:
                self._tell(session_id, error)

    def _begin_checked(
        self, session: Session, request: ExecuteRequest, *, may_wait: bool
    ) -> ExecuteResponse | Running:
        executor = self._executors.get(request.action_id)
        if executor is not None and not may_wait:
            refuse_async(executor)
        return self._execution.begin(session, request, may_wait=may_wait)

    def _give_up(self, running: Running, code: str, message: str) -> None:
        with self._lock:
            self._execution.give_up(running, code, message)
            self._sessions.expiry.after_call(running.session)
        self._store_late()

    def _finish(self, running: Running, result: Json) -> ExecuteResponse:
        with self._lock:
            response = self._execution.finish(running, result)
            self._sessions.expiry.after_call(running.session)
        self._store_late()
        return response

    def _fail(self, running: Running, code: str, message: str) -> ExecuteResponse:
        with self._lock:
            response = self._execution.fail(running, code, message)
            self._sessions.expiry.after_call(running.session)
        self._store_late()
        return response

    def _store_late(self) -> None:
        """Store what an executor that outlived `close` has recorded: nobody else will."""
        if self._closed and self._processor is not None:
            self._processor.flush()

    # Approvals

    def approvals(self, session_id: str | None = None) -> list[dict[str, Json]]:
        """Return the approvals asked for, of one session or of all running ones, oldest first.

        Each tells its `state`: pending, granted, refused, used or expired.
        """
        with self._lock:
            _, elapsed_ns = self._recorder.times()
            return [approval.to_dict(elapsed_ns) for approval in self._approvals.list(session_id)]

    def grant_approval(
        self,
        approval_id: str,
        *,
        approver: str,
        reason: str = "",
        expires_in_seconds: int | None = None,
        uses: int | None = None,
    ) -> dict[str, Json]:
        """Let the very call that was asked about run: same session, action and parameters.

        Args:
            approver: who decided, 1-255 characters.
            expires_in_seconds: 1-604800; the policy's, or 3600, if None.
            uses: 1-1000; the policy's, or 1, if None.

        Raises:
            InvalidInput: `invalid_approver`, `invalid_reason`, `invalid_expiry`, `invalid_uses`.
            NotFound: `approval_not_found`.
            InvalidState: `approval_decided`.
        """
        return self._decide(approval_id, True, approver, reason, expires_in_seconds, uses)

    def refuse_approval(self, approval_id: str, *, approver: str, reason: str = "") -> dict[str, Json]:
        """Refuse the call; asking again makes a new request. Raises as `grant_approval`."""
        return self._decide(approval_id, False, approver, reason, None, None)

    def _decide(
        self,
        approval_id: str,
        granted: bool,
        approver: str,
        reason: str,
        expires_in_seconds: int | None,
        uses: int | None,
    ) -> dict[str, Json]:
        with self._lock:
            try:
                self._check_open()
                return self._approving.decide(
                    approval_id,
                    planner=self._planner,
                    granted=granted,
                    approver=approver,
                    reason=reason,
                    expires_in_seconds=expires_in_seconds,
                    uses=uses,
                ).to_dict()
            except _TOLD as error:
                self._tell(None, error)

    # Trace

    def emit(self, session_id: str, event_type: str, payload: dict[str, Json]) -> RawEvent | None:
        """Record an event of the host's own. Its payload is frozen now, and redacted (PROTOCOL 3.9).

        None when it was dropped, which happens with `on_full="drop"` only: it has no id and no number.

        Args:
            event_type: lower-case words joined by dots, not one of the protocol's prefixes.

        Raises:
            InvalidInput: `invalid_event_type`, `reserved_event_type`, `invalid_payload`, `not_canonical`.
            NotFound, InvalidState: the session's.
            BufferFull, BackendFailure: it was not recorded.
        """
        with self._lock:
            try:
                if self._closed:
                    self._check_open()
                session = self._sessions.settled(session_id)
                wall_ns, elapsed_ns = self._recorder.times()
                if elapsed_ns >= session.check_at_ns:
                    self._sessions.expiry.look(session, wall_ns, elapsed_ns)
                texts: EventTexts = [arguments.check_event(event_type, payload)]
                if self._planner.redactor is not None:
                    redaction = session_redaction(self._planner, session.agent_id, wall_ns)
                    texts = redacted_host_texts(texts, redaction, session.hash_algorithm)
            except _TOLD as error:
                self._tell(session_id, error)
            moment = self._recorder.at(wall_ns, elapsed_ns)
            return self._recorder.record_or_drop(session, moment, texts, trace_id=session.trace_id)

    def get_trace(self, session_id: str) -> list[TraceEvent]:
        """Return a session's events, running or ended, in order; deferred ones are flushed first.

        Raises:
            InvalidState: `traces_elsewhere` when `drain_traces` feeds another store; `details.pending` counts
                what has not been taken.
        """
        return self._readable_storage().get_events(session_id)

    def verify_chain(self, session_id: str) -> VerifyResult:
        """Verify a session's stored events from the genesis on; raises as `get_trace` and `verify_lines`."""
        return verify_lines(self._readable_storage().iter_lines(session_id))

    def flush_traces(self) -> int:
        """Store all deferred events now and return how many those were; 0 in immediate mode.

        Raises:
            InvalidState: `traces_elsewhere`.
        """
        self._readable_storage(flush=False)
        return self._processor.flush() if self._processor else 0

    def drain_traces(self, max_events: int) -> Batch:
        """Take up to `max_events` deferred events out as one batch; see `TraceRingBuffer.drain`.

        Raises:
            InvalidInput: `invalid_max_events`.
            InvalidState: `not_deferred`, or `buffer_consumed` when a processor drains it.
        """
        return self._own_buffer().drain(max_events)

    def ack(self, batch_id: int) -> bool:
        """Tell that a batch is stored; False when it was acknowledged before. Raises as `drain_traces`."""
        return self._own_buffer().ack(batch_id)

    def redeliver(self) -> list[Batch]:
        """Return the unacknowledged batches again, byte for byte. Raises as `drain_traces`."""
        return self._own_buffer().redeliver()

    def buffer_stats(self) -> BufferStats:
        """Return the buffer's counts.

        Raises:
            InvalidState: `not_deferred`.
        """
        return self._deferred_buffer().buffer_stats()

    def on_pressure(
        self, wake: Callable[[], None], *, wake_durable: Callable[[], None] | None = None
    ) -> None:
        """Have `wake` called when 500 events' worth, or half a smaller capacity, wait for `drain_traces`:
        once, and again after the next drain.

        Args:
            wake: called in the middle of a call; it must return at once, and what it raises is lost.
            wake_durable: likewise, when a call waits until what is pending is stored; None means `wake`.

        Raises:
            InvalidState: as `drain_traces`.
        """
        self._deferred_buffer().claim("drain_traces", wake, wake_durable)

    def refuse_durable(self, reason: str, session_ids: Sequence[str] | None = None) -> int:
        """Tell the calls that wait for the store that it refused them: nothing of them runs.

        For the consumer of `drain_traces`, when its store fails or a session's events cannot join their
        chain. Without it those calls end after `durable_wait_seconds`.

        Args:
            reason: for people; cut to 500 characters.
            session_ids: None means all.

        Returns:
            How many calls were told.

        Raises:
            InvalidInput: `invalid_reason`, `invalid_id`.
            InvalidState: as `drain_traces`.
        """
        if not isinstance(reason, str):
            raise InvalidInput("invalid_reason", "give text", pointer="/reason")
        if session_ids is not None:
            arguments.check_session_ids(session_ids)
        return self._own_buffer().refuse_waiting(reason[:MAX_ERROR_MESSAGE_CHARS], session_ids)

    def on_room(self, wake: Callable[[], None]) -> None:
        """Have `wake` called after each acknowledgement, on the thread that made it; it must return at once.

        Raises:
            InvalidState: `not_deferred`.
        """
        self._deferred_buffer().notify_room(wake)

    @property
    def processor(self) -> ProcessorHandle | None:
        """The background that stores deferred events; None where there is none."""
        return self._processor_handle

    def buffer_pressure(self) -> float:
        """Return how full the buffer is, 0.0 to 1.0; 0.0 in immediate mode."""
        return self._buffer.buffer_pressure() if self._buffer else 0.0

    # The resolver itself

    def statistics(self) -> ResolverStats:
        """Return the state of this moment."""
        with self._lock:
            return ResolverStats(
                tracing=self._tracing,
                atlases=tuple(self._planner.catalogue.atlases),
                sessions_active=len(self._sessions),
                resolutions_remembered=self._sessions.remembered_count,
                buffer=self._buffer.buffer_stats() if self._buffer else None,
                pressure=self.buffer_pressure(),
                clock=self._timekeeping.statistics(),
            )

    def running_sessions(self) -> tuple[str, ...]:
        """Return the ids of the sessions that have not ended, oldest first, the runtime's own at the end."""
        with self._lock:
            return tuple(self._sessions.ids())

    def unstored_at_most(self) -> int | None:
        """Return how many events of one session may at any time not be acknowledged by whoever drains them.

        None with `on_full="drop"`: what was dropped and not yet told has no bound.

        Raises:
            InvalidState: `not_deferred`.
        """
        # session.ended and a clock.step before it go in beyond the capacity, and an event weighs 1 at least.
        capacity = self._deferred_buffer().buffer_stats().capacity
        return None if self._tracer.drops else capacity + 2

    def close(self) -> None:
        """End the runtime's own session, store what is left, and refuse what comes. Again: nothing.

        Running sessions are not ended: who started them says how they ended.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._timekeeping.stop()
                self._sessions.end_runtime_session()
                self._sessions.tell_losses(beyond=True)
                self._executors.clear()
        if self._buffer is not None:
            self._buffer.refuse_waiting("the resolver was closed")
        self._timekeeping.release()
        if self._processor_handle is not None:
            self._processor_handle.shutdown()

    def _new_tracer(self, capacity: int, on_full: str) -> Tracer:
        if on_full != "refuse" and (on_full != "drop" or self._tracing == "immediate"):
            raise InvalidInput(
                "invalid_on_full",
                "use `refuse`, or in deferred mode `drop`: immediate mode has no buffer to be full",
                pointer="/on_full",
            )
        if self._tracing == "immediate":
            self._storage = self._storage or MemoryStorage()
            return ImmediateTracer(self._storage)
        if self._tracing != "deferred":
            raise InvalidInput("invalid_tracing", "use `immediate` or `deferred`", pointer="/tracing")
        self._buffer = TraceRingBuffer(capacity)
        if self._storage is not None:
            self._processor = TraceProcessor(self._buffer, self._storage, drive=new_drive())
        if on_full == "drop":
            self._buffer.notify_room(self._tell_losses)
        return DeferredTracer(self._buffer, drops=on_full == "drop")

    def _keep_time(
        self,
        heartbeat: HeartbeatConfig | None,
        session_ttl: SessionTTLConfig | None,
        timers: TimerBackend | None,
    ) -> Timekeeping:
        owned = timers is None and (heartbeat is not None or session_ttl is not None)
        beats = None
        if heartbeat is not None:
            beats = Heartbeat(
                self._recorder,
                self._sessions,
                heartbeat,
                lambda: self._buffer.buffer_stats() if self._buffer else None,
            )
        backend = new_timers() if owned else timers
        return Timekeeping(self._recorder, self._sessions, self._lock, backend, beats, owned=owned)

    def _start_processor(self) -> ProcessorHandle | None:
        return self._processor.start() if self._processor else None

    def _is_loaded(self, action: CompiledAction) -> bool:
        """Whether the atlas that a resolution saw was never unloaded; a replacement does not count."""
        atlas = self._planner.catalogue.atlases.get(action.atlas_id)
        return atlas is not None and atlas.lineage is action.lineage

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidState("resolver_closed", "this resolver was closed: make another")

    def _tell(self, session_id: str | None, error: CRAError) -> NoReturn:
        """Record an error, unless the record is closed, and raise it."""
        if not self._closed:
            self._sessions.record_error(session_id, error, self._planner)
        raise error

    def _tell_losses(self) -> None:
        """Record the gaps of sessions that make no call, once the buffer is half empty.

        Not with the first room: while a flood goes on, gaps would take the room of what it could record.
        """
        if self._tracer.lost and self.buffer_pressure() < _CALM_PRESSURE:
            with self._lock:
                self._sessions.tell_losses()

    def _readable_storage(self, *, flush: bool = True) -> StorageBackend:
        if self._storage is None:
            pending = self._deferred_buffer().buffer_stats()
            raise InvalidState(
                "traces_elsewhere",
                "drain_traces feeds another store: read the trace there",
                pending=pending.pending + pending.in_flight,
            )
        if flush and self._processor is not None:
            self._processor.flush()
        return self._storage

    def _deferred_buffer(self) -> TraceRingBuffer:
        if self._buffer is None:
            raise InvalidState(
                "not_deferred", "immediate mode has no buffer: use Resolver(tracing='deferred')"
            )
        return self._buffer

    def _own_buffer(self) -> TraceRingBuffer:
        buffer = self._deferred_buffer()
        buffer.claim("drain_traces")
        return buffer
