"""The throw-away authorities of a loopback service: a TLS certificate authority and the root of the Noise
certificates.

Both are made on first use and kept in a directory (mode 0700, files 0600), so that several services, and a
service that is restarted, are trusted by the same clients.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import wire
from .keys import KEY_SIZE, KeyPair

SERVER_NAME: Final = "web.whatsapp.com"
ROOT_SERIAL: Final = 0
INTERMEDIATE_SERIAL: Final = 1
LEAF_SERIAL: Final = 2
VALID_DAYS: Final = 30


class Authority:
    """Keys and certificates in ``directory``, made when they are missing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ca_file: Final = directory / "ca.pem"
        self._server_file = directory / "server.pem"
        self.root = KeyPair(self._key_bytes(directory / "noise-root.key"))
        self.static = KeyPair(self._key_bytes(directory / "noise-static.key"))
        if not self._server_file.exists():
            self._issue_tls()
        self.certificate = self._noise_chain()

    @staticmethod
    def _key_bytes(path: Path) -> bytes:
        if not path.exists():
            write_private(path, KeyPair.generate().private)
        key = path.read_bytes()
        if len(key) != KEY_SIZE:
            raise ValueError(f"{path} holds {len(key)} bytes, expected {KEY_SIZE}")
        return key

    def _noise_chain(self) -> bytes:
        """A ``CertChain``: the root signs an intermediate, which signs the server's static key."""
        intermediate = KeyPair.generate()
        return wire.encode(
            (1, _noise_certificate(intermediate, LEAF_SERIAL, INTERMEDIATE_SERIAL, self.static.public)),
            (2, _noise_certificate(self.root, INTERMEDIATE_SERIAL, ROOT_SERIAL, intermediate.public)),
        )

    def _issue_tls(self) -> None:
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name, name = _name("Loopback test CA"), _name(SERVER_NAME)
        ca = (
            _certificate(ca_name, ca_name, ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(ca_key, SHA256())
        )
        names = [x509.DNSName(SERVER_NAME), x509.DNSName("localhost")]
        local = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
        leaf = (
            _certificate(name, ca_name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([*names, local]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(ca_key, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self.ca_file, ca.public_bytes(Encoding.PEM))
        write_private(self._server_file, leaf.public_bytes(Encoding.PEM) + private)

    def tls_context(self) -> ssl.SSLContext:
        """A server context; without session tickets, since no client of WhatsApp resumes TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server_file)
        context.num_tickets = 0
        return context


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically; only its owner can read it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    scratch.replace(path)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def _noise_certificate(issuer: KeyPair, serial: int, issuer_serial: int, key: bytes) -> bytes:
    now = int(time.time())
    details = wire.encode(
        (1, serial), (2, issuer_serial), (3, key), (4, now - 86_400), (5, now + VALID_DAYS * 86_400)
    )
    return wire.encode((1, details), (2, issuer.sign(details)))
