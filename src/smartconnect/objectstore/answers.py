"""What an HTTP answer of a store means. Pure: status, headers and body in, one of our errors out; used by the wire for every request.

The error's code decides before the status does: the same code comes with different statuses from different stores, and a Complete may
answer 200 with an error inside. Only then 408, 429 and 5xx are "again", 401 and 403 "refused", and other 4xx concern the key.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

from smartconnect.objectstore.errors import (
    BadDigest,
    BusyKind,
    InvalidPart,
    KeyRefused,
    NoSuchUpload,
    StoreBusy,
    StoreError,
    StoreRefused,
)

_ERROR_ROOT: Final = re.compile(rb"\s*(<\?xml[^>]*\?>)?\s*<Error[\s>]")
_FIELD: Final = re.compile(rb"<(Code|Message|Region|Endpoint)>([^<]{0,1000})</\1>")
_ERROR_BODY_BYTES: Final = 65536

_THROTTLED: Final = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "Throttled",
        "TooManyRequests",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
    }
)
_BUSY: Final = frozenset(
    {"InternalError", "ServiceUnavailable", "ServerBusy", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"}
)
_UPLOAD_GONE: Final = frozenset({"NoSuchUpload"})
_INVALID_PART: Final = frozenset({"InvalidPart", "InvalidPartOrder"})
_DAMAGED: Final = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
_CREDENTIALS: Final = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidSecurity",
        "XAdminUserNotFound",
    }
)
_REFUSED_ADVICE: Final = {
    "AccessDenied": "check the key, and give it this right",
    "AccountProblem": "the account needs attention",
    "AllAccessDisabled": "the bucket is locked",
    "AuthorizationHeaderMalformed": "check the region",
    "AuthorizationQueryParametersError": "check the region",
    "InArrearOrInsufficientBalance": "the account is in arrears",
    "InvalidBucketName": "check the bucket's name",
    "NoSuchBucket": "check the bucket's name and the endpoint",
    "NotSignedUp": "the account has no object storage",
    "PermanentRedirect": "check endpoint and region of the bucket",
    "RequestTimeTooSkewed": "set this machine's clock",
    "TemporaryRedirect": "check endpoint and region of the bucket",
    "VirtualHostDomainRequired": 'set addressing = "virtual" for the bucket',
}


_IF_IT_LASTS: Final = "if it lasts, check the store"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. Header names in lower case. `fields` are Code, Message, Region, Endpoint of an error body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def fields(self) -> dict[str, str]:
        """Empty for a body that is no error document."""
        if not _ERROR_ROOT.match(self.body[:_ERROR_BODY_BYTES]):
            return {}
        found = _FIELD.findall(self.body[:_ERROR_BODY_BYTES])
        return {name.decode(): html.unescape(text.decode("utf-8", "replace")).strip() for name, text in found}

    def is_error(self) -> bool:
        """True for everything that is not a plain success, an error inside a 200 included."""
        return not 200 <= self.status < 300 or _ERROR_ROOT.match(self.body) is not None

    def date_s(self) -> float | None:
        """The server's wall clock, epoch seconds; None if it does not say."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Subject:
    """What was asked, for the sentence: S3 operation, bucket, key (or none), endpoint. `hidden`: strings that no message may show."""

    operation: str
    bucket: str
    key: str
    endpoint: str
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        where = f"bucket {self.bucket} at {self.endpoint}"
        return f"{self.operation} of {self.key} in {where}" if self.key else f"{self.operation} in {where}"

    def clean(self, text: str) -> str:
        """A store's own words, short, without our keys."""
        for secret in self.hidden:
            if secret:
                text = text.replace(secret, "***")
        return " ".join(text.split())[:200]


def error_of(answer: Answer, subject: Subject) -> StoreError:
    """The error that an answer with `is_error()` stands for."""
    fields = answer.fields()
    code = subject.clean(fields.get("Code", "")) or _code_of_status(answer.status)
    said = subject.clean(fields.get("Message", ""))
    sentence = f"{subject} answered {answer.status} {code}" + (f" ({said.rstrip('.')})" if said else "")
    if code in _UPLOAD_GONE:
        return NoSuchUpload(f"{sentence}; the upload was completed or aborted")
    if code in _INVALID_PART:
        return InvalidPart(f"{sentence}; the parts have to be listed again")
    if code in _DAMAGED:
        return BadDigest(f"{sentence}; the bytes were damaged on their way")
    if (kind := _busy_kind(answer.status, code)) is not None:
        return StoreBusy(f"{sentence}; {_IF_IT_LASTS}", kind=kind, store_code=code)
    if code in _CREDENTIALS:
        return StoreRefused(f"{sentence}; check access key and secret key", store_code=code)
    if code in _REFUSED_ADVICE or answer.status in (401, 402, 403) or "Quota" in code or 300 <= answer.status < 400:
        advice = _REFUSED_ADVICE.get(code, "check bucket, rights and quota")
        return StoreRefused(f"{sentence}; {advice}", store_code=code)
    return KeyRefused(f"{sentence}; it will not be accepted as it is", store_code=code)


def is_credentials(error: StoreRefused) -> bool:
    """True if the pair of keys itself is refused, not a single right."""
    return error.store_code in _CREDENTIALS


def _busy_kind(status: int, code: str) -> BusyKind | None:
    if code in _THROTTLED or status == 429:
        return BusyKind.THROTTLED
    if code == "RequestTimeout" or status == 408:
        return BusyKind.TIMEOUT
    # 501 and 505 are answers to what we are, not to the moment.
    retryable = code in _BUSY or (status >= 500 and status not in (501, 505))
    if 200 <= status < 300:
        return BusyKind.ERROR_IN_200 if retryable or code == _code_of_status(status) else None
    return BusyKind.SERVER_ERROR if retryable else None


def _code_of_status(status: int) -> str:
    """A word for an answer without a body (HEAD, proxies)."""
    known = {401: "Unauthorized", 403: "AccessDenied", 404: "NotFound", 429: "TooManyRequests", 503: "ServiceUnavailable"}
    if status in known:
        return known[status]
    return "Redirect" if 300 <= status < 400 else f"Http{status}"
