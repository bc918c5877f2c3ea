"""How an answer tells an error: its code, where it points, and what else was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import CRAError, Json


def refusal_of(error: CRAError) -> dict[str, Json]:
    """Return {code, pointer, findings[]}, the parts of an error that are the protocol's."""
    told: dict[str, Json] = {"code": error.code}
    if "pointer" in error.details:
        told["pointer"] = error.details["pointer"]
    if "findings" in error.details:
        told["findings"] = findings_told(error.details["findings"])
    return told


def findings_told(findings: Iterable[Mapping[str, Json]]) -> list[Json]:
    """Return findings as {pointer, code}, with the file of a package, and without their messages."""
    return [{name: one[name] for name in ("file", "pointer", "code") if name in one} for one in findings]
