"""The two modes leave the same events, byte for byte, whatever is interleaved and however it is drained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError, MemoryStorage, Resolver
from cra_wasm.hashing import ALGORITHMS
from cra_wasm.testing import FakeClock, SequentialIds
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.verify import verify_lines

ACTIONS = [
    "item.read",
    "item.list",
    "item.write",
    "item.count",
    "item.pay",
    "item.refund",
    "item.delete",
    "no.such",
]
PARAMETERS = [
    {},
    {"item_id": "é😀"},
    {"amount": 30},
    {"amount": 1.5},
    {"amount": -1},
    {"amount": float("nan")},
]
GOALS = ["look around", "refund \x1f\n", "", "x" * 300, "\ud800"]

small = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(
        st.just("create"),
        st.sampled_from(["agent-1", "agent-2", ""]),
        st.sampled_from([None, *ALGORITHMS, "md5"]),
    ),
    st.tuples(st.just("resolve"), small, st.sampled_from(GOALS), st.sampled_from(["low", "high", "none"])),
    st.tuples(
        st.just("execute"),
        small,
        small,
        st.sampled_from(ACTIONS),
        st.sampled_from(PARAMETERS),
        st.sampled_from([None, "k"]),
    ),
    st.tuples(
        st.just("emit"), small, st.sampled_from(["app.note", "carp.forged"]), st.sampled_from(PARAMETERS)
    ),
    st.tuples(st.just("decide"), small, st.booleans()),
    st.tuples(st.just("end"), small),
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.5, 15.0, 4000.0])),
    st.tuples(st.just("reload"), st.booleans()),
)
DRAINS = st.lists(
    st.tuples(st.sampled_from(["drain", "ack", "redeliver"]), st.integers(1, 40)), min_size=1, max_size=4
)


class Driven:
    """A resolver of one mode, with what its calls gave: JSON texts and errors."""

    def __init__(self, shop_text: str, **options: Any) -> None:
        self.clock = FakeClock()
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds(), **options)
        self.shop_text = shop_text
        self.resolver.load_atlas(shop_text)
        self.sessions = ["01940d23-3a00-7000-8000-0000ffff0001"]
        self.resolutions = ["01940d23-3a00-7000-8000-0000ffff0002"]
        self.given: list[str] = []
        self.resolver.register_executor("item.read", lambda parameters: {"read": parameters["item_id"]})
        self.resolver.register_executor("item.write", self.fail)
        for action_id in ("item.list", "item.count", "item.pay", "item.refund", "item.delete"):
            self.resolver.register_executor(action_id, self.work)

    def work(self, parameters: Any) -> Any:
        self.clock.advance(0.25)
        return parameters

    def fail(self, parameters: Any) -> Any:
        raise ValueError("broken")

    def pick(self, names: list[str], number: int) -> str:
        return names[-1 - number % len(names)]

    def step(self, name: str, *arguments: Any) -> None:
        try:
            getattr(self, name)(*arguments)
        except CRAError as error:
            self.given.append(str(error.to_dict()))

    def create(self, agent_id: str, hash_algorithm: str | None) -> None:
        self.sessions.append(self.resolver.create_session(agent_id, "goal", hash_algorithm=hash_algorithm))

    def resolve(self, session: int, goal: str, tier: str) -> None:
        resolution = self.resolver.resolve(self.pick(self.sessions, session), goal, risk_tier=tier)
        self.resolutions.append(resolution.resolution_id)
        self.given.append(resolution.to_json())

    def execute(
        self, session: int, resolution: int, action_id: str, parameters: Any, key: str | None
    ) -> None:
        answer = self.resolver.execute(
            self.pick(self.sessions, session),
            self.pick(self.resolutions, resolution),
            action_id,
            dict(parameters),
            idempotency_key=key,
        )
        self.given.append(answer.to_json())

    def emit(self, session: int, event_type: str, payload: Any) -> None:
        self.resolver.emit(self.pick(self.sessions, session), event_type, dict(payload))

    def decide(self, number: int, granted: bool) -> None:
        listed = [one["approval_id"] for one in self.resolver.approvals()] or self.resolutions
        decide = self.resolver.grant_approval if granted else self.resolver.refuse_approval
        self.given.append(str(decide(self.pick(listed, number), approver="ann")))

    def end(self, session: int) -> None:
        self.given.append(str(self.resolver.end_session(self.pick(self.sessions, session))))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def reload(self, unload: bool) -> None:
        if unload:
            self.resolver.unload_atlas("test.shop")
        else:
            self.resolver.load_atlas(self.shop_text)


class Drainer:
    """Takes batches out of a resolver and stores them, in the order of a list of random moves."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.storage = MemoryStorage()
        self.writer = ChainWriter(self.storage)
        self.stored: list[int] = []

    def moves(self, moves: list[tuple[str, int]]) -> None:
        for name, number in moves:
            getattr(self, name)(number)

    def drain(self, max_events: int) -> None:
        batch = self.resolver.drain_traces(max_events)
        assert batch.count <= max_events
        if batch.count:
            self.writer.write_batch(batch)
            self.stored.append(batch.batch_id)

    def ack(self, number: int) -> None:
        if self.stored:
            assert self.resolver.ack(self.stored.pop(number % len(self.stored)))

    def redeliver(self, _: int) -> None:
        """As after a lost answer: what came before comes again, to a writer that remembers nothing."""
        self.writer = ChainWriter(self.storage)
        for batch in self.resolver.redeliver():
            self.writer.write_batch(batch)

    def rest(self) -> None:
        while self.resolver.buffer_stats().pending or self.stored:
            self.ack(0)
            self.drain(17)


