"""`replay_trace`: the sessions of a runtime, call by call in the order of their times (PROTOCOL 3.11)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from os import PathLike
from typing import Final, TypeAlias

from ..errors import InvalidInput, Json
from ..hashing import ALGORITHMS, new
from ..model.event import TraceEvent
from ..resolver import DEFAULT_TTL_SECONDS
from ..runtime.loading import AtlasSource
from ..trace.canonical import canonical_json
from ..trace.chain import named_algorithm
from ..trace.loading import TraceSource, load_trace, wall_ns_of
from ..trace.payloads import whole_number_in
from .calls import Call, calls_of
from .report import Findings, ReplayResult
from .rerun import Rerun
from .sessions import SessionReplay
from .world import World, read_atlases

MAX_SESSIONS: Final = 10_000

_NS_PER_MS: Final = 1_000_000
_TTL_LIMIT: Final = 86_400

Ordered: TypeAlias = tuple[int, str, int, Call]
"""A call under what orders it among all sessions: its time, its id, and its session's index."""


def replay_trace(
    traces: TraceSource | Sequence[TraceSource],
    atlases: Iterable[AtlasSource],
    *,
    verify: bool = True,
    complete: bool = False,
    parameters: Iterable[dict[str, Json]] = (),
) -> ReplayResult:
    """Decide every call of recorded sessions anew and tell what comes out otherwise (PROTOCOL 3.11).

    The decisions are made by the runtime's own code on a clock that shows the trace's times: verdicts,
    context, limits, approvals and expiries. Executors do not run; what they did is taken from the trace.
    Deterministic: the same arguments give the same result.

    Args:
        traces: the trace of one session, or a list of several that one runtime made at about the same time,
            so that they share limits; at most 10,000. See `trace.loading.TraceSource` for what one can be.
        atlases: as `Resolver.load_atlas` takes them, in the order of loading. Several versions of one atlas
            may be given: each session gets the one that it names, or else the last.
        verify: refuse traces that do not verify. False also reads parts of traces and foreign ones.
        complete: these are all sessions of their runtime, so no other took from the limits that they share.
        parameters: what executes were called with, where somebody kept it, in any order; the trace has only
            their hashes. Limits with a cost_parameter need them.

    Raises:
        NotFound: `trace_not_found`, `file_not_found`.
        InvalidInput: `invalid_trace`, `trace_too_large`, `invalid_atlas`, `not_canonical`,
            `duplicate_session` for one session twice, `too_many_sessions`.
        BackendFailure: `trace_unreadable`, `hash_unavailable`.
    """
    sessions = [load_trace(one, verify=verify) for one in _sources(traces)]
    by_id = _by_session(sessions)
    findings = Findings()
    first_ns = min((wall_ns_of(events[0]) for events in sessions), default=0)
    world = World(
        rerun=Rerun(first_ns, _ttl_of(sessions)),
        given=read_atlases(atlases),
        findings=findings,
        parameters=_by_hash(parameters, sessions),
        complete=complete,
        clock_stepped=any(map(_clock_stepped, sessions)),
        changes=_changes_of_atlases(sessions),
        crowded=_crowded(sessions),
    )
    replays = [SessionReplay(world, name, events[-1].sequence) for name, events in by_id.items()]
    for _, _, index, call in heapq.merge(
        *(_ordered(index, events) for index, events in enumerate(by_id.values()))
    ):
        world.rerun.trace_clock.move_to(call.wall_ns)
        replays[index].replay(call)
    return _result(replays, findings, sum(map(len, sessions)))


def _sources(traces: TraceSource | Sequence[TraceSource]) -> list[TraceSource]:
    """Return the traces as a list; a list of events is one trace."""
    if isinstance(traces, str | bytes | PathLike):
        return [traces]
    given = list(traces)
    events = [one for one in given if isinstance(one, TraceEvent)]
    if len(events) == len(given):
        return [events]
    if len(given) > MAX_SESSIONS:
        raise InvalidInput("too_many_sessions", f"give at most {MAX_SESSIONS} traces", pointer="/traces")
    return [one for one in given if not isinstance(one, TraceEvent)]


def _by_session(sessions: Sequence[Sequence[TraceEvent]]) -> dict[str, Sequence[TraceEvent]]:
    found: dict[str, Sequence[TraceEvent]] = {}
    for index, events in enumerate(sessions):
        if not events:
            raise InvalidInput("invalid_trace", "the trace is empty", pointer=f"/traces/{index}")
        if events[0].session_id in found:
            raise InvalidInput(
                "duplicate_session",
                f"session `{events[0].session_id[:64]}` is there twice",
                pointer=f"/traces/{index}",
            )
        found[events[0].session_id] = events
    return found


