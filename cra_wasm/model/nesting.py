"""How deep JSON text nests and how many values it holds, told without parsing it."""

from __future__ import annotations

import re
from typing import Final

# Possessive, so that no text makes it backtrack; a string that is never closed reaches to the end.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_BEFORE_VALUE: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)


def nests_deeper(text: str, limit: int) -> bool:
    """Tell whether arrays and objects in `text` nest deeper than `limit`, in linear time.

    To be asked before json.loads gets text from outside: CPython answers 200,000 open brackets with a
    RecursionError, but in Pyodide they overflow the engine's stack, which ends the whole interpreter.
    Text that is no JSON gets an answer too: brackets outside of what looks like strings are counted.
    """
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > limit:
                return True
        elif first != '"':
            depth -= 1
    return False


def holds_more_values(text: str, limit: int) -> bool:
    """Tell whether JSON text may hold more than `limit` values, in linear time.

    Each value but the outermost follows a bracket or a comma. Empty arrays and objects count twice.
    """
    if text.count(",") + text.count("[") + text.count("{") < limit:
        return False
    values = 1
    for token in _BEFORE_VALUE.finditer(text):
        if text[token.start()] != '"':
            values += 1
            if values > limit:
                return True
    return values > limit
