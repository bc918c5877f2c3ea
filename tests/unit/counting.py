"""Counts what a call does, in bytecode operations: the same number on each run, however busy the machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

NAME = "cra_wasm tests"
OWN_TOOL_ID = 4
"""One of those that sys.monitoring leaves to anybody."""


def count_operations(function: Callable[[], Any]) -> int:
    """Return how many bytecode operations a call executes, in all functions it calls.

    What C code does by itself (hashing a tuple, searching a string) is not seen; a Python function that C
    code calls is. What others left to the garbage collector, finalizers and callbacks, is not counted either.
    """
    count = _count_by_tracing if sys.version_info < (3, 12) else _count_by_monitoring
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        return count(function)
    finally:
        if collecting:
            gc.enable()


def _count_by_tracing(function: Callable[[], Any]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def _count_by_monitoring(function: Callable[[], Any]) -> int:
    """Count in Python 3.12 and newer: 3.13's tracing misses what functions do that ran untraced before."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    instruction = monitoring.events.INSTRUCTION
    count = 0

    def see(code: object, offset: int) -> None:
        nonlocal count
        count += 1

    monitoring.use_tool_id(OWN_TOOL_ID, NAME)
    monitoring.register_callback(OWN_TOOL_ID, instruction, see)
    try:
        monitoring.set_events(OWN_TOOL_ID, instruction)
        try:
            function()
        finally:
            monitoring.set_events(OWN_TOOL_ID, monitoring.events.NO_EVENTS)
    finally:
        monitoring.register_callback(OWN_TOOL_ID, instruction, None)
        monitoring.free_tool_id(OWN_TOOL_ID)
    return count
