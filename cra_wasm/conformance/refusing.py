"""How an answer tells an error: its code, where it points, and what else was found."""

from __future__ import annotations

from ..errors import CRAError, Json


def refusal_of(error: CRAError) -> dict[str, Json]:
    """Return {code, pointer, findings[{pointer, code}]}, the parts of an error that are the protocol's."""
    told: dict[str, Json] = {"code": error.code}
    if "pointer" in error.details:
        told["pointer"] = error.details["pointer"]
    if "findings" in error.details:
        told["findings"] = [
            {"pointer": one["pointer"], "code": one["code"]} for one in error.details["findings"]
        ]
    return told
