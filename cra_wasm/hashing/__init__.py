"""SHA-256 and BLAKE3 behind hashlib's interface. What is not there is an error, never another hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from ..errors import BackendFailure, InvalidInput
from ..platform.detect import IN_PYODIDE

DEFAULT_ALGORITHM: Final = "sha256"
"""What TRACE/1.0 demands."""

ALGORITHMS: Final = (DEFAULT_ALGORITHM, "blake3")
"""The names that `new` knows; both give 32 bytes."""


class Hash(Protocol):
    """The part of hashlib's objects that both have."""

    @property
    def name(self) -> str: ...

    @property
    def digest_size(self) -> int: ...

    @property
    def block_size(self) -> int: ...

    def update(self, data: bytes, /) -> object: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...

    def copy(self) -> Hash: ...


NewHash: TypeAlias = Callable[[bytes], Hash]
"""Makes a hash object of one algorithm, fed with bytes."""

_constructors: Final[dict[str, NewHash]] = {DEFAULT_ALGORITHM: hashlib.sha256}


def new(name: str, data: bytes = b"") -> Hash:
    """Return a hash object of that name, fed with `data`; it has hashlib's interface and 32 bytes of digest.

    Raises:
        InvalidInput: `unknown_algorithm`.
        BackendFailure: `hash_unavailable` where the package behind the name is not installed.
    """
    return constructor_of(name)(data)


def constructor_of(name: str) -> NewHash:
    """Return what makes the hash objects of that name, for callers that hash much. Raises as `new`."""
    if name not in ALGORITHMS:
        raise InvalidInput(
            "unknown_algorithm",
            f"no hash named `{name}`: use one of {', '.join(ALGORITHMS)}",
            pointer="/hash_algorithm",
        )
    return _constructors.get(name) or _load_blake3()


def _load_blake3() -> NewHash:
    """Import BLAKE3. One that failed is tried again: Pyodide's packages can be loaded later."""
    try:
        from blake3 import blake3
    except ImportError as error:
        remedy = "load the package first: `await pyodide.loadPackage('blake3')`, from a site that has it"
        if not IN_PYODIDE:
            remedy = "install it: `pip install 'cra-wasm[blake3]'`"
        raise BackendFailure(
            "hash_unavailable", f"BLAKE3 is not installed here: {remedy}", algorithm="blake3"
        ) from error
    constructor: NewHash = blake3
    _constructors["blake3"] = constructor
    return constructor
