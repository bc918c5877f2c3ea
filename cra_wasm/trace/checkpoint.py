"""Checkpoints as C2SP signed notes (PROTOCOL 3.19): read strictly, and written. Verifies no signature.

A checkpoint says that a session's chain had so many events and that the last one's hash is this:

    cra-wasm/trace/<session_id>
    <size>
    <base64 of the hash>
    algorithm <name>
    time <YYYY-MM-DDTHH:MM:SS.mmmZ>

    — <key name> <base64 of the key's id and the signature>
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..errors import InvalidInput
from ..model.ids import is_uuid_text
from ..model.parse import parse_json
from ..model.timestamps import timestamp_text
from .canonical import canonical_json

MAX_NOTE_BYTES: Final = 4_096
MAX_SIGNATURES: Final = 16
MAX_ENTRY_BYTES: Final = 8_192
"""Of a line of a `.checkpoints.jsonl`."""

_ORIGIN: Final = "cra-wasm/trace/"
_ED25519: Final = b"\x01"
_MAX_SIZE: Final = 2**53 - 1
_MAX_VKEY_CHARS: Final = 512
_SIZE: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_ALGORITHM: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_KEY_NAME: Final = re.compile("[^+\\t-\\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""No plus and nothing that Unicode calls White_Space: `\\s` means other characters in each language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: whose it says it is, and what follows the key's id."""

    name: str
    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A note that was read: `head` is lower-case hex, `signed` are the bytes that its signatures are over."""

    session_id: str
    size: int
    head: str
    algorithm: str
    time: str
    signed: bytes
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """An Ed25519 public key (32 bytes) under its name; `key_id` is eight lower-case hex digits."""

    name: str
    key_id: str
    public_key: bytes


def parse_note(note: str) -> Checkpoint:
    """Read a whole note.

    Raises:
        InvalidInput: `checkpoint_malformed` when it is not this form, to the byte.
    """
    data = _utf8(note)
    if len(data) > MAX_NOTE_BYTES:
        raise _malformed(f"it has more than {MAX_NOTE_BYTES} bytes")
    lines = note.split("\n")
    if len(lines) < 8 or lines.pop() or lines[5]:
        raise _malformed("a note is five lines, an empty one and signatures")
    signatures = lines[6:]
    if len(signatures) > MAX_SIGNATURES:
        raise _malformed(f"it has more than {MAX_SIGNATURES} signatures")
    origin, size, head, algorithm, time = lines[:5]
    digest = _base64(head)
    session_id = _after(_ORIGIN, origin)
    algorithm, time = _after("algorithm ", algorithm), _after("time ", time)
    fits = {
        "origin": is_uuid_text(session_id),
        "size": _SIZE.fullmatch(size) and int(size) <= _MAX_SIZE,
        "head": len(digest) == 32,
        "algorithm": _ALGORITHM.fullmatch(algorithm),
        "time": _is_time(time),
    }
    for part, fit in fits.items():
        if not fit:
            raise _malformed(f"its {part} is none")
    return Checkpoint(
        session_id=session_id,
        size=int(size),
        head=digest.hex(),
        algorithm=algorithm,
        time=time,
        signed="".join(f"{line}\n" for line in lines[:5]).encode(),
        signatures=tuple(_signature(line) for line in signatures),
    )


def parse_entry(line: str) -> tuple[str, str]:
    """Read a line of a `.checkpoints.jsonl`, without its line feed: the signer's claim of its key, the note.

    Raises:
        InvalidInput: `checkpoint_malformed` unless it is canonical JSON of these two texts.
    """
    if len(line) > MAX_ENTRY_BYTES or len(_utf8(line)) > MAX_ENTRY_BYTES:
        raise _malformed(f"its line has more than {MAX_ENTRY_BYTES} bytes")
    entry = parse_json(line, code="checkpoint_malformed")
    if not isinstance(entry, dict) or set(entry) != {"key", "note"}:
        raise _malformed("its line has `key` and `note`, and nothing else")
    key, note = entry["key"], entry["note"]
    if not isinstance(key, str) or not isinstance(note, str):
        raise _malformed("its `key` and `note` are texts")
    _utf8(key + note)
    if canonical_json(entry) != line:
        raise _malformed("its line is no canonical JSON")
    return key, note


def parse_entries(text: str) -> list[str]:
    """Return the lines of a `.checkpoints.jsonl`, each of which ends with a line feed, without it.

    Raises:
        InvalidInput: `checkpoint_malformed` when the last one is torn.
    """
    *lines, rest = text.split("\n")
    if rest:
        raise _malformed("its last line has no line feed")
    return lines


def parse_vkey(vkey: str) -> VerifierKey:
    """Read a public key's text, `name+id+base64`; its name may be any that C2SP allows.

    Raises:
        InvalidInput: `checkpoint_malformed`.
    """
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    _utf8(vkey)
    if len(vkey) > _MAX_VKEY_CHARS or not (_KEY_NAME.fullmatch(name) and _KEY_ID.fullmatch(key_id)):
        raise _malformed("a public key is `name+id+base64`")
    data = _base64(encoded)
    if len(data) != 33 or data[:1] != _ED25519:
        raise _malformed("its public key is no Ed25519 key")
    if hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8] != key_id:
        raise _malformed("its public key's id is not that of its name and key")
    return VerifierKey(name=name, key_id=key_id, public_key=data[1:])


def verifier_key(public_key: bytes) -> VerifierKey:
    """Return a public key of 32 bytes under the name that this project gives it."""
    name = f"cra-wasm/{hashlib.sha256(public_key).hexdigest()[:16]}"
    key_id = hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).hexdigest()[:8]
    return VerifierKey(name=name, key_id=key_id, public_key=public_key)


def vkey_text(key: VerifierKey) -> str:
    """Return what `parse_vkey` reads."""
    return f"{key.name}+{key.key_id}+{b64encode(_ED25519 + key.public_key).decode()}"


def note_text(session_id: str, size: int, head: str, algorithm: str, wall_ns: int) -> str:
    """Return the five lines to be signed; `head` is hex, the time is cut to milliseconds."""
    digest = b64encode(bytes.fromhex(head)).decode()
    time = timestamp_text(wall_ns)[:23]
    return f"{_ORIGIN}{session_id}\n{size}\n{digest}\nalgorithm {algorithm}\ntime {time}Z\n"


def signed_entry(text: str, key: VerifierKey, signature: bytes) -> str:
    """Return the line of a `.checkpoints.jsonl`, without its line feed, of a text and its signature.

    Raises:
        InvalidInput: `checkpoint_malformed`: the text is none that `parse_note` reads.
    """
    encoded = b64encode(bytes.fromhex(key.key_id) + signature).decode()
    note = f"{text}\n\u2014 {key.name} {encoded}\n"
    parse_note(note)
    return canonical_json({"key": vkey_text(key), "note": note})


def _signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _KEY_NAME.fullmatch(parts[1]):
        raise _malformed("a signature is `\u2014 name base64`")
    data = _base64(parts[2])
    if len(data) <= 4:
        raise _malformed("a signature is too short")
    return NoteSignature(name=parts[1], key_id=data[:4].hex(), signature=data[4:])


def _after(prefix: str, line: str) -> str:
    return line[len(prefix) :] if line.startswith(prefix) else ""


def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text)) and bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _malformed("it is no text") from None


def _base64(text: str) -> bytes:
    """Only the one text that these bytes have."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        data = b""
    if not data or b64encode(data).decode() != text:
        raise _malformed("its base64 is not that of RFC 4648, with padding")
    return data


def _malformed(why: str) -> InvalidInput:
    return InvalidInput("checkpoint_malformed", f"this is no checkpoint: {why}; ask for the file anew")
