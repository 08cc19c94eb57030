"""SDK-HMAC-SHA256, the request signature of Huawei Cloud's SDKs (api.md §3; signing guide of API Gateway): the text that is signed and
the signature, for both sides: the API verifies with them (`api/signing.py`), the command line signs. Pure: secret and time are passed in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from smartconnect.domain.secret import Secret

ALGORITHM = "SDK-HMAC-SHA256"
DATE_HEADER = "x-sdk-date"
_UNRESERVED = "-_.~"


def header_text(value: bytes) -> str:
    """A header's value such that `wire_bytes` gives its bytes back: SDKs sign and send UTF-8, whatever HTTP says."""
    return value.decode("utf-8", "surrogateescape")


def wire_bytes(text: str) -> bytes:
    """The inverse of `header_text`."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it was received. `headers`: lower-case name → all its values, decoded by `header_text`; `path`, `query`: undecoded."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def values(self, name: str) -> Sequence[str]:
        return self.headers.get(name, ())


def canonical_request(request: RawRequest, signed: Sequence[str], body_hash: str) -> str:
    """The text that is signed. The whole path is decoded before it is split, so that %2F separates; it ends in "/", whatever was sent.
    Headers come in the order of SignedHeaders."""
    segments = unquote_to_bytes(request.path).split(b"/")
    uri = "/".join(quote(segment, safe=_UNRESERVED) for segment in segments)
    uri += "" if uri.endswith("/") else "/"
    pairs = sorted(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True))
    query = "&".join(f"{quote(key, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for key, value in pairs)
    lines = "".join(f"{name}:{request.headers[name][0].strip()}\n" for name in signed)
    return "\n".join([request.method, uri, query, lines, ";".join(signed), body_hash])


def signature(secret_key: Secret, sdk_date: str, canonical: str) -> str:
    """One HMAC, no key derivation."""
    digest = hashlib.sha256(wire_bytes(canonical)).hexdigest()
    to_sign = f"{ALGORITHM}\n{sdk_date}\n{digest}"
    return hmac.new(secret_key.reveal().encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def signed_headers(request: RawRequest, access_key: str, secret_key: Secret, now_s: float) -> dict[str, str]:
    """The two headers that sign a request. All headers of `request` are signed and must be sent exactly so; `host` is among them."""
    sdk_date = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {**request.headers, DATE_HEADER: (sdk_date,)}
    dated = RawRequest(request.method, request.path, request.query, headers, request.body)
    names = sorted(headers)
    canonical = canonical_request(dated, names, hashlib.sha256(request.body).hexdigest())
    claim = f"Access={access_key}, SignedHeaders={';'.join(names)}, Signature={signature(secret_key, sdk_date, canonical)}"
    return {"X-Sdk-Date": sdk_date, "Authorization": f"{ALGORITHM} {claim}"}
