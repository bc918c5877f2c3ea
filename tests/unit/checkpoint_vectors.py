"""Makes specs/vectors/checkpoints.json, which TypeScript shares: run it and redirect its output there."""

from __future__ import annotations

import hashlib
import json
import sys
from base64 import b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SESSION = "0190b3a0-7c1e-7000-8000-000000000001"
HEAD = hashlib.sha256(b"the head of a chain").digest()


def vkey(private: Ed25519PrivateKey, name: str = "") -> str:
    public = private.public_key().public_bytes_raw()
    return vkey_text(name or f"cra-wasm/{hashlib.sha256(public).hexdigest()[:16]}", b"\x01" + public)


def vkey_text(name: str, data: bytes) -> str:
    """A key's text whose id is that of its name and bytes, whatever they are."""
    key_id = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(data).decode()}"


def signature_line(name: str, size_bytes: int) -> str:
    """A signature of nobody: the key's id and the signature are so many bytes together."""
    return f"\u2014 {name} {b64encode(bytes(size_bytes)).decode()}\n"


def text(session: str = SESSION, size: str = "7", head: bytes = HEAD, algorithm: str = "sha256") -> str:
    time = "2026-11-26T10:00:00.000Z"
    return (
        f"cra-wasm/trace/{session}\n{size}\n{b64encode(head).decode()}\nalgorithm {algorithm}\ntime {time}\n"
    )


def signed(body: str, private: Ed25519PrivateKey, name: str = "") -> str:
    who, key_id, _ = vkey(private, name).split("+", 2)
    return f"{body}\n\u2014 {who} {b64encode(bytes.fromhex(key_id) + private.sign(body.encode())).decode()}\n"


def main() -> None:
    ours, theirs = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (7, 8))
    key, good = vkey(ours), signed(text(), ours)
    lines = good.split("\n")
    cosigned = signed(text(), theirs) + lines[6] + "\n"
    bad = "checkpoint_malformed"
    to_the_brim = 4_096 - len((good + signature_line("", 68)).encode())
    cosigned_good = "\n".join(lines[:6]) + "\n" + cosigned.split("\n\n")[1]
    notes: list[tuple[str, str, str | None]] = [
        ("one signature", good, None),
        (
            "a signature of an unknown key in front",
            cosigned_good,
            None,
        ),
        ("blake3", signed(text(algorithm="blake3"), ours), None),
        ("the largest size", signed(text(size="9007199254740991"), ours), None),
        ("sixteen signatures", good + signature_line("x", 68) * 15, None),
        ("4,096 bytes", good + signature_line("\u00e9" + "x" * (to_the_brim - 2), 68), None),
        ("4,097 bytes", good + signature_line("\u00e9" + "x" * (to_the_brim - 1), 68), bad),
        ("a signature of one byte beside it", good + signature_line("x", 5), None),
        ("a signature of no bytes beside it", good + signature_line("x", 4), "checkpoint_malformed"),
        ("empty", "", "checkpoint_malformed"),
        ("no line feed at its end", good[:-1], "checkpoint_malformed"),
        ("two signatures and no line feed at its end", cosigned_good[:-1], "checkpoint_malformed"),
        ("CRLF", good.replace("\n", "\r\n"), "checkpoint_malformed"),
        ("no signature", text() + "\n", "checkpoint_malformed"),
        ("seventeen signatures", good + (lines[6] + "\n") * 16, "checkpoint_malformed"),
        (
            "too long",
            good.replace("cra-wasm/fe", "x" * 4096),
            "checkpoint_malformed",
        ),
        ("size 0", signed(text(size="0"), ours), "checkpoint_malformed"),
        ("size with a leading zero", signed(text(size="07"), ours), "checkpoint_malformed"),
        ("size beyond 2^53 - 1", signed(text(size="9007199254740992"), ours), "checkpoint_malformed"),
        ("another origin", signed(text().replace("trace/", "trail/"), ours), "checkpoint_malformed"),
        ("another word for algorithm", signed(text().replace("rithm ", "rythm "), ours), bad),
        ("another word for time", signed(text().replace("time ", "Time "), ours), "checkpoint_malformed"),
        ("base64 with loose bits", signed(text().replace("B0A=", "B0B="), ours), "checkpoint_malformed"),
        ("a head of 31 bytes", signed(text(head=HEAD[:31]), ours), "checkpoint_malformed"),
        ("a session that is no UUID", signed(text(session="../../x"), ours), "checkpoint_malformed"),
        ("an upper-case session", signed(text(session=SESSION.upper()), ours), "checkpoint_malformed"),
        ("a sixth line", signed(text() + "more\n", ours), "checkpoint_malformed"),
        ("a hyphen for the dash", good.replace("\u2014", "-"), "checkpoint_malformed"),
        ("no day of a calendar", signed(text().replace("11-26", "02-30"), ours), "checkpoint_malformed"),
        ("another size than was signed", good.replace("\n7\n", "\n8\n"), "checkpoint_signature_invalid"),
        ("signed by another key", signed(text(), theirs), "checkpoint_signature_invalid"),
    ]
    document: dict[str, Any] = {
        "key": key,
        "other_key": vkey(theirs),
        "facts": {"session_id": SESSION, "size": 7, "head": HEAD.hex(), "algorithm": "sha256"},
        "notes": [{"name": name, "note": note, "error": error} for name, note, error in notes],
        "bad_keys": [
            "",
            key.replace("+", " ", 1),
            key[:-1],
            key.replace(key.split("+")[1], "00000000"),
            f"{key.rsplit('+', 1)[0]}+{b64encode(bytes([2]) + bytes(32)).decode()}",
            vkey_text("key", bytes([2]) + bytes(32)),
            vkey_text("key", bytes([1]) + bytes(33)),
            vkey_text("a key", bytes([1]) + bytes(32)),
            vkey_text("k" * (513 - 54), bytes([1]) + bytes(32)),
        ],
    }
    json.dump(document, sys.stdout, indent=1, ensure_ascii=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
