"""A throw-away certificate authority for TLS listeners of the sandbox: PEM files that Kafka, versitygw and Python all read.

Guarantees a server certificate for 127.0.0.1 and localhost, and a client certificate whose subject becomes the Kafka
principal `User:CN=<name>`; private keys are PKCS #8 without a password (Kafka reads no other PEM) and readable by us alone.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key; `combined_file` holds both, key first, as Kafka's PEM keystore wants it."""

    certificate_file: Path
    key_file: Path
    combined_file: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a TLS listener and its clients need. All of it is in one folder."""

    ca_file: Path
    server: KeyPair
    client: KeyPair


class Authority:
    """Signs certificates; its own is `ca.pem` in the folder."""

    def __init__(self, folder: Path, now: datetime.datetime) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Smart Connect sandbox CA")
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            self._builder("Smart Connect sandbox CA", self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> KeyPair:
        """A certificate with common name `name`, good for servers on loopback and for clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(here), critical=False)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return KeyPair(
            certificate_file=self._write(f"{name}.pem", certificate_pem),
            key_file=self._write(f"{name}.key", key_pem),
            combined_file=self._write(f"{name}-combined.pem", key_pem + certificate_pem),
        )

    def _builder(self, name: str, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    def _write(self, file_name: str, content: bytes) -> Path:
        file = self._folder / file_name
        file.touch(mode=0o600)
        file.write_bytes(content)
        return file


def make_certificates(folder: Path) -> Certificates:
    """A new authority in `folder` with one certificate for the servers and one for a client named `client`."""
    authority = Authority(folder, datetime.datetime.now(datetime.UTC))
    return Certificates(authority.file, authority.issue("server"), authority.issue("client"))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
