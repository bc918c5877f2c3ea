"""cra-wasm: decides in the page what an AI agent may do and know, and records it provably.

    from cra_wasm import Resolver

    resolver = Resolver()
    resolver.load_atlas(Path("customer-support.atlas.json"))
    session = resolver.create_session("my-agent", "answer tickets")
    resolution = resolver.resolve(session, "refund order 1234")

Names load on first use, so that `import cra_wasm` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .async_runtime import AsyncRuntime as AsyncRuntime
    from .errors import BackendFailure as BackendFailure
    from .errors import BufferFull as BufferFull
    from .errors import CRAError as CRAError
    from .errors import InvalidInput as InvalidInput
    from .errors import InvalidState as InvalidState
    from .errors import NotFound as NotFound
    from .model.atlas import Atlas as Atlas
    from .model.event import TraceEvent as TraceEvent
    from .model.request import CARPRequest as CARPRequest
    from .model.resolution import ExecuteResponse as ExecuteResponse
    from .model.resolution import Resolution as Resolution
    from .model.validation import ValidateResponse as ValidateResponse
    from .platform.event_loop_timers import EventLoopTimerBackend as EventLoopTimerBackend
    from .platform.minoots import MinootsTimerBackend as MinootsTimerBackend
    from .platform.thread_timers import StdTimerBackend as StdTimerBackend
    from .ports import StorageBackend as StorageBackend
    from .ports import TimerBackend as TimerBackend
    from .replay.replay import replay_trace as replay_trace
    from .resolver import Resolver as Resolver
    from .signing.storage import SigningStorage as SigningStorage
    from .storage.jsonl import JsonlStorage as JsonlStorage
    from .storage.memory import MemoryStorage as MemoryStorage
    from .storage.null import NullStorage as NullStorage
    from .storage.sqlite import SqliteStorage as SqliteStorage
    from .testing import MockTimerBackend as MockTimerBackend
    from .timing.config import HeartbeatConfig as HeartbeatConfig
    from .timing.config import SessionTTLConfig as SessionTTLConfig
    from .timing.manager import TimerManager as TimerManager
    from .trace.buffer import TraceRingBuffer as TraceRingBuffer
    from .trace.diff import diff_traces as diff_traces
    from .trace.golden import compare_golden as compare_golden
    from .trace.processor import TraceProcessor as TraceProcessor
    from .trace.raw import RawEvent as RawEvent
    from .trace.rebuilding import rebuild_state as rebuild_state
    from .trace.verdict import VerifyResult as VerifyResult
    from .trace.verify import verify_file as verify_file

__version__ = "0.1.0"

_HOME = {
    "AsyncRuntime": "async_runtime",
    "Atlas": "model.atlas",
    "BackendFailure": "errors",
    "BufferFull": "errors",
    "CARPRequest": "model.request",
    "CRAError": "errors",
    "EventLoopTimerBackend": "platform.event_loop_timers",
    "ExecuteResponse": "model.resolution",
    "HeartbeatConfig": "timing.config",
    "InvalidInput": "errors",
    "InvalidState": "errors",
    "JsonlStorage": "storage.jsonl",
    "MemoryStorage": "storage.memory",
    "MinootsTimerBackend": "platform.minoots",
    "MockTimerBackend": "testing",
    "NotFound": "errors",
    "NullStorage": "storage.null",
    "RawEvent": "trace.raw",
    "Resolution": "model.resolution",
    "Resolver": "resolver",
    "SessionTTLConfig": "timing.config",
    "SigningStorage": "signing.storage",
    "SqliteStorage": "storage.sqlite",
    "StdTimerBackend": "platform.thread_timers",
    "StorageBackend": "ports",
    "TimerBackend": "ports",
    "TimerManager": "timing.manager",
    "TraceEvent": "model.event",
    "TraceProcessor": "trace.processor",
    "TraceRingBuffer": "trace.buffer",
    "ValidateResponse": "model.validation",
    "VerifyResult": "trace.verdict",
    "compare_golden": "trace.golden",
    "diff_traces": "trace.diff",
    "rebuild_state": "trace.rebuilding",
    "replay_trace": "replay.replay",
    "verify_file": "trace.verify",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
