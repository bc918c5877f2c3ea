"""Strategies of the fuzz tests: any JSON, and valid documents and bytes that were broken."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from cra_wasm import CRAError

from .building import action, block, manifest, policy

MOST_SECONDS = 100 if sys.platform == "emscripten" else 10
"""Of CPU time for one call: hundreds of times what it takes, short of what anybody calls hanging. Emscripten
has no CPU time, only the clock on the wall of a busy machine."""

TEXTS = st.text(st.characters(), max_size=6)
"""Half surrogate pairs, NUL and U+001F among them."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers().map(lambda number: number * 10**40)
    | st.floats()
    | TEXTS
    | st.sampled_from(
        ["", "*", "~", "/", "\ud800", "\x00", "x" * 2000, "a.b", "2024-12-28T12:00:00Z", 2**53, -0.0]
    )
)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def small_shop() -> dict[str, Any]:
    """An atlas that loads in a millisecond, for tests that load one with each example."""
    block_ = block("b", keywords=["refund"], conditions={"context_matches": {"region": "e*"}})
    return manifest(
        actions=[
            action("order.read", parameters_schema={"type": "object"}),
            action("order.refund", risk_tier="high"),
        ],
        capabilities=[{"capability_id": "orders", "name": "Orders", "actions": ["order.read"]}],
        policies=[policy("p", "allow"), policy("q", "require_approval", actions=["*.refund"])],
        context_blocks=[block_],
    )


def _deep(value: Any) -> Any:
    for _ in range(70):
        value = [value]
    return value


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return the container and the key of every value in a document, outermost first."""
    found: list[tuple[Any, Any]] = []
    containers = [document]
    for container in containers:
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                containers.append(container[key])
    return found


@st.composite
def broken(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """A document with up to four values replaced, removed, moved, renamed, doubled or buried."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 4))):
        places = _places(document)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        other, name = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["replace", "remove", "move", "rename", "double", "bury", "add"]))
        if kind == "remove":
            del container[key]
        elif kind == "move":
            container[key] = copy.deepcopy(other[name])
        elif kind == "bury":
            container[key] = _deep(container[key])
        elif kind == "double" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif kind == "rename" and isinstance(container, dict):
            container[draw(TEXTS)] = container.pop(key)
        elif kind == "add" and isinstance(container, dict):
            container[draw(TEXTS)] = draw(ANY_JSON)
        else:
            container[key] = draw(ANY_JSON)
    return document


@st.composite
def broken_bytes(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with up to four changed, cut out, put in, repeated, or cut off at the end."""
    data = draw(originals)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 16, 300])))
        middle = draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [b"", b"\n", b"\r\n", b"\x1f", b'"', b"[" * 200, b"\xed\xa0\x80", data[start:end] * 2]
            )
        )
        data = data[:start] + middle + data[draw(st.sampled_from([end, end, end, len(data)])) :]
    return data


def tell(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or its CRAError, which must be sound; what else it raises comes out.

    A call may not take MOST_SECONDS either.
    """
    started = time.process_time()
    try:
        answer = call()
    except CRAError as error:
        json.dumps(error.to_dict(), allow_nan=False)
        assert error.code and error.message
        answer = error
    assert time.process_time() - started < MOST_SECONDS
    return answer
