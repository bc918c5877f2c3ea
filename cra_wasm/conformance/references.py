"""References in steps: `$NAME/pointer` stands for a member of the answer of the step that has that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import Json

_REFERENCE: Final = re.compile(r"\$([a-z][a-z0-9_]*)((?:/[^/]*)*)")
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")


class NoSuchAnswer(Exception):
    """A reference leads nowhere."""


def with_answers(value: Json, answers: Mapping[str, Json]) -> Json:
    """Return a value with what its references stand for.

    Raises:
        NoSuchAnswer: no step was named so, or its answer has no such member.
    """
    if isinstance(value, str) and value.startswith("$"):
        return _look_up(value, answers)
    if isinstance(value, list | tuple):
        return [with_answers(one, answers) for one in value]
    if isinstance(value, dict):
        return {name: with_answers(one, answers) for name, one in value.items()}
    return value


def _look_up(reference: str, answers: Mapping[str, Json]) -> Json:
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] not in answers:
        raise NoSuchAnswer(f"`{reference}` names no earlier answer")
    value = answers[match[1]]
    for token in match[2].split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise NoSuchAnswer(f"`{reference}` leads nowhere in its answer")
    return value
