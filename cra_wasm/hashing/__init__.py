"""Hashes behind hashlib's interface. Only SHA-256 so far; a name that is not there is an error."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from ..errors import InvalidInput

ALGORITHMS: Final = ("sha256",)


class Hash(Protocol):
    """The part of hashlib's objects that traces use."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


def new(algorithm: str, data: bytes = b"") -> Hash:
    """Return a hash object of that name, fed with `data`.

    Raises:
        InvalidInput: `unknown_algorithm`; never another hash in its place.
    """
    if algorithm != "sha256":
        raise InvalidInput(
            "unknown_algorithm",
            f"no hash named `{algorithm}`: use one of {', '.join(ALGORITHMS)}",
            pointer="/hash_algorithm",
        )
    return hashlib.sha256(data)