def lines_of(storage: Any) -> dict[str, bytes]:
    return {session_id: b"".join(storage.iter_lines(session_id)) for session_id in storage.sessions()}


def cycle(items: list[Any]) -> Iterator[Any]:
    while True:
        yield from items


@given(
    steps=st.lists(STEPS, max_size=25),
    drains=st.lists(DRAINS, min_size=1, max_size=6),
    algorithm=st.sampled_from(ALGORITHMS),
)
def test_drained_events_are_the_immediate_ones(
    shop_text: str, steps: list[tuple[Any, ...]], drains: list[list[tuple[str, int]]], algorithm: str
) -> None:
    immediate = Driven(shop_text, hash_algorithm=algorithm)
    deferred = Driven(shop_text, tracing="deferred", hash_algorithm=algorithm)
    drainer = Drainer(deferred.resolver)
    moves = cycle(drains)
    for step in [("create", "agent-1", None), ("resolve", 0, "look around", "low"), *steps]:
        immediate.step(*step)
        deferred.step(*step)
        drainer.moves(next(moves))
    assert deferred.given == immediate.given
    immediate.resolver.close()
    deferred.resolver.close()
    drainer.rest()
    expected = lines_of(immediate.resolver._storage)
    assert lines_of(drainer.storage) == expected
    assert len(expected) >= 1
    for text in expected.values():
        assert verify_lines(text.splitlines(keepends=True)).valid


@given(
    steps=st.lists(STEPS, max_size=15),
    flushes=st.lists(st.booleans(), min_size=1, max_size=5),
    algorithm=st.sampled_from(ALGORITHMS),
)
def test_events_of_a_processor_are_the_immediate_ones(
    shop_text: str, steps: list[tuple[Any, ...]], flushes: list[bool], algorithm: str
) -> None:
    storage = MemoryStorage()
    immediate = Driven(shop_text, hash_algorithm=algorithm)
    deferred = Driven(shop_text, tracing="deferred", storage=storage, hash_algorithm=algorithm)
    flush_now = cycle(flushes)
    for step in [("create", "agent-1", None), ("resolve", 0, "look around", "low"), *steps]:
        immediate.step(*step)
        deferred.step(*step)
        if next(flush_now):
            deferred.resolver.flush_traces()
    immediate.resolver.close()
    deferred.resolver.close()
    assert deferred.given == immediate.given
    assert lines_of(storage) == lines_of(immediate.resolver._storage)
