"""Collects what several checks refuse, where one call would stop at the first (PROTOCOL 2.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import CRAError, InvalidInput, InvalidState, NotFound
from ..model.parse import MAX_FINDINGS
from ..model.validation import Finding

_Checked = TypeVar("_Checked")


class Findings:
    """The refusals so far; `kept` are the first 100 of them, `total` counts all."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.total = 0

    def of(self, check: Callable[[], _Checked]) -> _Checked | None:
        """Make a check and return its result; None when it refused, which is then among the findings.

        A full buffer or a broken store is not the request's fault and is raised.
        """
        try:
            return check()
        except (InvalidInput, NotFound, InvalidState) as error:
            self.add(error)
            return None

    def add(self, error: CRAError) -> None:
        """Take in an error, with all findings of its own, under the error's code."""
        own = error.details.get("findings")
        if own is None:
            told = [Finding(error.details.get("pointer", ""), error.code, error.message)]
        else:
            told = [Finding(one["pointer"], error.code, one["message"]) for one in own]
        self.total += error.details.get("findings_total", len(told))
        self.kept += told[: MAX_FINDINGS - len(self.kept)]
