"""Verifies a chain by a recipe, and checks nothing that the recipe does not fix (PROTOCOL 3.10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from ...errors import Json
from ..reader import BadLine
from ..verdict import VerifyError, VerifyResult
from .lexemes import read_members


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEvent:
    """What a recipe makes of one line. `sequence` is its decimal text; `preimage` is what is hashed."""

    sequence: str
    session_id: Json
    event_type: Json
    previous_event_hash: Json
    event_hash: str
    preimage: bytes
    has_unhashed_members: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one kind of writer hashes.

    `read` raises BadLine, or UnicodeEncodeError for text that has no UTF-8. `genesis` is the previous hash of
    the first event, None where it has none. `ends_sessions` says whether another session and what follows
    session.ended break the chain, as in the project's own traces.
    """

    name: str
    read: Callable[[Mapping[str, Json]], ForeignEvent]
    first_sequence: int
    genesis: str | None
    protects_boundaries: bool
    ends_sessions: bool


def text_of(members: Mapping[str, Json], name: str) -> str:
    """Return a member that the recipe needs as text.

    Raises:
        BadLine: `bad_field` when it is absent or something else.
    """
    value = members.get(name)
    if type(value) is not str:
        raise BadLine("bad_field")
    return value


class ForeignChain:
    """What was verified so far by one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._events = 0
        self._last: ForeignEvent | None = None
        self._error: VerifyError | None = None
        self._has_unhashed_members = False

    def take(self, line: bytes) -> bool:
        """Check the line that follows; False when it is bad."""
        try:
            event = self._recipe.read(read_members(line))
        except BadLine as bad:
            self._error = bad.error
        except UnicodeEncodeError:  # half a surrogate pair
            self._error = "bad_field"
        else:
            self._error = self._fault_of(event)
        return self._error is None

    def _fault_of(self, event: ForeignEvent) -> VerifyError | None:
        error = self._first_fault(event) if self._last is None else self._link_fault(event, self._last)
        if error is not None:
            return error
        if sha256(event.preimage).hexdigest() != event.event_hash:
            return "hash_mismatch"
        self._last = event
        self._events += 1
        self._has_unhashed_members |= event.has_unhashed_members
        return None

    def _first_fault(self, event: ForeignEvent) -> VerifyError | None:
        begins = event.sequence == str(self._recipe.first_sequence)
        return None if begins and event.previous_event_hash == self._recipe.genesis else "bad_genesis"

    def _link_fault(self, event: ForeignEvent, previous: ForeignEvent) -> VerifyError | None:
        if event.sequence != str(self._recipe.first_sequence + self._events):
            return "sequence_gap"
        if event.previous_event_hash != previous.event_hash:
            return "chain_broken"
        goes_on = previous.event_type != "session.ended" and event.session_id == previous.session_id
        return "chain_broken" if self._recipe.ends_sessions and not goes_on else None

    def result(self) -> VerifyResult:
        """Return the verdict on a trace that ends here."""
        last = self._last
        error = "bad_genesis" if self._error is None and last is None else self._error
        return VerifyResult(
            valid=error is None,
            events=self._events,
            error=error,
            error_at=None if error is None else self._events,
            message=None,
            head=None if last is None else last.event_hash,
            algorithm="sha256",
            warnings=() if error is not None or last is None else tuple(self._warnings(last)),
            profile=self._recipe.name,
            protects_boundaries=self._recipe.protects_boundaries,
        )

    def _warnings(self, last: ForeignEvent) -> list[str]:
        found = {
            "truncated": last.event_type != "session.ended",
            "unprotected_boundaries": not self._recipe.protects_boundaries,
            "unhashed_members": self._has_unhashed_members,
        }
        return [name for name, is_so in found.items() if is_so]