def _ordered(index: int, events: Sequence[TraceEvent]) -> Iterator[Ordered]:
    """Yield a session's calls so that merging keeps their order, also when its clock was set back."""
    latest = 0
    for call in calls_of(events):
        latest = max(latest, call.wall_ns)
        yield latest, call.first.event_id, index, call


def _ttl_of(sessions: Sequence[Sequence[TraceEvent]]) -> int:
    """Return the runtime's ttl_seconds, which every resolution tells."""
    for events in sessions:
        for event in events:
            if event.event_type == "carp.resolution.completed":
                ttl = whole_number_in(event.payload, "ttl_seconds")
                if ttl is not None and 1 <= ttl <= _TTL_LIMIT:
                    return ttl
    return DEFAULT_TTL_SECONDS


def _by_hash(
    parameters: Iterable[dict[str, Json]], sessions: Sequence[Sequence[TraceEvent]]
) -> dict[str, dict[str, Json]]:
    """Return parameters by the hashes under which the sessions would have recorded them."""
    named = {named_algorithm(events[0].event_type, events[0].payload_json) for events in sessions}
    found = {}
    for one in parameters:
        data = canonical_json(one).encode()
        for algorithm in named.intersection(ALGORITHMS):
            found[new(algorithm, data).hexdigest()] = one
    return found


def _clock_stepped(events: Sequence[TraceEvent]) -> bool:
    """Whether a session shows that the wall clock was set back: by its times, or by how long it ran."""
    previous_ns = first_ns = wall_ns_of(events[0])
    for event in events:
        wall_ns = wall_ns_of(event)
        if wall_ns < previous_ns or (event.event_type == "clock.step" and not _only_forward(event)):
            return True
        previous_ns = wall_ns
    duration_ms = whole_number_in(events[-1].payload, "duration_ms")
    ended = events[-1].event_type == "session.ended"
    return ended and duration_ms is not None and duration_ms > (previous_ns - first_ns) // _NS_PER_MS + 1


def _only_forward(step: TraceEvent) -> bool:
    """Whether a clock.step tells of one step, and of the wall clock being ahead: that is elapsed time."""
    gap_ms = whole_number_in(step.payload, "gap_ms")
    steps = whole_number_in(step.payload, "steps")
    return gap_ms is not None and gap_ms >= 0 and (steps is None or steps <= 1)


def _changes_of_atlases(sessions: Sequence[Sequence[TraceEvent]]) -> list[tuple[int, int]]:
    """Return between which starts of sessions atlases were loaded or unloaded."""
    starts = []
    for events in sessions:
        if events[0].event_type == "session.started":
            payload = events[0].payload
            told = canonical_json([payload.get("atlas_ids"), payload.get("atlas_versions")])
            starts.append((wall_ns_of(events[0]), events[0].event_id, told))
    starts.sort()
    return [(one[0], other[0]) for one, other in pairwise(starts) if one[2] != other[2]]


def _crowded(sessions: Sequence[Sequence[TraceEvent]]) -> frozenset[int]:
    """Return the times at which several sessions have events."""
    if len(sessions) < 2:
        return frozenset()
    seen: dict[int, int] = {}
    found = set()
    for index, events in enumerate(sessions):
        for event in events:
            wall_ns = wall_ns_of(event)
            if seen.setdefault(wall_ns, index) != index:
                found.add(wall_ns)
    return frozenset(found)


def _result(replays: Sequence[SessionReplay], findings: Findings, events: int) -> ReplayResult:
    return ReplayResult(
        identical=not findings.differences_total and findings.decided,
        sessions=len(replays),
        events=events,
        replayed=sum(one.replayed for one in replays),
        resolutions=sum(one.resolves.count for one in replays),
        executes=sum(one.executes.count for one in replays),
        approvals=sum(one.approvals for one in replays),
        outcomes_taken=sum(one.executes.outcomes_taken for one in replays),
        parameters_taken=sum(one.executes.parameters_taken for one in replays),
        differences=tuple(findings.differences),
        differences_total=findings.differences_total,
        undecidable=tuple(findings.undecidable),
        undecidable_total=findings.undecidable_total,
    )
