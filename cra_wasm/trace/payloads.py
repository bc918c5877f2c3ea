"""Reads members of payloads that anyone may have written: one of the wrong kind counts as absent.

A chain that verifies proves that a payload is what was hashed, not that its writer kept to the table of
PROTOCOL 3.1.
"""

from __future__ import annotations

from ..errors import Json


def text_in(payload: dict[str, Json], name: str) -> str | None:
    """Return a member that is text."""
    value = payload.get(name)
    return value if isinstance(value, str) else None


def texts_in(payload: dict[str, Json], name: str) -> list[str]:
    """Return the texts in a member that is a list."""
    value = payload.get(name)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def whole_number_in(payload: dict[str, Json], name: str) -> int | None:
    """Return a member that is a whole number."""
    value = payload.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
