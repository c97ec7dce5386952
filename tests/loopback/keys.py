"""Curve25519 key pairs that agree on secrets (X25519) and sign (XEdDSA), as Signal's protocols use them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import xeddsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE = 32
SIGNATURE_SIZE = 64


@dataclass(frozen=True)
class KeyPair:
    """A Curve25519 private key with its public half; ``repr`` shows only the latter."""

    private: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"

    @classmethod
    def generate(cls) -> KeyPair:
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @cached_property
    def _key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.private)

    @cached_property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The X25519 shared secret; raises ValueError for a point of low order."""
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))

    def sign(self, message: bytes) -> bytes:
        """An XEdDSA signature (64 bytes) whose Edwards sign bit is 0, which libsignal's check accepts as it
        is.
        """
        return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(self.private, False), message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Check a signature in libsignal's form: the point's sign is the top bit of the last byte."""
    if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    sign = bool(signature[-1] & 0x80)
    plain = signature[:-1] + bytes((signature[-1] & 0x7F,))
    return xeddsa.ed25519_verify(plain, xeddsa.curve25519_pub_to_ed25519_pub(public, sign), message)


def derive(secret: bytes, size: int, *, salt: bytes | None = None, info: bytes = b"") -> bytes:
    """HKDF-SHA256."""
    return HKDF(SHA256(), size, salt, info).derive(secret)
