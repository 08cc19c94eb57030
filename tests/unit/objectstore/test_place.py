"""Where a bucket is addressed, and what redirects teach."""

from __future__ import annotations

import pytest

from smartconnect.objectstore.errors import StoreRefused
from smartconnect.objectstore.model import Addressing, StoreLocation
from smartconnect.objectstore.place import Hint, Place, encode_path, hint_of, home_of, moved

OBS = Place("https://obs.cn-north-4.myhuaweicloud.com", "cn-north-4", virtual=True)


@pytest.mark.parametrize(
    ("endpoint", "addressing", "bucket", "virtual"),
    [
        ("https://obs.cn-north-4.myhuaweicloud.com", "auto", "lake", True),
        ("http://127.0.0.1:7070", "auto", "lake", False),
        ("http://[::1]:7070", "auto", "lake", False),
        ("http://localhost:7070", "auto", "lake", False),
        ("http://s3.localhost:7070", "auto", "lake", True),
        ("https://s3.example.com", "auto", "lake.of.data", False),
        ("https://s3.example.com", "auto", "Lake", False),
        ("https://s3.example.com", "auto", "lake_1", False),
        ("https://s3.example.com", "auto", "l-", False),
        ("https://s3.example.com", "path", "lake", False),
        ("http://127.0.0.1:7070", "virtual", "lake", True),
    ],
)
def test_addressing_style(endpoint: str, addressing: Addressing, bucket: str, virtual: bool) -> None:
    assert home_of(StoreLocation(endpoint, "r", addressing), bucket).virtual is virtual


def test_a_slash_after_the_endpoint_does_not_count() -> None:
    assert home_of(StoreLocation("http://s3.example.com:80/", "r"), "lake").endpoint == "http://s3.example.com:80"


@pytest.mark.parametrize(
    "endpoint", ["", "s3.example.com", "ftp://s3.example.com", "https://", "https://key:secret@s3.example.com"]
)
def test_an_endpoint_that_is_no_address_is_refused_without_repeating_secrets(endpoint: str) -> None:
    with pytest.raises(StoreRefused) as refused:
        home_of(StoreLocation(endpoint, "r"), "lake")
    assert refused.value.store_code == "InvalidEndpoint"
    assert "secret" not in str(refused.value)


def test_plus_is_encoded_once_and_slashes_are_kept() -> None:
    assert encode_path("dump/orders/orders+0+0000000004+2") == "dump/orders/orders%2B0%2B0000000004%2B2"
    assert encode_path("a b/%2B~é") == "a%20b/%252B~%C3%A9"


@pytest.mark.parametrize("header", ["x-amz-bucket-region", "x-obs-bucket-location"])
def test_region_header_moves_region_and_regional_host(header: str) -> None:
    there = moved(OBS, "lake", hint_of({header: "cn-east-3"}, {}))
    assert there == Place("https://obs.cn-east-3.myhuaweicloud.com", "cn-east-3", virtual=True)


def test_location_names_the_host_without_the_bucket() -> None:
    hint = hint_of({"location": "https://lake.obs.cn-east-3.myhuaweicloud.com/dump/x?partNumber=1"}, {})
    there = moved(OBS, "lake", hint)
    assert there is not None
    assert there.endpoint == "https://obs.cn-east-3.myhuaweicloud.com"


def test_endpoint_in_the_error_body_is_a_host() -> None:
    there = moved(OBS, "lake", hint_of({}, {"Endpoint": "lake.obs.cn-east-3.myhuaweicloud.com"}))
    assert there is not None
    assert there.endpoint == "https://obs.cn-east-3.myhuaweicloud.com"


def test_region_of_a_malformed_authorization_is_learned() -> None:
    there = moved(Place("http://127.0.0.1:7070", "us-east-1", virtual=False), "lake", hint_of({}, {"Region": "eu-west-1"}))
    assert there == Place("http://127.0.0.1:7070", "eu-west-1", virtual=False)


@pytest.mark.parametrize(
    "hint",
    [
        Hint(),
        Hint(region="cn-north-4"),
        Hint(endpoint="http://obs.cn-east-3.myhuaweicloud.com"),
        Hint(endpoint="https://lake.obs.cn-north-4.myhuaweicloud.com"),
    ],
)
def test_a_hint_that_teaches_nothing_or_drops_tls_is_not_followed(hint: Hint) -> None:
    assert moved(OBS, "lake", hint) is None
