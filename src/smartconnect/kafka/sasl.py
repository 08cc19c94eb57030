"""SASL exchanges as pure state machines: bytes in, bytes out. `login` drives them over a connection.

PLAIN (RFC 4616), SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, 7677). SCRAM also proves that the server knows the password:
its signature is verified, so a stranger who takes our connection is found out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Protocol

from smartconnect.domain.errors import AuthenticationFailed
from smartconnect.kafka.security import KafkaSecurity

MOST_ITERATIONS = 1_000_000
"""A server that asks for more would stall us for minutes: refused."""


class SaslClient(Protocol):
    """One login. `first()` begins; each answer of the server goes to `next()`; None means that we are done."""

    def first(self) -> bytes: ...
    def next(self, challenge: bytes) -> bytes | None: ...


class PlainClient:
    """The password as it is: only of use inside TLS or on a trusted network."""

    def __init__(self, security: KafkaSecurity) -> None:
        self._message = f"\0{security.user_name}\0{security.password}".encode()

    def first(self) -> bytes:
        return self._message

    def next(self, challenge: bytes) -> bytes | None:
        return None


class ScramClient:
    """`nonce` is random printable ASCII without a comma, new for each login."""

    def __init__(self, security: KafkaSecurity, nonce: str) -> None:
        self._digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[security.mechanism]
        self._password = security.password.encode()
        self._nonce = nonce
        name = security.user_name.replace("=", "=3D").replace(",", "=2C")
        self._client_first = f"n={name},r={nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        return f"n,,{self._client_first}".encode()

    def next(self, challenge: bytes) -> bytes | None:
        if not self._server_signature:
            return self._prove(challenge)
        self._verify(challenge)
        return None

    def _prove(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        try:
            nonce, salt, rounds = fields["r"], base64.b64decode(fields["s"], validate=True), int(fields["i"])
        except (KeyError, ValueError, binascii.Error) as error:
            raise AuthenticationFailed("the Kafka broker's SCRAM challenge is malformed") from error
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise AuthenticationFailed("the Kafka broker's SCRAM challenge does not belong to our login")
        if not 1 <= rounds <= MOST_ITERATIONS:
            raise AuthenticationFailed(f"the Kafka broker asks for {rounds} SCRAM iterations")
        salted = hashlib.pbkdf2_hmac(self._digest, self._password, salt, rounds)
        client_key = self._mac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._client_first},{challenge.decode()},{without_proof}".encode()
        signature = self._mac(hashlib.new(self._digest, client_key).digest(), signed)
        self._server_signature = self._mac(self._mac(salted, b"Server Key"), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def _verify(self, challenge: bytes) -> None:
        fields = _fields(challenge)
        if "e" in fields:
            raise AuthenticationFailed(f"the Kafka broker refuses the login: {fields['e']}")
        expected = base64.b64encode(self._server_signature).decode()
        if not hmac.compare_digest(fields.get("v", "").encode(), expected.encode()):
            raise AuthenticationFailed("the Kafka broker could not prove that it knows the password: do not trust it")

    def _mac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._digest).digest()


def sasl_client(security: KafkaSecurity, nonce: str) -> SaslClient:
    """The client side of one login with the mechanism of `security`."""
    return PlainClient(security) if security.mechanism == "PLAIN" else ScramClient(security, nonce)


def _fields(message: bytes) -> dict[str, str]:
    try:
        text = message.decode()
    except UnicodeDecodeError as error:
        raise AuthenticationFailed("the Kafka broker's SCRAM message is not text") from error
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}
