"""The nouns of the store client: where a store is, with which keys, and what it tells about uploads, parts and objects."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Addressing = Literal["auto", "virtual", "path"]
IntegritySetting = Literal["auto", "crc32c", "md5", "none"]

# observe(operation, outcome, seconds, bytes): one call for each request on the wire. `operation` is the S3 name ("UploadPart"), `outcome`
# is "ok", a `BusyKind`, the store's error code or "redirected"/"clock_skewed"; `bytes` are those of a part's body.
Observe = Callable[[str, str, float, int], None]


class Integrity(enum.StrEnum):
    """What a part's body is protected with on its way, once it is decided."""

    CRC32C = "crc32c"
    MD5 = "md5"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `stall`: a body that makes no progress. `answer`: from the last byte sent to the last byte of the answer. Stores may work
    for minutes on a Complete of many parts: `complete`."""

    connect: float = 10.0
    stall: float = 30.0
    answer: float = 60.0
    complete: float = 600.0


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """`endpoint`: scheme, host, port. `ca_file`: PEM bundle that replaces the system's; only for https."""

    endpoint: str
    region: str
    addressing: Addressing = "auto"
    ca_file: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True)
class StoreCredentials:
    """A pair of keys. Neither is ever shown: both are secrets of the task."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """An uploaded part. `etag` as the store gave it, quotes included; `checksum` base64 CRC32C where the upload has one."""

    number: int
    etag: str
    size: int
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    initiated_ms: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What HEAD tells. `metadata` holds the user metadata, names in lower case without `x-amz-meta-`."""

    size: int
    metadata: Mapping[str, str]
    etag: str
    last_modified_ms: int


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """One line of a listing."""

    key: str
    size: int
    last_modified_ms: int


class ProblemCategory(enum.StrEnum):
    """What a problem of the live check concerns; the caller maps it to a field and an API code."""

    CREDENTIALS = "credentials"
    RIGHT_MISSING = "right_missing"
    BUCKET = "bucket"
    UNREACHABLE = "unreachable"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """One finding of the live check: `reason` is a sentence for the user; `right` is named where one is missing. A `warning` refuses
    nothing."""

    category: ProblemCategory
    reason: str
    right: str | None = None
    warning: bool = False
