"""The phone's half of linking a device: what it reads from a QR code or a typed code, and what it signs.

A phone (the primary device) holds the account's identity key. It links a companion by signing the
companion's identity key (XEdDSA) and by proving with an HMAC that it knows the secret from the QR code; the
companion signs back. With an eight-character code the secret is agreed on through the server instead,
wrapped in keys derived from the code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import wire
from .keys import KEY_SIZE, SIGNATURE_SIZE, KeyPair, derive, verify

ACCOUNT_PREFIX: Final = b"\x06\x00"
DEVICE_PREFIX: Final = b"\x06\x01"
CODE_ROUNDS: Final = 2 << 16
SALT_SIZE, IV_SIZE, NONCE_SIZE = 32, 16, 12

Forgery = Literal["bad_hmac", "bad_signature"]


class PairingError(ValueError):
    """The phone refuses: the code is not readable, not current, or not answered as it should be."""


@dataclass(frozen=True, slots=True, repr=False)
class QrCode:
    """The content of a QR code; it holds the pairing secret, so ``repr`` shows only its reference."""

    ref: str
    noise_key: bytes
    identity_key: bytes
    secret: bytes
    client_type: str

    def __repr__(self) -> str:
        return f"QrCode(ref={self.ref!r})"

    @classmethod
    def parse(cls, text: str) -> QrCode:
        """Read ``[https://…#]ref,noise key,identity key,secret[,client type]``; keys are base64."""
        ref, *parts = text.rpartition("#")[2].split(",")
        if not ref or len(parts) not in (3, 4):
            raise PairingError(f"QR code has {len(parts) + 1} parts, expected 4 or 5")
        try:
            keys = [base64.b64decode(part, validate=True) for part in parts[:3]]
        except (binascii.Error, ValueError) as error:
            raise PairingError(f"QR code holds a key that is not base64: {error}") from error
        if any(len(key) != KEY_SIZE for key in keys):
            raise PairingError(f"QR code holds a key that is not {KEY_SIZE} bytes long")
        return cls(ref, keys[0], keys[1], keys[2], parts[3] if len(parts) == 4 else "")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the phone gives a companion, and how to check the companion's answer to it."""

    identity: bytes = field(repr=False)
    """The ``ADVSignedDeviceIdentityHMAC`` that goes to the companion."""
    details: bytes = field(repr=False)
    account_key: bytes
    companion_key: bytes
    key_index: int

    def check(self, answer: bytes) -> None:
        """Verify the companion's self-signed identity; raises PairingError if it does not hold."""
        try:
            fields = wire.decode(answer)
            details = wire.blob(fields, 1, "device identity")
            signature = wire.blob(fields, 4, "device signature", size=SIGNATURE_SIZE)
        except wire.WireError as error:
            raise PairingError(str(error)) from error
        message = DEVICE_PREFIX + details + self.companion_key + self.account_key
        if details != self.details or not verify(self.companion_key, message, signature):
            raise PairingError("the device's signature does not verify")


def offer(
    account: KeyPair,
    companion_key: bytes,
    secret: bytes,
    *,
    key_index: int,
    now: float,
    forge: Forgery | None = None,
) -> Offer:
    """Sign a companion's identity key for this account.

    ``key_index`` is the companion's number within the account, ``now`` the time in epoch seconds. ``forge``
    spoils the HMAC or the account's signature, as an attacker who did not see the QR code would have to.
    """
    raw_id = struct.unpack(">I", os.urandom(4))[0]
    details = wire.encode((1, raw_id), (2, int(now)), (3, key_index))
    signature = account.sign(ACCOUNT_PREFIX + details + companion_key)
    if forge == "bad_signature":
        signature = KeyPair.generate().sign(ACCOUNT_PREFIX + details + companion_key)
    signed = wire.encode((1, details), (2, account.public), (3, signature))
    key = os.urandom(KEY_SIZE) if forge == "bad_hmac" else secret
    mac = hmac.new(key, signed, hashlib.sha256).digest()
    return Offer(wire.encode((1, signed), (2, mac)), details, account.public, companion_key, key_index)


def _code_cipher(code: str, salt: bytes, iv: bytes, data: bytes) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", code.encode(), salt, CODE_ROUNDS, KEY_SIZE)
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


def wrap_with_code(code: str, public: bytes) -> bytes:
    """A public key encrypted under an eight-character code: salt, IV and ciphertext."""
    salt, iv = os.urandom(SALT_SIZE), os.urandom(IV_SIZE)
    return salt + iv + _code_cipher(code, salt, iv, public)


def unwrap_with_code(code: str, wrapped: bytes) -> bytes:
    """The public key again; a wrong code gives another key, which only shows later."""
    if len(wrapped) != SALT_SIZE + IV_SIZE + KEY_SIZE:
        raise PairingError(f"wrapped key is {len(wrapped)} bytes long")
    salt, iv, data = wrapped[:SALT_SIZE], wrapped[SALT_SIZE:-KEY_SIZE], wrapped[-KEY_SIZE:]
    return _code_cipher(code, salt, iv, data)


def normalise_code(text: str) -> str:
    """``abcd-efgh`` as people type it, as the eight characters it stands for."""
    code = "".join(text.split()).replace("-", "").upper()
    if len(code) != 8 or any(char not in "123456789ABCDEFGHJKLMNPQRSTVWXYZ" for char in code):
        raise PairingError(f"pairing code {text!r} is not eight of the characters 1-9 A-Z without I, O and U")
    return code


class CodeExchange:
    """The phone's side of linking by a typed code. The two derivations from the code take some 50 ms each."""

    def __init__(self, account: KeyPair, code: str, wrapped_companion_key: bytes) -> None:
        self._account = account
        self._ephemeral = KeyPair.generate()
        self._companion_ephemeral = unwrap_with_code(code, wrapped_companion_key)
        self.wrapped_key: Final = wrap_with_code(code, self._ephemeral.public)

    def finish(self, bundle: bytes, companion_key: bytes) -> bytes:
        """Open the companion's key bundle and derive the pairing secret; raises PairingError on a wrong
        code.
        """
        salt, nonce = bundle[:SALT_SIZE], bundle[SALT_SIZE : SALT_SIZE + NONCE_SIZE]
        try:
            shared = self._ephemeral.agree(self._companion_ephemeral)
            key = derive(shared, KEY_SIZE, salt=salt, info=b"link_code_pairing_key_bundle_encryption_key")
            opened = AESGCM(key).decrypt(nonce, bundle[SALT_SIZE + NONCE_SIZE :], None)
        except (InvalidTag, ValueError) as error:
            raise PairingError("wrong code: the device's key bundle does not open") from error
        if opened[: 2 * KEY_SIZE] != companion_key + self._account.public or len(opened) != 3 * KEY_SIZE:
            raise PairingError("the device's key bundle names other keys")
        material = shared + self._account.agree(companion_key) + opened[2 * KEY_SIZE :]
        return derive(material, KEY_SIZE, info=b"adv_secret")
