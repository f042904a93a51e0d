"""An authority that signs certificates of servers, for as long as a test lasts."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WEEK = timedelta(days=7)


class Authority:
    """A root of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._folder = folder
        self.root = folder / f"{name}.crt"
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.root.write_bytes(certificate)

    def certify(self, address: str) -> tuple[bytes, bytes]:
        """The certificate of the server at an address, which has no name, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ipaddress.ip_address(address))]
        kind = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
        return self._signed(_named(address), key, x509.SubjectAlternativeName(names)), private

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - WEEK,
            not_valid_after=now + WEEK,
        ).add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
