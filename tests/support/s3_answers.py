"""Ready answers of an S3 server that has trouble, for the rules of `s3_proxy`. The error body is the one of the S3 API reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, code: str, message: str = "made by a test", headers: Mapping[str, str] | None = None) -> Answer:
    """An `<Error>` body with any status; with 200 it is what CompleteMultipartUpload may answer after a long wait."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message><RequestId>test</RequestId></Error>"
    ).encode()
    return Answer(status, body, {"Content-Type": "application/xml", **(headers or {})})


SLOW_DOWN = error(503, "SlowDown", "Please reduce your request rate.")
SERVICE_UNAVAILABLE = error(503, "ServiceUnavailable")
INTERNAL_ERROR = error(500, "InternalError")
COMPLETE_FAILED_WITH_200 = error(200, "InternalError", "We encountered an internal error. Please try again.")
ACCESS_DENIED = error(403, "AccessDenied", "Access Denied")
NO_SUCH_UPLOAD = error(404, "NoSuchUpload")


def redirect(location: str, status: int = 307, code: str = "TemporaryRedirect") -> Answer:
    """Send the client elsewhere: 307 for a while, 301 (`PermanentRedirect`) for good."""
    return error(status, code, headers={"Location": location})
