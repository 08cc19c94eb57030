"""What a store can answer, as errors. Every method of `ObjectStore` raises these and nothing else of the network or of botocore.

    Retryable
    ├── TargetUnreachable
    │   └── StoreBusy          timeout, reset, 408, 429, 5xx, SlowDown, 200 with an error inside that passes: again, with backoff
    ├── TargetRefused
    │   └── StoreRefused       the keys, the bucket or a quota: again every 30 s, at once when something was changed
    ├── NoSuchUpload           the upload was completed or aborted
    ├── InvalidPart            a part has another ETag than the one named: ListParts, then again
    └── BadDigest              the part arrived damaged: send it again
    PartitionBlocked
    └── KeyRefused             any other 4xx: concerns this one key

`store_code` is the store's own word ("AccessDenied"), or what stands for it where an answer has no body. Messages never contain keys,
signatures or URLs with a query.
"""

from __future__ import annotations

import enum

from smartconnect.domain.errors import PartitionBlocked, Retryable, TargetRefused, TargetUnreachable


class BusyKind(enum.StrEnum):
    """Why a try has to be repeated; a label of the retry metric."""

    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    ERROR_IN_200 = "error_in_200"
    UNREADABLE = "unreadable"


class StoreBusy(TargetUnreachable):
    """The store did not do it now, or did it and did not say so. The same call again is right."""

    code = "store_busy"

    def __init__(self, message: str, *, kind: BusyKind, store_code: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.store_code = store_code


class StoreRefused(TargetRefused):
    """The store refuses us as a whole: key, right, bucket, quota. Somebody has to change something."""

    code = "store_refused"

    def __init__(self, message: str, *, store_code: str) -> None:
        super().__init__(message)
        self.store_code = store_code


class NoSuchUpload(Retryable):
    """The store does not know the upload (any more)."""

    code = "no_such_upload"
    store_code = "NoSuchUpload"


class InvalidPart(Retryable):
    """A Complete named a part that is not there, or has another ETag."""

    code = "invalid_part"
    store_code = "InvalidPart"


class BadDigest(Retryable):
    """The store received other bytes than we sent."""

    code = "bad_digest"
    store_code = "BadDigest"


class KeyRefused(PartitionBlocked):
    """The store refuses this key or this upload, and will again: name too long, a part too small, an operation it does not have."""

    code = "key_refused"

    def __init__(self, message: str, *, store_code: str) -> None:
        super().__init__(message)
        self.store_code = store_code


StoreError = StoreBusy | StoreRefused | NoSuchUpload | InvalidPart | BadDigest | KeyRefused
