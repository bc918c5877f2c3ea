"""Checkpoints and what witnesses told, against the trace that they are of (PROTOCOL 3.19)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from ..errors import InvalidInput, Json, NotFound
from ..model.ids import is_uuid_text
from ..model.parse import parse_json
from ..ports import VerifySignature
from .checkpoint import Checkpoint, VerifierKey, parse_entry, parse_note, parse_vkey
from .formats import HASH
from .reader import BadLine, read_event
from .verdict import CheckpointError, VerifyResult
from .verify import verify_lines

Strength = Literal["chain", "signed", "signed-pinned", "witnessed"]

MAX_WITNESSED: Final = 100_000
"""Lines of a witness's answer, of all sessions."""

_HASH: Final = re.compile(HASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A size and a head (lower-case hex) that a witness told; no algorithm where it told none."""

    session_id: str
    size: int
    head: str
    algorithm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVerdict:
    """A verdict on a trace, and how strong it is.

    `strength` is the strongest that holds: a chain alone; checkpoints signed by the key that came with them;
    by a key that the verifier brought; sizes and heads that a witness told. `checkpoints` counts those that
    held, and `covered` is the largest size that one of them or a witness told: what is behind it is only
    chained. More warnings: `unwitnessed` (the witness knows nothing of this session).
    """

    result: VerifyResult
    strength: Strength = "chain"
    checkpoints: int = 0
    covered: int = 0

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON that `cra-wasm verify --json` prints."""
        return {
            **self.result.to_dict(),
            "strength": self.strength,
            "checkpoints": self.checkpoints,
            "covered": self.covered,
        }


def verify_signed(
    lines: Iterable[bytes],
    entries: Sequence[str],
    *,
    is_signed: VerifySignature,
    pinned: Sequence[VerifierKey] = (),
    witnessed: Sequence[Witnessed] | None = None,
) -> SignedVerdict:
    """Verify a trace as `verify_lines` does, in one pass, and what checkpoints and a witness tell of it.

    A fault of the chain comes first; then the first checkpoint that does not hold, in the order given.

    Args:
        entries: lines of a `.checkpoints.jsonl`, without line feed.
        pinned: keys of which one must have signed each; none: the key that came with it.
        witnessed: what witnesses told, of any session; None: none was asked.

    Raises:
        NotFound: `checkpoints_not_found`: keys were given and no checkpoint; a pin would else be undone by
            taking the checkpoints away.
        BackendFailure: `signed_unavailable`, `hash_unavailable`.
    """
    if pinned and not entries:
        raise NotFound("checkpoints_not_found", "there is no checkpoint for the key: ask the writer for them")
    fault: InvalidInput | None = None
    held: list[Checkpoint] = []
    for entry in entries:
        try:
            held.append(signed_checkpoint(entry, pinned, is_signed))
        except InvalidInput as error:
            fault = error
            break
    told = [Witnessed(session_id=c.session_id, size=c.size, head=c.head, algorithm=c.algorithm) for c in held]
    watch = _Watch({one.size for one in (*told, *(witnessed or ()))})
    result = verify_lines(watch.over(lines))
    if not result.valid:
        return SignedVerdict(result=result)
    seen = [one for one in witnessed or () if one.session_id == watch.session_id]
    fault = fault or _first_fault([*told, *seen], watch, result)
    if fault is not None:
        term = cast(CheckpointError, fault.code)
        bad = replace(result, valid=False, error=term, message=fault.message, warnings=())
        return SignedVerdict(result=bad)
    if witnessed is not None and not seen:
        result = replace(result, warnings=(*result.warnings, "unwitnessed"))
    strength: Strength = "signed-pinned" if pinned else "signed"
    if not held:
        strength = "chain"
    return SignedVerdict(
        result=result,
        strength="witnessed" if seen else strength,
        checkpoints=len(held),
        covered=max((one.size for one in (*told, *seen)), default=0),
    )


def parse_witnessed(text: str) -> list[Witnessed]:
    """Read what a witness told, one JSON object a line: {"session_id", "size", "head", "algorithm"?, ...}.

    Raises:
        InvalidInput: `witness_malformed`.
    """
    lines = [line for line in text.split("\n") if line]
    if len(lines) > MAX_WITNESSED:
        raise InvalidInput("witness_malformed", f"a witness tells at most {MAX_WITNESSED} checkpoints")
    return [_witnessed(line, number) for number, line in enumerate(lines)]


def _witnessed(line: str, number: int) -> Witnessed:
    one = parse_json(line, code="witness_malformed")
    match one:
        case {"session_id": str(session_id), "size": int(size), "head": str(head)} if (
            is_uuid_text(session_id)
            and size >= 1
            and not isinstance(size, bool)
            and _HASH.fullmatch(head)
            and isinstance(algorithm := one.get("algorithm"), str | None)
        ):
            return Witnessed(session_id=session_id, size=size, head=head, algorithm=algorithm)
    raise InvalidInput(
        "witness_malformed",
        f"line {number + 1} of the witness's answer tells no size and head: ask it again",
        pointer=f"/{number}",
    )


class _Watch:
    """Looks at lines as they go by: whose they are, and the hashes at the given sizes."""

    def __init__(self, sizes: set[int]) -> None:
        self._sizes = sizes
        self.session_id: str | None = None
        self.heads: dict[int, str] = {}

    def over(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for size, line in enumerate(lines, 1):
            if size == 1 or size in self._sizes:
                self._look(size, line)
            yield line

    def _look(self, size: int, line: bytes) -> None:
        try:
            event = read_event(line)
        except BadLine:
            return  # the verification names it
        self.heads[size] = event.event_hash
        if size == 1:
            self.session_id = event.session_id


def signed_checkpoint(entry: str, pinned: Sequence[VerifierKey], is_signed: VerifySignature) -> Checkpoint:
    """Read a line of a `.checkpoints.jsonl` whose signature holds, by a pinned key if there are any.

    Raises:
        InvalidInput: `checkpoint_malformed`, `checkpoint_key_unpinned`, `checkpoint_signature_invalid`.
        BackendFailure: `signed_unavailable`.
    """
    key, note = parse_entry(entry)
    claimed, checkpoint = parse_vkey(key), parse_note(note)
    found = False
    for by in pinned or (claimed,):
        for line in checkpoint.signatures:
            if (line.name, line.key_id) != (by.name, by.key_id):
                continue
            found = True
            if is_signed(by.public_key, line.signature, checkpoint.signed):
                return checkpoint
    if pinned and not found:
        raise InvalidInput(
            "checkpoint_key_unpinned",
            f"the checkpoint at {checkpoint.size} is signed by none of the given keys: ask whose it is",
        )
    raise InvalidInput(
        "checkpoint_signature_invalid",
        f"the checkpoint at {checkpoint.size} is not signed by its key: take it from another copy",
    )


def _first_fault(all_told: list[Witnessed], watch: _Watch, result: VerifyResult) -> InvalidInput | None:
    for told in all_told:
        if told.session_id != watch.session_id:
            return InvalidInput(
                "checkpoint_other_session",
                f"the checkpoint at {told.size} is of session `{told.session_id}`: give this trace's own",
            )
        if told.size > result.events:
            return InvalidInput(
                "checkpoint_beyond_end",
                f"a checkpoint tells of {told.size} events, the trace has {result.events}: it was cut",
            )
        if told.head != watch.heads.get(told.size) or told.algorithm not in (None, result.algorithm):
            return InvalidInput(
                "checkpoint_mismatch", f"the checkpoint at {told.size} is of another chain than this trace"
            )
    return None
