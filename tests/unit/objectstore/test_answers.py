"""What each answer of a store becomes: the two tables of obs-dump §3 and §8."""

from __future__ import annotations

import pytest

from smartconnect.domain.errors import PartitionBlocked, Retryable, TargetRefused, TargetUnreachable
from smartconnect.objectstore.answers import Answer, Subject, error_of, is_credentials
from smartconnect.objectstore.errors import BadDigest, BusyKind, InvalidPart, KeyRefused, NoSuchUpload, StoreBusy, StoreRefused

ABOUT = Subject("UploadPart", "lake", "dump/orders+0+0000000004", "https://s3.example.com", hidden=("AKSECRET", "SKSECRET"))


def answer(status: int, code: str = "", message: str = "") -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, {}, body.encode() if code else b"")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (408, "", BusyKind.TIMEOUT),
        (400, "RequestTimeout", BusyKind.TIMEOUT),
        (429, "", BusyKind.THROTTLED),
        (503, "SlowDown", BusyKind.THROTTLED),
        (503, "", BusyKind.SERVER_ERROR),
        (500, "InternalError", BusyKind.SERVER_ERROR),
        (502, "", BusyKind.SERVER_ERROR),
        (409, "OperationAborted", BusyKind.SERVER_ERROR),
        (200, "InternalError", BusyKind.ERROR_IN_200),
        (200, "SlowDown", BusyKind.THROTTLED),
    ],
)
def test_what_passes_by_itself_is_busy(status: int, code: str, kind: BusyKind) -> None:
    error = error_of(answer(status, code), ABOUT)
    assert isinstance(error, StoreBusy)
    assert isinstance(error, TargetUnreachable)
    assert error.kind is kind


@pytest.mark.parametrize(
    ("status", "code", "credentials"),
    [
        (403, "AccessDenied", False),
        (403, "InvalidAccessKeyId", True),
        (403, "SignatureDoesNotMatch", True),
        (400, "ExpiredToken", True),
        (404, "XAdminUserNotFound", True),
        (404, "NoSuchBucket", False),
        (403, "QuotaExceeded", False),
        (409, "BucketQuotaExceeded", False),
        (403, "", False),
        (401, "", False),
        (301, "PermanentRedirect", False),
        (307, "", False),
        (403, "RequestTimeTooSkewed", False),
        (400, "VirtualHostDomainRequired", False),
        (200, "AccessDenied", False),
    ],
)
def test_what_somebody_has_to_change_is_refused(status: int, code: str, credentials: bool) -> None:
    error = error_of(answer(status, code), ABOUT)
    assert isinstance(error, StoreRefused)
    assert isinstance(error, TargetRefused)
    assert is_credentials(error) is credentials


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchUpload", NoSuchUpload),
        (200, "NoSuchUpload", NoSuchUpload),
        (400, "InvalidPart", InvalidPart),
        (400, "InvalidPartOrder", InvalidPart),
        (400, "BadDigest", BadDigest),
        (400, "XAmzContentChecksumMismatch", BadDigest),
        (400, "EntityTooSmall", KeyRefused),
        (400, "KeyTooLongError", KeyRefused),
        (404, "NoSuchKey", KeyRefused),
        (404, "", KeyRefused),
        (412, "PreconditionFailed", KeyRefused),
        (501, "NotImplemented", KeyRefused),
    ],
)
def test_what_concerns_one_upload_or_key(status: int, code: str, kind: type[Exception]) -> None:
    error = error_of(answer(status, code), ABOUT)
    assert type(error) is kind
    assert isinstance(error, Retryable | PartitionBlocked)


def test_sentence_says_what_where_why_and_what_to_do() -> None:
    error = error_of(answer(404, "NoSuchBucket", "The specified bucket does not exist."), ABOUT)
    assert str(error) == (
        "UploadPart of dump/orders+0+0000000004 in bucket lake at https://s3.example.com answered 404 NoSuchBucket"
        " (The specified bucket does not exist); check the bucket's name and the endpoint"
    )


def test_a_store_that_repeats_our_keys_does_not_get_them_into_the_sentence() -> None:
    error = error_of(answer(403, "InvalidAccessKeyId", "Key AKSECRET with SKSECRET is unknown"), ABOUT)
    assert "SECRET" not in str(error)
    assert "SECRET" not in repr(ABOUT)


def test_a_store_that_writes_novels_gets_a_line() -> None:
    assert len(str(error_of(answer(400, "Odd", "word\n" * 150), ABOUT))) < 500


@pytest.mark.parametrize("body", [b"<html>502 Bad gateway</html>", b"\xff\xfe", b"<Error><Code>unfinished", b"<Error>" * 5000])
def test_a_body_that_is_no_error_document_leaves_the_status_to_decide(body: bytes) -> None:
    assert type(error_of(Answer(502, {}, body), ABOUT)) is StoreBusy


def test_an_error_inside_a_200_is_an_error_and_a_result_is_not() -> None:
    assert answer(200, "InternalError").is_error()
    assert Answer(200, {}, b"  \n<Error><Code>InternalError</Code></Error>").is_error()
    result = b'<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>'
    assert not Answer(200, {}, result).is_error()
    assert not Answer(204, {}, b"").is_error()


def test_the_date_of_an_answer() -> None:
    assert Answer(200, {"date": "Thu, 01 Jan 1970 00:01:40 GMT"}).date_s() == 100.0
    assert Answer(200, {"date": "yesterday"}).date_s() is None
    assert Answer(200, {}).date_s() is None
