"""Every error of cra-wasm: one tree, stable codes, a pointer to the culprit.

    CRAError
    |- InvalidInput   (also ValueError)   what the caller gave breaks a rule; nothing was changed
    |- NotFound       (also LookupError)  the named session, resolution, atlas, ... is not here
    |- InvalidState                       the call does not fit the state of the thing it was made on
    |- BufferFull                         the trace buffer has no room: drain it, then call again
    `- BackendFailure                     storage, hashing or the platform failed below us

A denial is a value (`ExecuteResponse.status == "denied"`), never one of these. Codes are listed in
specs/PROTOCOL.md and cross into JavaScript unchanged.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value of JSON: None, bool, int, float, str, list or dict with str keys."""


class CRAError(Exception):
    """An error with a stable `code`, a `message` for people and `details` for programs.

    Args:
        code: lower-case identifier that callers may match on; never changes meaning.
        message: what went wrong and what to do next; may change at any time.
        pointer: JSON Pointer (RFC 6901) of the culprit in the caller's input; lands in `details`.
        details: further JSON values.
    """

    def __init__(self, code: str, message: str, *, pointer: str | None = None, **details: Json) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        if pointer is not None:
            details["pointer"] = pointer
        self.details: dict[str, Json] = details

    def to_dict(self) -> dict[str, Json]:
        """Return `{"code", "message", "details"}`, the form in which errors cross into JavaScript."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidInput(CRAError, ValueError):
    """The caller's input breaks a rule; `details["pointer"]` names the culprit."""


class NotFound(CRAError, LookupError):
    """The named thing is not here (any more)."""


class InvalidState(CRAError):
    """The call does not fit the present state; the message says what to do first."""


class BufferFull(CRAError):
    """The trace buffer cannot take the events of this call, so the call was refused whole."""


class BackendFailure(CRAError):
    """Something below failed: the store, a hash, the platform."""
