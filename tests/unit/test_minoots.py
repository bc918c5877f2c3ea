"""Timers of a MINOOTS server: the plan in virtual time with every fault, the backend over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.errors import InvalidInput
from cra_wasm.platform.minoots import MinootsTimerBackend
from cra_wasm.platform.minoots_plan import NO_ANSWER, Answer, MinootsPlan
from cra_wasm.testing import FakeClock

from .fake_minoots import FakeMinoots, serve
from .timer_contract import CASES, TimerRig

MS = 1_000_000


class PlanRig:
    """A plan and a server in one virtual time; `pass_ms` makes the requests that come up meanwhile."""

    def __init__(self, server: FakeMinoots | None = None, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.server = server or FakeMinoots(lambda: self.clock.wall_ns() // MS)
        numbers = count()
        self.run = f"run {id(self)}"
        self.plan = MinootsPlan(
            "tenant",
            "tester",
            "owner",
            poll_ms=1_000,
            replay_ms=60_000,
            new_arming=lambda: f"{self.run} {next(numbers)}",
        )
        self.fired: list[tuple[str, str]] = []
        self.fired_at_ms: list[int] = []

    def step(self) -> bool:
        """Make one request, if there is one to make."""
        now_ns = self.clock.monotonic_ns()
        request = self.plan.next_request(now_ns)
        if request is None:
            return False
        body = b"" if request.body is None else json.dumps(request.body).encode()
        status, text = self.server.handle(request.method, request.path, "tenant", body)
        answer = Answer(status=status, body=text) if status else NO_ANSWER
        for fired in self.plan.take(request, answer, now_ns, self.clock.wall_ns() // MS):
            self.fired.append(fired)
            self.fired_at_ms.append(now_ns // MS)
        return True

    def pass_ms(self, delay_ms: int) -> None:
        end_ns = self.clock.monotonic_ns() + delay_ms * MS
        while True:
            for _ in range(1_000):
                if not self.step():
                    break
            else:
                raise AssertionError("it asks for ever without time passing")
            wait_ms = self.plan.wait_ms(self.clock.monotonic_ns())
            left_ns = end_ns - self.clock.monotonic_ns()
            if wait_ms is None or wait_ms * MS > left_ns:
                self.clock.advance_ns(left_ns)
                return
            self.clock.advance_ns(max(1, wait_ms) * MS)

    def schedule(self, timer_id: str, delay_ms: int, event: str = "x", *, repeating: bool = False) -> None:
        self.plan.schedule(timer_id, delay_ms, event, self.clock.monotonic_ns(), repeating=repeating)


@pytest.fixture
def rig() -> PlanRig:
    return PlanRig()


def test_one_get_finds_what_has_fired_of_all_timers(rig: PlanRig) -> None:
    for number in range(50):
        rig.schedule(f"t{number}", 5_000)
    rig.pass_ms(1_000)
    before = len(rig.server.requests)
    rig.pass_ms(5_000)
    assert len(rig.fired) == 50
    assert rig.server.requests[before:] == [("GET", "/timers")]


def test_nothing_is_asked_while_nothing_is_due(rig: PlanRig) -> None:
    rig.schedule("a", 3_600_000)
    rig.pass_ms(1_000)
    before = len(rig.server.requests)
    rig.pass_ms(3_500_000)
    assert len(rig.server.requests) == before
    idle = PlanRig()
    idle.pass_ms(60_000)
    assert idle.server.requests == [("GET", "/timers")]


def test_a_timer_that_the_server_reports_again_and_again_fires_once(rig: PlanRig) -> None:
    rig.server.report_twice = True
    rig.schedule("a", 1_000)
    rig.schedule("later", 5_000)
    rig.pass_ms(10_000)
    assert rig.fired == [("a", "x"), ("later", "x")]


def test_a_repeating_timer_is_armed_anew_and_keeps_its_rhythm_without_bursts(rig: PlanRig) -> None:
    rig.schedule("beat", 10_000, repeating=True)
    rig.pass_ms(35_000)
    assert len(rig.fired) == 3
    assert all(at % 10_000 < 1_100 for at in rig.fired_at_ms)
    rig.clock.advance(60)
    rig.pass_ms(1_000)
    assert len(rig.fired) == 4
    rig.pass_ms(10_000)
    assert len(rig.fired) == 5


def test_a_create_whose_answer_was_lost_makes_no_second_timer(rig: PlanRig) -> None:
    lost = iter(["lose"])
    rig.server.fault = lambda method, path: (
        next(lost, None) if (method, path) == ("POST", "/timers") else None
    )
    rig.schedule("a", 5_000)
    rig.pass_ms(20_000)
    assert rig.fired == [("a", "x")]
    assert len(rig.server.timers) == 1
    assert rig.plan.last_failure == "no_answer"


def test_a_timer_cancelled_while_it_is_made_is_cancelled_on_the_server(rig: PlanRig) -> None:
    rig.pass_ms(0)
    rig.schedule("a", 5_000)
    request = rig.plan.next_request(rig.clock.monotonic_ns())
    assert request is not None
    status, text = rig.server.handle("POST", request.path, "tenant", json.dumps(request.body).encode())
    assert rig.plan.cancel("a")
    rig.plan.take(request, Answer(status=status, body=text), rig.clock.monotonic_ns(), 0)
    rig.pass_ms(10_000)
    assert rig.fired == []
    assert rig.server.waiting() == []


def test_a_server_that_fails_is_asked_less_and_less_often_and_nothing_is_lost(rig: PlanRig) -> None:
    rig.schedule("a", 1_000)
    rig.server.fault = lambda method, path: 500
    rig.pass_ms(60_000)
    assert rig.fired == []
    assert 55 <= len(rig.server.requests) <= 70
    assert (rig.plan.last_failure, rig.plan.exists("a")) == ("http_500", True)
    rig.server.fault = lambda method, path: None
    rig.pass_ms(5_000)
    assert rig.fired == [("a", "x")]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_create_that_the_server_refuses_is_given_up_and_told(rig: PlanRig, status: int) -> None:
    rig.server.fault = lambda method, path: status if method == "POST" else None
    rig.schedule("a", 1_000)
    rig.pass_ms(10_000)
    assert not rig.plan.exists("a")
    assert (rig.plan.failures, rig.plan.last_failure) == (1, f"http_{status}")


@pytest.mark.parametrize("status", [400, 404])
def test_a_cancel_that_the_server_refuses_is_given_up(rig: PlanRig, status: int) -> None:
    rig.schedule("a", 60_000)
    rig.pass_ms(100)
    rig.server.fault = lambda method, path: status if path.endswith("/cancel") else None
    rig.plan.cancel("a")
    rig.pass_ms(1_000)
    assert not rig.plan.has_requests()


def test_a_timer_that_the_server_lost_is_made_again(rig: PlanRig) -> None:
    rig.schedule("a", 5_000)
    rig.pass_ms(100)
    rig.server.timers.clear()
    rig.pass_ms(20_000)
    assert rig.fired == [("a", "x")]


def test_a_timer_cancelled_on_the_server_is_gone_here_too(rig: PlanRig) -> None:
    rig.schedule("a", 5_000)
    rig.pass_ms(100)
    (timer,) = rig.server.timers.values()
    timer["status"] = "cancelled"
    rig.pass_ms(20_000)
    assert rig.fired == []
    assert not rig.plan.exists("a")


def test_a_restart_finds_the_timers_and_tells_what_fired_meanwhile(rig: PlanRig) -> None:
    rig.schedule("fires while away", 10_000, "one")
    rig.schedule("fires later", 30_000, "two")
    rig.schedule("beat", 15_000, "three", repeating=True)
    rig.pass_ms(1_000)
    rig.clock.advance(20)
    again = PlanRig(rig.server, rig.clock)
    again.pass_ms(2_000)
    assert sorted(again.fired) == [("beat", "three"), ("fires while away", "one")]
    assert again.plan.exists("fires later")
    again.pass_ms(8_000)
    assert ("fires later", "two") in again.fired
    again.pass_ms(12_000)
    assert again.fired.count(("beat", "three")) >= 2


def test_what_fired_long_before_the_start_is_not_told(rig: PlanRig) -> None:
    rig.schedule("old", 1_000)
    rig.pass_ms(100)
    rig.clock.advance(120)
    again = PlanRig(rig.server, rig.clock)
    again.pass_ms(10_000)
    assert again.fired == []


def test_timers_of_others_are_left_alone(rig: PlanRig) -> None:
    body = {"tenantId": "tenant", "requestedBy": "x", "duration": 1_000, "labels": {"cra_owner": "another"}}
    rig.server.handle("POST", "/timers", "tenant", json.dumps(body).encode())
    rig.schedule("a", 5_000)
    rig.pass_ms(10_000)
    assert rig.fired == [("a", "x")]
    assert [path for method, path in rig.server.requests if path.endswith("/cancel")] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1, null]",
        b"not json",
        b"\xff\xfe",
        b'[{"labels": {"cra_owner": "owner"}}]',
        b'[{"id": 7, "labels": {"cra_owner": "owner", "cra_timer": "a", "cra_event": "x",'
        b' "cra_arming": "z"}}]',
        b'[{"id": "i", "status": "fired", "fireAt": 5, "labels": {"cra_owner": "owner", "cra_timer": "a",'
        b' "cra_event": "x", "cra_arming": "z", "cra_interval_ms": "-1"}}]',
    ],
)
def test_an_answer_that_makes_no_sense_fires_nothing_and_stops_nothing(rig: PlanRig, body: bytes) -> None:
    request = rig.plan.next_request(0)
    assert request is not None
    assert rig.plan.take(request, Answer(status=200, body=body), 0, 0) == []
    rig.schedule("b", 1_000)
    rig.pass_ms(10_000)
    assert rig.fired == [("b", "x")]


FAULTS = st.lists(st.sampled_from([None, None, 500, 503, "lose", 404, 302]), max_size=40)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5_000), st.booleans()), min_size=1, max_size=8),
    FAULTS,
)
def test_whatever_the_server_does_each_timer_fires_exactly_once_and_never_early(
    timers: list[tuple[str, int, bool]], faults: list[Any]
) -> None:
    rig = PlanRig()
    script = iter(faults)

    def fault(method: str, path: str) -> int | str | None:
        chosen = next(script, None)
        # A create that is refused is given up; that is a test of its own.
        return None if chosen in (404, 302) and path == "/timers" and method == "POST" else chosen

    rig.server.fault = fault
    due: dict[str, int] = {}
    for timer_id, delay_ms, cancelled in timers:
        rig.schedule(timer_id, delay_ms)
        due[timer_id] = rig.clock.monotonic_ns() // MS + delay_ms
        if cancelled:
            rig.plan.cancel(timer_id)
            del due[timer_id]
        rig.pass_ms(3)
        for fired_id, _ in rig.fired:
            due.pop(fired_id, None)
    rig.fired.clear()
    rig.fired_at_ms.clear()
    rig.pass_ms(120_000)
    assert sorted(timer_id for timer_id, _ in rig.fired) == sorted(due)
    for (timer_id, _), at_ms in zip(rig.fired, rig.fired_at_ms, strict=True):
        assert at_ms >= due[timer_id]
    assert rig.server.waiting() == []


# Over real HTTP


@pytest.fixture
def served() -> Iterator[tuple[FakeMinoots, str]]:
    fake = FakeMinoots(lambda: time.time_ns() // MS)
    server = serve(fake)
    yield fake, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def new_backend(address: str, **options: Any) -> MinootsTimerBackend:
    return MinootsTimerBackend(
        address, tenant_id="tenant", requested_by="tester", **{"poll_ms": 10, **options}
    )


async def wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, "it never came"
        await asyncio.sleep(0.002)


@pytest.mark.cpython_only(reason="there are no threads and no sockets inside Pyodide")
@pytest.mark.parametrize("case", CASES)
def test_the_server_s_timers_keep_the_contract(served: tuple[FakeMinoots, str], case: str) -> None:
    backend = new_backend(served[1])
    try:
        asyncio.run(CASES[case](TimerRig(backend, wait, 150, "minoots")))
    finally:
        backend.close()


FAULTY: dict[str, Any] = {
    "every second request fails": lambda number: 500 if number % 2 else None,
    "every third answer is lost": lambda number: None if number % 3 else "lose",
    "the first five are redirected": lambda number: 302 if number < 5 else None,
}


@pytest.mark.cpython_only(reason="there are no threads and no sockets inside Pyodide")
@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_server_makes_firings_late_but_not_double(
    served: tuple[FakeMinoots, str], name: str
) -> None:
    fake, address = served
    numbers = count()
    fake.fault = lambda method, path: FAULTY[name](next(numbers))
    fake.report_twice = True
    backend = new_backend(address)
    fired: list[tuple[str, str]] = []
    backend.listen(lambda timer_id, event: fired.append((timer_id, event)))
    for number in range(5):
        backend.schedule_once(f"t{number}", 20, "x")
    asyncio.run(wait(lambda: len(fired) >= 5))
    backend.close()
    assert sorted(fired) == [(f"t{number}", "x") for number in range(5)]
    assert backend.failures > 0


@pytest.mark.cpython_only(reason="there are no threads and no sockets inside Pyodide")
def test_a_server_that_is_not_there_is_a_failure_that_is_counted(served: tuple[FakeMinoots, str]) -> None:
    backend = new_backend("http://127.0.0.1:9")
    backend.schedule_once("a", 1, "x")
    asyncio.run(wait(lambda: backend.failures > 2))
    assert backend.last_failure == "no_answer"
    assert backend.exists("a")
    backend.close()


@pytest.mark.cpython_only(reason="there are no threads and no sockets inside Pyodide")
def test_closing_tells_the_server_of_what_was_cancelled_and_leaves_the_rest(
    served: tuple[FakeMinoots, str],
) -> None:
    fake, address = served
    backend = new_backend(address)
    backend.schedule_once("stays", 60_000, "x")
    backend.schedule_once("goes", 60_000, "x")
    asyncio.run(wait(lambda: len(fake.waiting()) == 2))
    backend.cancel("goes")
    backend.close()
    assert fake.waiting() == ["stays"]


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"base_url": "ftp://x"}, "/base_url"),
        ({"base_url": "http://user:word@x"}, "/base_url"),
        ({"base_url": "http://x/?a=1"}, "/base_url"),
        ({"base_url": "http://x:99999"}, "/base_url"),
        ({"base_url": "http://a b"}, "/base_url"),
        ({"base_url": None}, "/base_url"),
        ({"tenant_id": ""}, "/tenant_id"),
        ({"tenant_id": "a\nb"}, "/tenant_id"),
        ({"requested_by": 5}, "/requested_by"),
        ({"owner": "x" * 101}, "/owner"),
        ({"poll_ms": 0}, "/poll_ms"),
        ({"replay_ms": -1}, "/replay_ms"),
        ({"request_ms": True}, "/request_ms"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], pointer: str) -> None:
    given_options = {"base_url": "http://127.0.0.1", "tenant_id": "t", "requested_by": "r", **options}
    base_url = given_options.pop("base_url")
    with pytest.raises(InvalidInput) as refused:
        MinootsTimerBackend(base_url, **given_options)
    assert (refused.value.code, refused.value.details["pointer"]) == ("invalid_minoots", pointer)
