"""Ed25519 by the package `cryptography`, the extra `cra-wasm[signed]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import BackendFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key: its public one (32 bytes), and what signs a message (64 bytes)."""

    public_key: bytes
    sign: Callable[[bytes], bytes]


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` is that of `message` by the private key of `public_key` (32 bytes, RFC 8032).

    Raises:
        BackendFailure: `signed_unavailable` where the package is missing.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise _unavailable() from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def new_private_key() -> bytes:
    """Return a fresh private key as PKCS#8 PEM, not encrypted.

    Raises:
        BackendFailure: `signed_unavailable`.
    """
    try:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise _unavailable() from None
    return Ed25519PrivateKey.generate().private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )


def read_private_key(pem: bytes) -> SigningKey | None:
    """Read a private key of PKCS#8 PEM; None where it is none of Ed25519 or is encrypted.

    Raises:
        BackendFailure: `signed_unavailable`.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise _unavailable() from None
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, Ed25519PrivateKey):
        return None
    return SigningKey(public_key=key.public_key().public_bytes_raw(), sign=key.sign)


def _unavailable() -> BackendFailure:
    return BackendFailure(
        "signed_unavailable",
        "signatures need a package: pip install 'cra-wasm[signed]', or in a browser let the page do it",
    )
