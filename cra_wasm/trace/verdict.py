"""What a verification found, under whichever profile (PROTOCOL 3.4 and 3.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import Json
from .reader import LineError

CheckpointError = Literal[
    "checkpoint_malformed",
    "checkpoint_signature_invalid",
    "checkpoint_key_unpinned",
    "checkpoint_other_session",
    "checkpoint_beyond_end",
    "checkpoint_mismatch",
]
VerifyError = (
    LineError | Literal["bad_genesis", "sequence_gap", "chain_broken", "hash_mismatch"] | CheckpointError
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What a verification found.

    `events` counts the events that verified, so it is also `error_at`, the 0-based line of the first bad
    one, when there is one; a checkpoint's error has none. `message` says for people what the term in `error`
    leaves open, mostly nothing.
    `head` is the hash of the last event that verified, None when there is none. `algorithm` is the chain's
    hash, None where the first line tells none that is known. `profile` is the recipe by which it was
    verified, and `protects_boundaries` whether that recipe's hash keeps two different events apart.
    `warnings` has what a valid trace still leaves open, and is empty when there is an error:

        truncated                the last event is not session.ended: later ones may be missing
        unprotected_boundaries   other fields or keys could have the same hashes
        unhashed_members         events have members that the profile's hash does not cover
    """

    valid: bool
    events: int
    error: VerifyError | None
    error_at: int | None
    message: str | None
    head: str | None
    algorithm: str | None
    warnings: tuple[str, ...]
    profile: str = "jcs"
    protects_boundaries: bool = True

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as the JSON that `cra-wasm verify --json` prints."""
        return {
            "valid": self.valid,
            "events": self.events,
            "error": self.error,
            "error_at": self.error_at,
            "message": self.message,
            "head": self.head,
            "algorithm": self.algorithm,
            "warnings": list(self.warnings),
            "profile": self.profile,
            "protects_boundaries": self.protects_boundaries,
        }


class LineVerifier(Protocol):
    """Verifies a trace line by line, whatever its profile. It holds one event at a time."""

    def take(self, line: bytes) -> bool:
        """Check the line that follows, with its line feed; False when it is bad: then take no more."""
        ...

    def result(self) -> VerifyResult:
        """Return the verdict on a trace that ends here."""
        ...
