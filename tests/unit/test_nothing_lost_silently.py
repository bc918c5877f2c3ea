"""Whatever fills, drains and ends in whatever order: what a caller was told is on record is, exactly once and
in order; what is not, a gap counts."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BufferFull, CRAError, InvalidState, MemoryStorage, Resolver
from cra_wasm.model.ids import uuid_text
from cra_wasm.testing import FakeClock, SequentialIds
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.verify import verify_lines

CAPACITY = 48
RUNTIME = "the runtime"

small = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("create")),
    st.tuples(st.just("resolve"), small, st.sampled_from([5, 300, 3000]), st.sampled_from("aé")),
    st.tuples(st.just("emit"), small, st.sampled_from([0, 0, 0, 1500, 9000])),
    st.tuples(st.just("execute"), small, small, st.sampled_from(["item.list", "item.write", "item.delete"])),
    st.tuples(st.just("bad_goal"), small),
    st.tuples(st.just("bad_session")),
    st.tuples(st.just("end"), small),
    st.tuples(st.just("drain"), st.integers(1, 60)),
    st.tuples(st.just("drain"), st.integers(1, 60)),
    st.tuples(st.just("ack"), st.integers(0, 1)),
    st.tuples(st.just("ack"), st.integers(0, 1)),
)


class Book:
    """A small resolver, and for each session what must stand in its trace: names, and counts of the lost."""

    def __init__(self, shop_text: str, on_full: Any) -> None:
        self.resolver = Resolver(
            tracing="deferred", capacity=CAPACITY, on_full=on_full, clock=FakeClock(), ids=SequentialIds()
        )
        self.drops = on_full == "drop"
        self.resolver.load_atlas(shop_text)
        self.resolver.register_executor("item.list", lambda parameters: "ran")
        self.resolver.register_executor("item.write", self.flood)
        self.expected: dict[str, list[Any]] = defaultdict(list)
        self.sessions: list[str] = []
        self.resolutions: list[tuple[str, str, bool]] = []
        self.numbers = iter(range(1_000_000))
        self.executing = ""
        self.beyond = 0
        self.in_flight: list[int] = []
        self.storage = MemoryStorage()
        self.writer = ChainWriter(self.storage)
        self.create()

    def flood(self, parameters: Any) -> str:
        """Emit from inside of a call until something gives."""
        before = self.resolver.buffer_stats()
        for _ in range(CAPACITY):
            try:
                self._emit(self.executing, 0)
            except BufferFull:
                break
            if self.resolver.buffer_stats().dropped > before.dropped:
                break
        raise ValueError("😀" + "\0" * 499)

    def note(self, session_id: str, name: str | None, dropped_before: int) -> None:
        """Write down what a call left: a name, or how much was dropped."""
        lost = self.resolver.buffer_stats().dropped - dropped_before
        if lost:
            assert self.drops
            notes = self.expected[session_id]
            if notes and isinstance(notes[-1], int):
                notes[-1] += lost
            else:
                notes.append(lost)
        elif name is not None:
            self.expected[session_id].append(name)

    def create(self) -> None:
        session_id = self.resolver.create_session("agent-1", "goal")
        self.sessions.append(session_id)
        self.expected[session_id].append("started")

    def resolve(self, session: int, length: int, letter: str) -> None:
        session_id = self.pick(session)
        before = self.resolver.buffer_stats().dropped
        resolution = self.resolver.resolve(session_id, letter * length)
        recorded = self.resolver.buffer_stats().dropped == before
        self.note(session_id, resolution.resolution_id, before)
        self.resolutions.append((session_id, resolution.resolution_id, recorded))

    def emit(self, session: int, length: int) -> None:
        self._emit(self.pick(session), length)

    def _emit(self, session_id: str, length: int) -> None:
        before = self.resolver.buffer_stats().dropped
        raw = self.resolver.emit(session_id, "app.step", {"n": next(self.numbers), "v": "x" * length})
        assert (raw is None) == (self.resolver.buffer_stats().dropped > before)
        self.note(session_id, None if raw is None else uuid_text(raw.event_id(0)), before)

    def execute(self, session: int, resolution: int, action_id: str) -> None:
        session_id = self.pick(session)
        mine = [(name, recorded) for owner, name, recorded in self.resolutions if owner == session_id]
        if not mine:
            return
        resolution_id, recorded = mine[-1 - resolution % len(mine)]
        self.executing = session_id
        answer = self.resolver.execute(session_id, resolution_id, action_id, {})
        assert recorded
        self.beyond += 20  # the outcome's text over its reservation, and the gap before it
        name = "denied" if answer.status == "denied" else answer.execution_id
        self.note(session_id, name, self.resolver.buffer_stats().dropped)

    def bad_goal(self, session: int) -> None:
        self._fail(self.pick(session), lambda session_id: self.resolver.resolve(session_id, ""))

    def bad_session(self) -> None:
        self._fail(RUNTIME, lambda _: self.resolver.end_session("01940d23-3a00-7000-8000-0000ffff0001"))

    def _fail(self, session_id: str, call: Any) -> None:
        before = self.resolver.buffer_stats()
        with pytest.raises(CRAError):
            call(session_id)
        after = self.resolver.buffer_stats()
        self.beyond += session_id == RUNTIME
        told = after.refused == before.refused
        self.note(session_id, "error" if told else None, before.dropped)

    def end(self, session: int) -> None:
        if len(self.sessions) == 1:
            return
        session_id = self.pick(session)
        self.resolver.end_session(session_id)
        self.sessions.remove(session_id)
        self.beyond += 2
        self.expected[session_id].append("ended")

    def drain(self, max_events: int) -> None:
        batch = self.resolver.drain_traces(max_events)
        if batch.count:
            self.writer.write_batch(batch)
            self.in_flight.append(batch.batch_id)

    def ack(self, index: int) -> None:
        for batch_id in self.in_flight[index : index + 1]:
            assert self.resolver.ack(batch_id)
            self.in_flight.remove(batch_id)

    def pick(self, number: int) -> str:
        return self.sessions[-1 - number % len(self.sessions)]

    def step(self, name: str, *arguments: Any) -> None:
        before = self.resolver.buffer_stats()
        try:
            getattr(self, name)(*arguments)
        except BufferFull:
            assert not self.drops or name in ("create", "execute")
            assert self.resolver.buffer_stats().pushed == before.pushed
        except InvalidState as error:  # told to the session as any error
            assert (name, error.code) == ("execute", "resolution_unrecorded")
            after = self.resolver.buffer_stats()
            self.note(self.executing, "error" if after.refused == before.refused else None, before.dropped)
        after = self.resolver.buffer_stats()
        taken = after.pending_weight + after.in_flight_weight + after.reserved_weight
        assert taken <= CAPACITY + self.beyond
        assert after.pending + after.in_flight + after.acknowledged == after.pushed
        assert after.reserved_weight == 0
        assert after.refused >= before.refused
        assert after.dropped >= before.dropped

    def finish(self) -> None:
        while self.sessions:
            session_id = self.sessions.pop()
            self.resolver.end_session(session_id)
            self.expected[session_id].append("ended")
        if self.resolver._sessions._runtime is not None:
            self.expected[RUNTIME] = ["started", *self.expected[RUNTIME], "ended"]
        self.resolver.close()
        while self.resolver.buffer_stats().pending or self.in_flight:
            self.drain(7)
            self.ack(0)

    def found(self) -> dict[str, list[Any]]:
        """Return what the stored traces say, in the words of `expected`."""
        return {
            session_id if session_id in self.expected else RUNTIME: told(self.storage, session_id)
            for session_id in self.storage.sessions()
        }


def told(storage: MemoryStorage, session_id: str) -> list[Any]:
    words: list[Any] = []
    for event in storage.get_events(session_id):
        payload = json.loads(event.payload_json)
        if event.event_type == "trace.gap":
            assert payload == {**payload, "lost_at_most": payload["lost_count"], "cause": "buffer_full"}
            if words and isinstance(words[-1], int):
                words[-1] += payload["lost_count"]
            else:
                words.append(payload["lost_count"])
        elif event.event_type == "app.step":
            words.append(event.event_id)
        elif event.event_type == "carp.resolution.completed":
            words.append(payload["resolution_id"])
        elif event.event_type in ("action.executed", "action.failed"):
            words.append(payload["execution_id"])
        elif event.event_type == "action.denied":
            words.append("denied")
        elif event.event_type == "error.occurred":
            words.append("error")
        elif event.event_type.startswith("session."):
            words.append(event.event_type.removeprefix("session."))
    return words


@pytest.mark.parametrize("on_full", ["refuse", "drop"])
@given(steps=st.lists(STEPS, max_size=40))
def test_what_was_told_to_be_on_record_is_and_the_rest_is_counted(
    shop_text: str, on_full: str, steps: list[tuple[Any, ...]]
) -> None:
    book = Book(shop_text, on_full)
    for step in steps:
        book.step(*step)
    book.finish()
    found = book.found()
    assert found == {name: words for name, words in book.expected.items() if words}
    stats = book.resolver.buffer_stats()
    lost = [word for words in found.values() for word in words if isinstance(word, int)]
    assert sum(lost) == stats.dropped
    assert bool(stats.dropped) <= book.drops
    for session_id in book.storage.sessions():
        assert verify_lines(book.storage.iter_lines(session_id)).valid
