"""AWS Signature V4 at a time that is passed in. botocore does the signing; these classes only say what time it is, so that a clock that
is wrong here (or there) can be corrected by what the store's `Date` header says. Used by the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from smartconnect.objectstore.model import StoreCredentials

# Checked by stores when the request begins; every try is signed anew.
_EXPIRES_S: Final = 900
_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"


class _HeaderAuth(S3SigV4Auth):
    timestamp = ""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self.timestamp
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


class _QueryAuth(S3SigV4QueryAuth):
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

    def presign(self, method: str, url: str, headers: dict[str, str], now_s: float) -> str:
        """A URL that carries its signature; `headers` are part of it and must be sent as given."""
        request = AWSRequest(method=method, url=url, headers=headers)
        auth = _QueryAuth(self._keys(), "s3", self.region, expires=_EXPIRES_S)
        auth.timestamp = _timestamp(now_s)
        auth.add_auth(request)
        return str(request.url)

    def _keys(self) -> Credentials:
        return Credentials(self.credentials.access_key, self.credentials.secret_key)


def _timestamp(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime(_TIMESTAMP)
