"""Where an answer differs from what was expected: the first place, for people.

A string in angle brackets stands for all texts of a form: `<uuid>`, `<uuid7>`, `<timestamp>`, `<hash>`,
`<text>`, or for anything at all: `<any>`. Numbers are equal by value, and true is not 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from ..errors import Json

_FORMS: Final = {
    "<uuid>": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "<uuid7>": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    "<timestamp>": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"),
    "<hash>": re.compile(r"[0-9a-f]{64}"),
    "<text>": re.compile(r".+", re.DOTALL),
}
_SHOWN_CHARS: Final = 200
ABSENT: Final = "<absent>"
"""Expected of a member that must not stand there."""


def difference(expected: Json, actual: Json, *, whole: bool = True, pointer: str = "") -> str | None:
    """Return what is wrong with `actual`; None when it is as expected.

    Args:
        whole: whether an object may have no other members than those expected. Lists are always whole.
    """
    return next(_differences(expected, actual, whole, pointer), None)


def _differences(expected: Json, actual: Json, whole: bool, pointer: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from _members(expected, actual, whole, pointer)
    elif isinstance(expected, list) and isinstance(actual, list):
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from _differences(one, other, whole, f"{pointer}/{index}")
        if len(expected) != len(actual):
            yield f"`{pointer}` has {len(actual)} entries, expected {len(expected)}"
    elif not _equal(expected, actual):
        yield f"`{pointer}` is {shown(actual)}, expected {shown(expected)}"


def _members(expected: dict[str, Json], actual: dict[str, Json], whole: bool, pointer: str) -> Iterator[str]:
    for name, one in expected.items():
        place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if one == ABSENT:
            if name in actual:
                yield f"`{place}` stands there, expected it not to"
        elif name not in actual:
            yield f"`{place}` is missing, expected {shown(one)}"
        else:
            yield from _differences(one, actual[name], whole, place)
    if whole and (more := sorted(actual.keys() - expected.keys())):
        yield f"`{pointer}` has members that nobody expected: {shown(more)}"


def _equal(expected: Json, actual: Json) -> bool:
    if isinstance(expected, str):
        if expected == "<any>":
            return True
        form = _FORMS.get(expected)
        if form is not None:
            return isinstance(actual, str) and form.fullmatch(actual) is not None
        return isinstance(actual, str) and actual == expected
    if expected is None or isinstance(expected, bool):
        return actual is expected
    if isinstance(expected, int | float):
        return isinstance(actual, int | float) and not isinstance(actual, bool) and actual == expected
    return False


def shown(value: Json) -> str:
    """Return a value as JSON for a message, cut."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
