from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from smartconnect.sandbox.certificates import Certificates, make_certificates


def handshake(certificates: Certificates, ca_file: Path, name: str) -> ssl.SSLObject:
    """A TLS handshake with a client certificate in memory; gives the server's side."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca_file))
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_cert_chain(certificates.server.combined_file)
    client_context = ssl.create_default_context(cafile=str(ca_file))
    client_context.load_cert_chain(certificates.client.certificate_file, certificates.client.key_file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_server_and_client_believe_each_other(tmp_path: Path, name: str) -> None:
    certificates = make_certificates(tmp_path)
    peer = handshake(certificates, certificates.ca_file, name).getpeercert()
    assert peer is not None
    assert peer["subject"] == ((("commonName", "client"),),)


def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "ours")
    other = make_certificates(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, other.ca_file, "localhost")


def test_other_host_names_are_not_believed(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, certificates.ca_file, "example.org")


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    assert certificates.server.key_file.stat().st_mode & 0o077 == 0
    assert certificates.server.combined_file.stat().st_mode & 0o077 == 0
