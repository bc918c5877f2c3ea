"""Ed25519 by the package `cryptography`, the extra `cra-wasm[signed]`."""

from __future__ import annotations

from ..errors import BackendFailure


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` is that of `message` by the private key of `public_key` (32 bytes, RFC 8032).

    Raises:
        BackendFailure: `signed_unavailable` where the package is missing.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise BackendFailure(
            "signed_unavailable",
            "signatures need a package: pip install 'cra-wasm[signed]', or in a browser let the page verify",
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
