"""Signatures carry the time that is passed in; keys do not show themselves."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSRequest

from smartconnect.objectstore.model import StoreCredentials
from smartconnect.objectstore.signing import Signer

KEYS = StoreCredentials("AKSECRET", "SKSECRET")
SIGNER = Signer(KEYS, "cn-north-4")
MAY_2026 = 1_777_636_800.0  # 2026-05-01T12:00:00Z


def test_a_presigned_url_is_of_the_time_that_was_passed_in() -> None:
    url = SIGNER.presign("PUT", "https://s3.example.com/lake/a%2Bb?partNumber=7&uploadId=x%2By", {}, MAY_2026)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Date"] == ["20260501T120000Z"]
    assert query["X-Amz-Credential"] == ["AKSECRET/20260501/cn-north-4/s3/aws4_request"]
    assert (query["partNumber"], query["uploadId"]) == (["7"], ["x+y"])
    assert urlsplit(url).path == "/lake/a%2Bb"


def test_headers_given_to_presign_are_part_of_the_signature() -> None:
    url = SIGNER.presign("PUT", "https://s3.example.com/lake/a", {"Content-MD5": "x", "x-amz-checksum-crc32c": "y"}, MAY_2026)
    assert parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"] == ["content-md5;host;x-amz-checksum-crc32c"]


def test_a_signed_request_is_of_the_time_that_was_passed_in() -> None:
    request = AWSRequest(method="GET", url="https://s3.example.com/lake")
    SIGNER.sign(request, MAY_2026)
    assert request.headers["X-Amz-Date"] == "20260501T120000Z"
    assert "AKSECRET/20260501/cn-north-4/s3/aws4_request" in request.headers["Authorization"]


def test_keys_do_not_show_themselves() -> None:
    assert "SECRET" not in repr(KEYS)
    assert "SECRET" not in f"{KEYS} {SIGNER}"
