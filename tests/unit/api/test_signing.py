"""SDK-HMAC-SHA256: known answers, random requests, and each demand broken alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.api.signing import (
    Claim,
    RawRequest,
    SignatureRefused,
    canonical_request,
    read_claim,
    signature,
    verify,
)
from smartconnect.domain.secret import Secret
from tests.unit.api.kit import NOW_MS, PROJECT, Client, Signer, tasks_url

SECRET = Secret("SK-EXAMPLE")
DATE = "20260102T030405Z"
DATE_S = 1767323045
PATH = f"/v2/{PROJECT}/instances/b54c9dd8-0000-0000-0000-000000000001/connector/tasks".encode()
HEADERS = {
    "content-type": ["application/json"],
    "host": ["127.0.0.1:8080"],
    "user-agent": ["example"],
    "x-project-id": [PROJECT],
    "x-sdk-date": [DATE],
}


def signed(request: RawRequest, secret: Secret = SECRET) -> str:
    names = sorted(request.headers)
    return signature(secret, DATE, canonical_request(request, names, hashlib.sha256(request.body).hexdigest()))


def claim_of(request: RawRequest) -> Claim:
    return Claim("AK-EXAMPLE", tuple(sorted(request.headers)), signed(request))


@pytest.mark.parametrize(
    ("method", "query", "body", "expected"),
    [
        ("POST", b"", b'{"task_name": "d1"}', "9ee2f33ba0f2e983258d4d8c52cd64870f26abee47540bb64f6f37aa3c44a557"),
        ("GET", b"limit=2&offset=3", b"", "bdf876bf3b238ddcc73a906c0d7275a760eea27b068c55562903d05e66c72fbc"),
    ],
)
def test_known_answers(method: str, query: bytes, body: bytes, expected: str) -> None:
    assert signed(RawRequest(method, PATH, query, HEADERS, body)) == expected


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@given(
    segments=st.lists(texts, max_size=6),
    pairs=st.lists(st.tuples(texts, texts), max_size=6),
    body=st.binary(max_size=100),
    agent=st.binary(max_size=20),
)
def test_what_is_signed_is_verified_and_an_altered_secret_is_not(
    segments: list[str], pairs: list[tuple[str, str]], body: bytes, agent: bytes
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    headers = {**HEADERS, "user-agent": [agent.decode("utf-8", "surrogateescape")]}
    request = RawRequest("PUT", path.encode(), query.encode(), headers, body)

    claim = claim_of(request)

    verify(request, claim, SECRET, DATE_S)
    with pytest.raises(SignatureRefused):
        verify(request, claim, Secret("SK-OTHER"), DATE_S)


def test_an_encoded_slash_separates_segments_as_the_sdk_sees_it() -> None:
    whole = RawRequest("GET", b"/v2/a%2Fb", b"", HEADERS, b"")
    split = RawRequest("GET", b"/v2/a/b", b"", HEADERS, b"")
    assert signed(whole) == signed(split)


def test_order_of_query_parameters_does_not_count() -> None:
    one = RawRequest("GET", PATH, b"offset=3&limit=2", HEADERS, b"")
    other = RawRequest("GET", PATH, b"limit=2&offset=3", HEADERS, b"")
    assert signed(one) == signed(other)


ALTERATIONS: dict[str, Callable[[RawRequest], RawRequest]] = {
    "method": lambda request: replace(request, method="PUT"),
    "path": lambda request: replace(request, path=request.path + b"x"),
    "query": lambda request: replace(request, query=b"limit=2"),
    "body": lambda request: replace(request, body=b"{}"),
    "a signed header": lambda request: replace(request, headers={**request.headers, "user-agent": ["other"]}),
    "the date": lambda request: replace(request, headers={**request.headers, "x-sdk-date": ["20260102T030406Z"]}),
    "a signed header gone": lambda request: replace(
        request, headers={name: values for name, values in request.headers.items() if name != "user-agent"}
    ),
    "a signed header twice": lambda request: replace(request, headers={**request.headers, "user-agent": ["example", "example"]}),
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_altering_a_signed_part_is_refused(what: str) -> None:
    request = RawRequest("POST", PATH, b"limit=1", HEADERS, b'{"task_name": "d1"}')
    claim = claim_of(request)
    with pytest.raises(SignatureRefused):
        verify(ALTERATIONS[what](request), claim, SECRET, DATE_S)


@pytest.mark.parametrize("skew_s", [-900, 900, 0])
def test_a_clock_15_minutes_off_is_accepted(skew_s: int) -> None:
    request = RawRequest("GET", PATH, b"", HEADERS, b"")
    verify(request, claim_of(request), SECRET, DATE_S + skew_s)


@pytest.mark.parametrize("skew_s", [-901, 901])
def test_a_clock_further_off_is_refused_with_the_reason(skew_s: int) -> None:
    request = RawRequest("GET", PATH, b"", HEADERS, b"")
    with pytest.raises(SignatureRefused, match="15 minutes"):
        verify(request, claim_of(request), SECRET, DATE_S + skew_s)


@pytest.mark.parametrize("date", ["2026-01-02T03:04:05Z", "20261302T030405Z", "", "20260102T030405", "２０260102T030405Z"])
def test_a_malformed_date_is_refused_with_the_reason(date: str) -> None:
    request = RawRequest("GET", PATH, b"", {**HEADERS, "x-sdk-date": [date]}, b"")
    with pytest.raises(SignatureRefused, match="20260102T030405Z"):
        verify(request, claim_of(request), SECRET, DATE_S)


@pytest.mark.parametrize(
    ("sent", "is_signed"),
    [("UNSIGNED-PAYLOAD", True), ("0" * 64, True), (hashlib.sha256(b"{}").hexdigest(), False)],
)
def test_a_content_hash_must_be_signed_and_be_the_bodys(sent: str, is_signed: bool) -> None:
    request = RawRequest("POST", PATH, b"", {**HEADERS, "x-sdk-content-sha256": [sent]}, b"{}")
    claim = claim_of(request)
    if not is_signed:
        plain = claim_of(replace(request, headers=HEADERS))
        claim = plain
    with pytest.raises(SignatureRefused, match="X-Sdk-Content-Sha256"):
        verify(request, claim, SECRET, DATE_S)


def test_a_right_content_hash_that_is_signed_is_accepted() -> None:
    headers = {**HEADERS, "x-sdk-content-sha256": [hashlib.sha256(b"{}").hexdigest()]}
    request = RawRequest("POST", PATH, b"", headers, b"{}")
    verify(request, claim_of(request), SECRET, DATE_S)


GOOD = f"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature={'a' * 64}"


@pytest.mark.parametrize(
    "header",
    [
        GOOD.replace("SDK-HMAC-SHA256", "SDK-HMAC-SM3"),
        GOOD.replace("SDK-HMAC-SHA256", "SDK-ECDSA-P256-SHA256"),
        GOOD.replace("SDK-HMAC-SHA256", "V11-HMAC-SHA256"),
        GOOD.replace("SDK-HMAC-SHA256", "sdk-hmac-sha256"),
        "Basic dXNlcjpwYXNz",
        "SDK-HMAC-SHA256",
        GOOD.replace("Access=AK", "Access="),
        GOOD.replace("Access=AK, ", ""),
        GOOD.replace("host;x-sdk-date", ""),
        GOOD.replace("host;x-sdk-date", "host;;x-sdk-date"),
        GOOD.replace("host;x-sdk-date", "host;host;x-sdk-date"),
        GOOD.replace("host;x-sdk-date", "Host;X-Sdk-Date"),
        GOOD.replace("host;x-sdk-date", "host"),
        GOOD.replace("host;x-sdk-date", "x-sdk-date"),
        GOOD[:-1],
        GOOD + "a",
        GOOD.replace("a" * 64, "A" * 64),
        GOOD + ", More=1",
    ],
)
def test_any_other_authorization_header_is_refused(header: str) -> None:
    with pytest.raises(SignatureRefused):
        read_claim(RawRequest("GET", PATH, b"", {**HEADERS, "authorization": [header]}, b""))


def test_two_authorization_headers_are_refused() -> None:
    with pytest.raises(SignatureRefused):
        read_claim(RawRequest("GET", PATH, b"", {**HEADERS, "authorization": [GOOD, GOOD]}, b""))


async def test_a_signed_call_is_served_and_headers_added_after_signing_do_not_hurt(client: Client) -> None:
    headers = Signer().headers("GET", tasks_url() + "?limit=2&offset=3", more={"user-agent": "ünïcode"})
    headers["user-agent"] = headers["user-agent"].encode().decode("latin-1")

    answer = await client.get(tasks_url() + "?limit=2&offset=3", headers={**headers, "X-Project-Id": "whatever"})

    assert answer.status == 200


async def test_an_unknown_key_and_a_wrong_secret_get_the_same_answer(client: Client) -> None:
    unknown = await client.get(tasks_url(), headers=Signer(access_key="AK-NOBODY").headers("GET", tasks_url()))
    wrong = await client.get(tasks_url(), headers=Signer(secret_key=Secret("x")).headers("GET", tasks_url()))

    assert unknown.status == wrong.status == 401
    assert unknown.json()["error_code"] == wrong.json()["error_code"] == "APIGW.0301"
    assert unknown.json()["error_msg"] == "Incorrect IAM authentication information: verify aksk signature fail"
    assert unknown.json()["error_msg"] == wrong.json()["error_msg"]


async def test_the_decoys_secret_opens_nothing(client: Client) -> None:
    headers = Signer(access_key="AK-NOBODY", secret_key=Secret("decoy")).headers("GET", tasks_url())
    assert (await client.get(tasks_url(), headers=headers)).status == 401


async def test_a_clock_that_is_wrong_is_told(client: Client) -> None:
    headers = Signer(at_ms=NOW_MS - 3_600_000).headers("GET", tasks_url())
    answer = await client.get(tasks_url(), headers=headers)
    assert answer.json()["error_msg"].startswith("Incorrect IAM authentication information: verify aksk signature fail, X-Sdk-Date")
