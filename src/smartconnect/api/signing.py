"""SDK-HMAC-SHA256, the request signature of Huawei Cloud's SDKs (api.md §3; signing guide of API Gateway). Pure: the request as it came
over the wire, the secret and the time are passed in. What is signed, and how, is `domain/signature.py`: whoever signs needs it too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from smartconnect.domain.secret import Secret
from smartconnect.domain.signature import ALGORITHM, DATE_HEADER, RawRequest, canonical_request, header_text, signature, wire_bytes

__all__ = [
    "ALGORITHM",
    "DATE_HEADER",
    "Claim",
    "RawRequest",
    "SignatureRefused",
    "canonical_request",
    "header_text",
    "read_claim",
    "signature",
    "verify",
    "wire_bytes",
]

MAX_SKEW_S = 15 * 60
HASH_HEADER = "x-sdk-content-sha256"

_HEADER = re.compile(r"SDK-HMAC-SHA256 Access=([^\s,]+), ?SignedHeaders=([a-z0-9!#$%&'*+.^_`|~;-]+), ?Signature=([0-9a-f]{64})")
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")


class SignatureRefused(Exception):
    """str() says why if that helps an honest client with its clock or form; it is empty for a signature that does not fit."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A well-formed Authorization header."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def read_claim(request: RawRequest) -> Claim:
    """The Authorization header, if it is one of ours; the first three demands of api.md §3."""
    sent = request.values("authorization")
    if len(sent) != 1 or not sent[0].startswith(f"{ALGORITHM} "):
        raise SignatureRefused(f"the algorithm must be {ALGORITHM}")
    match = _HEADER.fullmatch(sent[0])
    if match is None:
        raise SignatureRefused("the Authorization header is malformed")
    names = tuple(match[2].split(";"))
    if "" in names or len(set(names)) < len(names):
        raise SignatureRefused("the Authorization header is malformed")
    if "host" not in names or DATE_HEADER not in names:
        raise SignatureRefused("host and x-sdk-date must be signed")
    return Claim(access_key=match[1], signed_headers=names, signature=match[3])


def verify(request: RawRequest, claim: Claim, secret_key: Secret, now_s: float) -> None:
    """Return if the claim holds; raise `SignatureRefused` at the first demand that does not."""
    for name in claim.signed_headers:
        if len(request.values(name)) != 1:
            raise SignatureRefused(f"the signed header {name[:64]} must be there once")
    sdk_date = request.headers[DATE_HEADER][0].strip()
    if abs(now_s - _epoch_s(sdk_date)) > MAX_SKEW_S:
        raise SignatureRefused("X-Sdk-Date is more than 15 minutes from the clock of this service")
    body_hash = hashlib.sha256(request.body).hexdigest()
    for sent in request.values(HASH_HEADER):
        if HASH_HEADER not in claim.signed_headers or not hmac.compare_digest(wire_bytes(sent.strip()), wire_bytes(body_hash)):
            raise SignatureRefused("X-Sdk-Content-Sha256 must be signed and be the hash of the body")
    expected = signature(secret_key, sdk_date, canonical_request(request, claim.signed_headers, body_hash))
    if not hmac.compare_digest(expected, claim.signature):
        raise SignatureRefused


def _epoch_s(sdk_date: str) -> float:
    try:
        if not _DATE.fullmatch(sdk_date):
            raise ValueError(sdk_date)
        return datetime.strptime(sdk_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureRefused("X-Sdk-Date must look like 20260102T030405Z") from None
