"""Where a bucket is answered: endpoint, region, addressing style; and what an answer teaches about it. Pure: no I/O, used by the wire.

OBS domains refuse path style for data, IP addresses and `localhost` have no names below them, and a certificate covers one label only:
so "auto" takes the virtual-hosted style exactly where the bucket's name is one DNS label and the host is a name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlsplit

from smartconnect.objectstore.errors import StoreRefused
from smartconnect.objectstore.model import StoreLocation

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])")
_REGION_HEADERS: Final = ("x-amz-bucket-region", "x-obs-bucket-location", "x-obs-bucket-region")


@dataclass(frozen=True, slots=True)
class Place:
    """`endpoint` without a trailing slash and without the bucket; `virtual`: the bucket is a label before the host."""

    endpoint: str
    region: str
    virtual: bool

    def base_url(self, bucket: str) -> str:
        """The URL of the bucket, without a trailing slash; keys follow after one."""
        parts = urlsplit(self.endpoint)
        if self.virtual:
            return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"
        return f"{self.endpoint}/{bucket}"


@dataclass(frozen=True, slots=True)
class Hint:
    """What an answer says about the bucket's place; empty where it says nothing."""

    region: str = ""
    endpoint: str = ""


def encode_path(key: str) -> str:
    """Every byte outside unreserved and `/`, once: `+` is `%2B`."""
    return quote(key, safe="/-_.~")


def encode_query(value: str) -> str:
    """As `encode_path`, slashes too."""
    return quote(value, safe="-_.~")


def home_of(location: StoreLocation, bucket: str) -> Place:
    """The place that the settings name. Raises `StoreRefused` for an endpoint that is no http(s) address."""
    parts = urlsplit(location.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise StoreRefused(
            f"store endpoint {location.endpoint.split('?')[0].rsplit('@')[-1]!r} is no address; write it as https://host or http://host:port",
            store_code="InvalidEndpoint",
        )
    endpoint = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return Place(endpoint=endpoint, region=location.region, virtual=_is_virtual(location, bucket, parts.hostname))


def _is_virtual(location: StoreLocation, bucket: str, host: str) -> bool:
    if location.addressing != "auto":
        return location.addressing == "virtual"
    return not _is_address(host) and host != "localhost" and _LABEL.fullmatch(bucket) is not None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def hint_of(headers: Mapping[str, str], xml: Mapping[str, str]) -> Hint:
    """What the headers and the error body (`Region`, `Endpoint`) say; a redirect names the host in `Location`."""
    region = next((headers[name] for name in _REGION_HEADERS if headers.get(name)), xml.get("Region", ""))
    location = headers.get("location", "")
    endpoint = location.split("?")[0] if location.startswith(("http://", "https://")) else xml.get("Endpoint", "")
    return Hint(region=region.strip(), endpoint=endpoint.strip())


def moved(place: Place, bucket: str, hint: Hint) -> Place | None:
    """The place to try instead; None if the hint teaches nothing new. A redirect from https to http is not followed."""
    scheme = urlsplit(place.endpoint).scheme
    endpoint = place.endpoint
    if hint.endpoint:
        named = urlsplit(hint.endpoint if "://" in hint.endpoint else f"{scheme}://{hint.endpoint}")
        if not named.hostname or (scheme == "https" and named.scheme != "https"):
            return None
        endpoint = f"{named.scheme}://{named.netloc.removeprefix(f'{bucket}.')}"
    elif hint.region and place.region:
        # Regional hosts carry the region as a label: s3.<region>.amazonaws.com, obs.<region>.myhuaweicloud.com.
        endpoint = endpoint.replace(f".{place.region}.", f".{hint.region}.")
    there = replace(place, endpoint=endpoint, region=hint.region or place.region)
    return None if there == place else there
