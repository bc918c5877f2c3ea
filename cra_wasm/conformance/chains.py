"""Areas `hash-chain` and `profile`: the hash of one event, and the verdict on a whole trace."""

from __future__ import annotations

import io
from typing import Final

from ..errors import Json
from ..hashing import new
from ..trace.chain import event_preimage
from ..trace.reader import read_lines
from ..trace.verify import verify_lines
from .case import HashInput, ProfileInput, TraceInput

_VERDICT: Final = ("valid", "events", "error", "error_at", "head", "algorithm", "warnings")
_OF_PROFILE: Final = (*_VERDICT, "profile", "protects_boundaries")


def answer_chain(question: HashInput | TraceInput) -> Json:
    """Answer an event's preimage and hash, or what the verification of a trace finds.

    Raises:
        BackendFailure: `hash_unavailable`.
    """
    if isinstance(question, HashInput):
        preimage = event_preimage(**question.event.model_dump())
        return {
            "preimage": preimage.decode(),
            "event_hash": new(question.algorithm, preimage).hexdigest(),
        }
    return verdict_on(_bytes_of(question))


def answer_profile(question: ProfileInput) -> Json:
    """Answer what the verification by a profile finds, its warnings sorted.

    Raises:
        InvalidInput: `unknown_profile`.
    """
    lines = read_lines(io.BytesIO(_bytes_of(question)))
    verdict = verify_lines(lines, question.profile).to_dict()
    return {**{name: verdict[name] for name in _OF_PROFILE}, "warnings": sorted(verdict["warnings"])}


def verdict_on(trace: bytes) -> dict[str, Json]:
    """Return the protocol's verdict, without the message for people."""
    verdict = verify_lines(read_lines(io.BytesIO(trace))).to_dict()
    return {name: verdict[name] for name in _VERDICT}


def _bytes_of(question: TraceInput) -> bytes:
    if question.hex is not None:
        return bytes.fromhex(question.hex)
    if question.text is not None:
        return question.text.encode()
    return "".join(f"{line}\n" for line in question.lines or ()).encode()
