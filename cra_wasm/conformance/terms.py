"""The words that cases and their steps share (specs/conformance/README.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import StringConstraints

from ..model.atlas import Strict

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=50)]
Moment: TypeAlias = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$",
    ),
]
Extension: TypeAlias = Literal["blake3", "foreign-profiles"]
"""What an implementation may leave out, and with it the cases that require it."""

Algorithm: TypeAlias = Literal["sha256", "blake3"]

DEFAULT_CLOCK: Final = "2024-12-28T12:00:00Z"
"""A Saturday."""


class Refusal(Strict):
    """An error that the protocol prescribes: its code, and where it is told the pointer of the culprit.

    `pointers` are those of all findings, in any order. `finding` is the code of the first, `file` the file of
    a package that it is in.
    """

    code: str
    pointer: str | None = None
    pointers: tuple[str, ...] | None = None
    finding: str | None = None
    file: str | None = None
