"""Signatures carry the time that is passed in; keys do not show themselves."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.objectstore.model import StoreCredentials
from smartconnect.objectstore.place import encode_path, encode_query
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


class BotocoreAt(S3SigV4QueryAuth):
    """botocore's own presigning, at a time of ours."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = "20260501T120000Z"
        super()._modify_request_before_signing(request)


def botocore_presigns(keys: StoreCredentials, method: str, url: str, headers: dict[str, str]) -> str:
    request = AWSRequest(method=method, url=url, headers=headers)
    BotocoreAt(Credentials(keys.access_key, keys.secret_key), "s3", "cn-north-4", expires=900).add_auth(request)
    return str(request.url)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
ascii_words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(
    st.sampled_from(["PUT", "GET"]),
    st.sampled_from(
        [
            "http://127.0.0.1:7070",
            "https://obs.example.com",
            "https://lake.obs.example.com:443",
            "http://[::1]:80",
            "http://[::1]:81",
        ]
    ),
    words,
    st.dictionaries(st.sampled_from(["partNumber", "uploadId", "a", "a-b", "A"]), words, max_size=4),
    st.dictionaries(st.sampled_from(["Content-MD5", "x-amz-checksum-crc32c", "Range"]), ascii_words, max_size=3),
    st.tuples(ascii_words, ascii_words),
)
def test_botocore_signs_the_same(
    method: str, base: str, key: str, query: dict[str, str], headers: dict[str, str], pair: Any
) -> None:
    url = f"{base}/lake/{encode_path(key)}"
    if query:
        url += "?" + "&".join(f"{encode_query(name)}={encode_query(value)}" for name, value in query.items())
    keys = StoreCredentials(*pair)
    ours = Signer(keys, "cn-north-4").presign(method, url, headers, MAY_2026)
    assert ours == botocore_presigns(keys, method, url, dict(headers))


@pytest.mark.parametrize("now_s", [MAY_2026, MAY_2026 + 86_400])
def test_a_days_key_is_of_that_day_and_of_these_keys(now_s: float) -> None:
    url = "http://127.0.0.1:7070/lake/a"
    signatures = {
        Signer(keys, "cn-north-4").presign("GET", url, {}, now_s) for keys in (KEYS, StoreCredentials("AKSECRET", "OTHER"))
    }
    assert len(signatures) == 2
