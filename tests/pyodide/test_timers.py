"""Timers on JavaScript's event loop: the contract of all backends, and that nothing of them stays behind."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UNIT = Path(__file__).resolve().parents[1] / "unit"
CONTRACT = (UNIT / "timer_contract.py").read_text()

RUN_CASES = """
import asyncio, pathlib, sys, time
pathlib.Path("/tmp/timer_contract.py").write_text({contract!r})
sys.path.insert(0, "/tmp")
import timer_contract
{imports}

async def wait(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "it never came"
        await asyncio.sleep(0.003)

passed = []
for name, case in timer_contract.CASES.items():
    backend = {make}
    try:
        await case(timer_contract.TimerRig(backend, wait, {step_ms}, backend.name))
    except BaseException as error:
        raise AssertionError(f"{{name}}: {{error!r}}") from error
    finally:
        backend.close()
    passed.append(name)
passed
"""


@pytest.fixture
def pyodide(selenium_module_scope: Any) -> Any:
    selenium_module_scope.load_package("cra-wasm")
    return selenium_module_scope


def test_javascript_s_event_loop_keeps_the_contract(pyodide: Any) -> None:
    imports = "from cra_wasm.platform.event_loop_timers import EventLoopTimerBackend"
    make = "EventLoopTimerBackend()"
    passed = pyodide.run_async(RUN_CASES.format(contract=CONTRACT, imports=imports, make=make, step_ms=25))
    assert len(passed) >= 14


@pytest.fixture
def minoots_address() -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("fake_minoots", UNIT / "fake_minoots.py")
    assert spec is not None and spec.loader is not None
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    server = fake.serve(fake.FakeMinoots(lambda: time.time_ns() // 1_000_000))
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_minoots_server_asked_by_fetch_keeps_the_contract(pyodide: Any, minoots_address: str) -> None:
    imports = "from itertools import count\nfrom cra_wasm.platform.minoots import MinootsTimerBackend\n"
    imports += "owners = count()"
    make = f"MinootsTimerBackend({minoots_address!r}, tenant_id='t', requested_by='r', poll_ms=20,"
    make += " owner=f'owner {next(owners)}')"
    passed = pyodide.run_async(RUN_CASES.format(contract=CONTRACT, imports=imports, make=make, step_ms=200))
    assert len(passed) >= 14


COUNT_CYCLES = """
const proxies = pyodide._module.pyproxy_alloc_map;
pyodide._module.enable_pyproxy_allocation_tracing();
const cycles = pyodide.runPython(`
import gc, tracemalloc
from cra_wasm.platform.event_loop_timers import EventLoopTimerBackend

def cycles(count):
    backend = EventLoopTimerBackend()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        backend.schedule_once(f"t{number}", 60_000, "")
        assert backend.cancel(f"t{number}")
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    backend.close()
    return grown

cycles`);
cycles(10);
const before = [proxies.size, pyodide._module.HEAP8.length];
const grown = cycles(10000);
const after = [proxies.size, pyodide._module.HEAP8.length];
cycles.destroy();
pyodide._module.disable_pyproxy_allocation_tracing();
return { before, after, grown };
"""


def test_ten_thousand_timers_that_come_and_go_leave_no_proxy_and_no_bytes(pyodide: Any) -> None:
    found = pyodide.run_js(COUNT_CYCLES)
    assert found["after"] == found["before"]
    assert found["grown"] < 10_000


RUN_SESSION = """
const bridge = pyodide.pyimport("cra_wasm.bridge");
const call = (name, ...args) => JSON.parse(bridge[name](...args));
call("close");
const configured = call("configure", JSON.stringify({
  heartbeat: { interval_seconds: 1 },
  session_ttl: { idle_timeout_seconds: 1, max_lifetime_seconds: null },
}));
const again = call("configure", "{}").error.code;
const { session_id: session } = call("create_session", "agent", "wait");
const started = call("statistics").clock;
const until = performance.now() + 30_000;
let ended = started;
while ((ended.heartbeats < 2 || ended.sessions_timed_out < 1) && performance.now() < until) {
  await new Promise((done) => setTimeout(done, 10));
  ended = call("statistics").clock;
}
const refused = call("resolve", session, "go on").error.code;
const batch = bridge.drain_traces(100);
const text = new TextDecoder().decode(batch.bytes);
call("close");
return {
  configured, again, started, ended, refused,
  types: ["runtime.heartbeat", "session.ended"].map((type) => text.split(type).length - 1),
  beats: ended.heartbeats,
};
"""


def test_the_bridge_s_runtime_ends_an_idle_session_and_beats(pyodide: Any) -> None:
    found = pyodide.run_js(RUN_SESSION)
    assert found["configured"]["session_ttl"]["idle_timeout_seconds"] == 1
    assert found["again"] == "runtime_started"
    assert found["started"]["timers"]["tracked"] == 1
    assert found["ended"]["sessions_timed_out"] == 1
    assert found["ended"]["timers"]["tracked"] == 0
    assert found["refused"] == "session_ended"
    assert found["types"] == [found["beats"], 1]
    assert found["beats"] >= 2


@pytest.mark.parametrize(
    ("options", "code", "pointer"),
    [
        ("[]", "invalid_arguments", ""),
        ('{"timers": 1}', "invalid_arguments", "/timers"),
        ('{"heartbeat": 5}', "invalid_heartbeat", "/heartbeat"),
        ('{"heartbeat": {"interval_seconds": 0}}', "invalid_heartbeat", "/heartbeat/interval_seconds"),
        ('{"heartbeat": {"interval": 1}}', "invalid_heartbeat", "/heartbeat/interval"),
        (
            '{"session_ttl": {"idle_warning_seconds": 9, "idle_timeout_seconds": 9}}',
            "invalid_session_ttl",
            "/session_ttl/idle_warning_seconds",
        ),
    ],
)
def test_options_that_are_none_are_refused_with_the_culprit(
    pyodide: Any, options: str, code: str, pointer: str
) -> None:
    error = pyodide.run_js(
        f'const bridge = pyodide.pyimport("cra_wasm.bridge"); bridge.close();'
        f"return JSON.parse(bridge.configure({options!r})).error;"
    )
    assert (error["code"], error["details"]["pointer"]) == (code, pointer)


def test_async_runtime_serves_many_agents_here_too(pyodide: Any) -> None:
    counted = pyodide.run_async(
        """
        import asyncio
        from cra_wasm import AsyncRuntime, NullStorage

        async def main():
            async with AsyncRuntime(storage=NullStorage(), capacity=64) as runtime:
                async def agent(number):
                    session_id = await runtime.create_session(f"agent-{number}", "work")
                    for _ in range(10):
                        await runtime.resolve(session_id, "look")
                    await runtime.end_session(session_id)
                await asyncio.gather(*(agent(number) for number in range(50)))
                await runtime.flush_traces()
                return runtime.buffer_stats().acknowledged, runtime.buffer_stats().refused > 0

        list(await main())
        """
    )
    # Without an atlas a resolve is received and completed: 50 x (start, 10 x 2, end).
    assert counted == [50 * 22, True]
