"""Multipart uploads to OBS or any S3: one `ObjectStore` for a bucket and a pair of keys, typed errors.

Used by the jobs (data path, live checks, janitor, `verify`) and by `doctor`. Importing this package loads aiohttp and aiobotocore; a
process that opens no store should not import it.
"""

from __future__ import annotations

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
from smartconnect.objectstore.model import (
    Addressing,
    Integrity,
    IntegritySetting,
    ObjectInfo,
    ObjectSummary,
    Observe,
    Part,
    ProblemCategory,
    StoreCredentials,
    StoreLocation,
    StoreProblem,
    Timeouts,
    Upload,
)
from smartconnect.objectstore.store import ObjectStore

__all__ = [
    "Addressing",
    "BadDigest",
    "BusyKind",
    "Integrity",
    "IntegritySetting",
    "InvalidPart",
    "KeyRefused",
    "NoSuchUpload",
    "ObjectInfo",
    "ObjectStore",
    "ObjectSummary",
    "Observe",
    "Part",
    "ProblemCategory",
    "StoreBusy",
    "StoreCredentials",
    "StoreError",
    "StoreLocation",
    "StoreProblem",
    "StoreRefused",
    "Timeouts",
    "Upload",
]
