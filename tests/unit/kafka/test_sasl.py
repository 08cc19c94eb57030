"""SCRAM as RFC 5802 and 7677 write it, and as a liar would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import AuthenticationFailed
from smartconnect.kafka.sasl import PlainClient, ScramClient, sasl_client
from smartconnect.kafka.security import KafkaSecurity

PENCIL = KafkaSecurity("SASL_SSL", "SCRAM-SHA-256", "user", "pencil")
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_scram_sha_256_matches_the_example_of_rfc_7677() -> None:
    client = ScramClient(PENCIL, "rOprNGfwEbeRWgbNEkqO")
    assert client.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert client.next(CHALLENGE) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert client.next(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") is None


def test_server_that_does_not_know_the_password_is_found_out() -> None:
    client = ScramClient(PENCIL, "rOprNGfwEbeRWgbNEkqO")
    client.next(CHALLENGE)
    with pytest.raises(AuthenticationFailed, match="do not trust"):
        client.next(b"v=" + base64.b64encode(b"x" * 32))
    with pytest.raises(AuthenticationFailed, match="do not trust"):
        client.next(b"hello")


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"\xff\xfe",
        b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"i=4096", b"i=0"),
        CHALLENGE.replace(b"i=4096", b"i=99999999999"),
        CHALLENGE.replace(b"i=4096", b"i=many"),
        CHALLENGE.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s=?"),
    ],
)
def test_bad_challenge_ends_the_login(challenge: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        ScramClient(PENCIL, "rOprNGfwEbeRWgbNEkqO").next(challenge)


@given(st.binary(max_size=200))
def test_random_challenges_end_in_authentication_failed(challenge: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        ScramClient(PENCIL, "nonce").next(challenge)


@pytest.mark.parametrize(("mechanism", "digest"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")])
def test_server_can_verify_the_proof_from_what_it_stores(mechanism: str, digest: str) -> None:
    security = KafkaSecurity("SASL_PLAINTEXT", mechanism, "us=er,1", "pä ss,=")
    client = sasl_client(security, "abc")
    bare = client.first().decode().removeprefix("n,,")
    assert bare == "n=us=3Der=2C1,r=abc"
    challenge = f"r=abcdef,s={base64.b64encode(b'salt').decode()},i=8192"
    final = (client.next(challenge.encode()) or b"").decode()
    without_proof, proof = re.fullmatch(r"(c=biws,r=abcdef),p=(.*)", final).groups()  # type: ignore[union-attr]
    salted = hashlib.pbkdf2_hmac(digest, "pä ss,=".encode(), b"salt", 8192)
    key = hmac.new(salted, b"Client Key", digest).digest()
    stored = hashlib.new(digest, key).digest()
    message = f"{bare},{challenge},{without_proof}".encode()
    signature = hmac.new(stored, message, digest).digest()
    recovered = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    assert hashlib.new(digest, recovered).digest() == stored


def test_plain_sends_name_and_password() -> None:
    client = sasl_client(KafkaSecurity("SASL_SSL", "PLAIN", "joe", "secret"), "unused")
    assert isinstance(client, PlainClient)
    assert client.first() == b"\0joe\0secret"
    assert client.next(b"") is None
