"""Checkpoints for witnesses that do not look at signatures, so that Pyodide can make them, too."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from cra_wasm.trace.canonical import canonical_json

SESSION = "0190b3a0-7c1e-7000-8000-000000000001"
OTHER_SESSION = "0190b3a0-7c1e-7000-8000-000000000002"
HEAD = "ab" * 32


def believed(_key: bytes, _signature: bytes, _message: bytes) -> bool:
    return True


def vkey_of(owner: int) -> str:
    """The text of a public key, a different one for each owner (0 to 255)."""
    public = bytes([owner]) * 32
    name = f"cra-wasm/{hashlib.sha256(public).hexdigest()[:16]}"
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + public).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(bytes([1]) + public).decode()}"


def line_of(
    size: int,
    *,
    session_id: str = SESSION,
    head: str = HEAD,
    algorithm: str = "sha256",
    time: str = "2026-11-26T10:00:00.000Z",
    owner: int = 1,
    cosigners: int = 0,
) -> str:
    """A line of a `.checkpoints.jsonl`; its signature is made of zeros."""
    key = vkey_of(owner)
    name, key_id, _ = key.split("+", 2)
    body = f"cra-wasm/trace/{session_id}\n{size}\n{b64encode(bytes.fromhex(head)).decode()}\n"
    body += f"algorithm {algorithm}\ntime {time}\n\n"
    signature = f"\u2014 {name} {b64encode(bytes.fromhex(key_id) + bytes(64)).decode()}\n"
    return canonical_json({"key": key, "note": body + signature * (1 + cosigners)})
