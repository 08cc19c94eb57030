"""AWS Signature V4 at a time that is passed in, so that a clock that is wrong here (or there) can be corrected by what the store's `Date`
header says. botocore signs what botocore writes. A part's URL is signed here, in a tenth of the time: with many parts a second botocore's
way of it was a fifteenth of all that a dump costs. The suite holds both to the same signatures. Used by the wire.

Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from smartconnect.objectstore.model import StoreCredentials

# Checked by stores when the request begins; every try is signed anew.
_EXPIRES_S: Final = 900
_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class _HeaderAuth(S3SigV4Auth):
    timestamp = ""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self.timestamp
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one region with one pair of keys. `now_s`: epoch seconds as the store sees them."""

    credentials: StoreCredentials
    region: str

    def sign(self, request: AWSRequest, now_s: float) -> None:
        """Add the headers of a signed request."""
        auth = _HeaderAuth(self._keys(), "s3", self.region)
        auth.timestamp = _timestamp(now_s)
        auth.add_auth(request)

    def presign(self, method: str, url: str, headers: Mapping[str, str], now_s: float) -> str:
        """A URL that carries its signature; `headers` are part of it and must be sent as given. Path and query of `url` are encoded."""
        moment = _timestamp(now_s)
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        parts = urlsplit(url)
        signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host_of(parts)}
        names = ";".join(sorted(signed))
        query = "&".join(
            [
                *([parts.query] if parts.query else []),
                f"X-Amz-Algorithm={_ALGORITHM}",
                f"X-Amz-Credential={quote(f'{self.credentials.access_key}/{scope}', safe='-_.~')}",
                f"X-Amz-Date={moment}",
                f"X-Amz-Expires={_EXPIRES_S}",
                f"X-Amz-SignedHeaders={quote(names, safe='-_.~')}",
            ]
        )
        canonical_query = "&".join("".join(pair) for pair in sorted(pair.partition("=") for pair in query.split("&")))
        canonical_headers = [f"{name}:{signed[name]}" for name in sorted(signed)]
        request = "\n".join([method, parts.path, canonical_query, *canonical_headers, "", names, "UNSIGNED-PAYLOAD"])
        text = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = _signing_key(self.credentials.secret_key, moment[:8], self.region)
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}&X-Amz-Signature={signature}"

    def _keys(self) -> Credentials:
        return Credentials(self.credentials.access_key, self.credentials.secret_key)


def _timestamp(now_s: float) -> str:
    return _timestamp_of(int(now_s))


@lru_cache(maxsize=4)
def _timestamp_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(_TIMESTAMP)


def host_of(parts: SplitResult) -> str:
    """The Host header as HTTP clients write it."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


@lru_cache(maxsize=64)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    """The same for a day."""
    key = f"AWS4{secret_key}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
