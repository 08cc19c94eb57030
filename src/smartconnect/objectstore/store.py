"""One bucket with one pair of keys: multipart uploads, and what it takes to find, prove and clear them. Used by the dump, by `verify`, by
`doctor` and by the checks at creation.

Every method makes one try and raises an error of `errors.py`; only redirects and a wrong clock are cured inside. Who wants to try again
repeats them itself. All methods may be called again with the same arguments: parts are replaced by equal parts, a repeated Complete or
Abort finds its work done. Complete is never conditional: a refused conditional Complete may destroy the upload.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from smartconnect.domain.clock import Clock
from smartconnect.objectstore import check as live
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.errors import BusyKind, KeyRefused, NoSuchUpload, StoreBusy, StoreError, StoreRefused
from smartconnect.objectstore.integrity import CRC32C_HEADER, checks_crc32c, part_request, protect
from smartconnect.objectstore.lifecycle import smallest_abort_days
from smartconnect.objectstore.model import (
    Integrity,
    IntegritySetting,
    ObjectInfo,
    ObjectSummary,
    Observe,
    Part,
    StoreCredentials,
    StoreLocation,
    StoreProblem,
    Upload,
)
from smartconnect.objectstore.wire import Direct, Wire

M = TypeVar("M")


def _unobserved(_operation: str, _outcome: str, _seconds: float, _nbytes: int) -> None:
    """For callers that keep no meters."""


class ObjectStore:
    """An async context manager; connections are shared with the other stores of the process. Raises `StoreRefused` for an endpoint that
    is no address."""

    def __init__(
        self,
        location: StoreLocation,
        credentials: StoreCredentials,
        bucket: str,
        *,
        integrity: IntegritySetting = "auto",
        clock: Clock,
        random: Callable[[], float],
        observe: Observe | None = None,
    ) -> None:
        self.bucket = bucket
        self._wire = Wire(location, bucket, clock=clock, observe=observe or _unobserved)
        self._wire.credentials = credentials
        self._random = random
        self._integrity = None if integrity == "auto" else Integrity(integrity)
        self._integrity_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"ObjectStore({self.bucket!r})"

    async def __aenter__(self) -> ObjectStore:
        await self._wire.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._wire.close()

    def use_credentials(self, credentials: StoreCredentials) -> None:
        """New keys count from the next try on."""
        self._wire.credentials = credentials

    async def integrity(self, key: str) -> Integrity:
        """What parts are protected with. "auto" asks the store, once, with an upload of `key` that is aborted again."""
        async with self._integrity_lock:
            if self._integrity is None:
                if await checks_crc32c(self._wire, key):
                    self._integrity = Integrity.CRC32C
                else:
                    self._integrity = Integrity.NONE if self._wire.https else Integrity.MD5
            return self._integrity

    async def create_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload of `key`; its id. `metadata` (ASCII) becomes the object's user metadata."""
        protected = {"ChecksumAlgorithm": "CRC32C"} if await self.integrity(key) is Integrity.CRC32C else {}
        return await self.begin(key, Metadata=dict(metadata), **protected)

    async def begin(self, key: str, **params: Any) -> str:
        """An upload as S3 makes it without asking for more: for checks, which only list and abort it."""
        begun = await self._wire.call("create_multipart_upload", key=key, **params)
        if not begun.get("UploadId"):
            raise _unreadable(f"CreateMultipartUpload of {key}")
        return str(begun["UploadId"])

    async def upload_part(
        self, key: str, upload_id: str, number: int, blocks: Sequence[memoryview], crc32c: int | None = None
    ) -> Part:
        """Send `blocks`, in order, as part `number` (1…10,000). The blocks must not change until this returns or raises. `crc32c`: of
        all of them, if the caller knows it."""
        body = Blocks(blocks, crc32c)
        headers = await protect(await self.integrity(key), body)
        try:
            answer = await self._wire.exchange(part_request(key, upload_id, number, body, headers))
        except StoreBusy as busy:
            raise await self._explained(busy, key, upload_id) from None
        etag = answer.headers.get("etag", "")
        if not etag:
            raise _unreadable(f"UploadPart of {key}")
        return Part(number, etag, body.nbytes, headers.get(CRC32C_HEADER))

    async def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object visible. Returns only if the store said so; after any `StoreBusy` it may have happened."""
        listed = [_completed(part) for part in parts]
        done = await self._wire.call("complete_multipart_upload", key=key, UploadId=upload_id, MultipartUpload={"Parts": listed})
        if not (done.get("ETag") or done.get("Location") or done.get("Key")):
            raise _unreadable(f"CompleteMultipartUpload of {key}")

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts. One that is gone is dropped."""
        try:
            await self._wire.call("abort_multipart_upload", key=key, UploadId=upload_id)
        except NoSuchUpload:
            return

    async def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """All parts of an upload, by number."""
        parts: list[Part] = []
        marker = 0
        while True:
            page = await self._wire.call("list_parts", key=key, UploadId=upload_id, PartNumberMarker=marker)
            parts.extend(_part(entry) for entry in page.get("Parts", []))
            if not page.get("IsTruncated"):
                return parts
            marker = _advanced("ListParts", marker, int(page.get("NextPartNumberMarker") or 0))

    async def list_uploads(self, prefix: str) -> AsyncIterator[Upload]:
        """All uploads under way whose key begins with `prefix`, by key."""
        given = {"KeyMarker": "", "UploadIdMarker": ""}
        asked = given
        while True:
            try:
                markers = {name: value for name, value in asked.items() if value}
                page = await self._wire.call("list_multipart_uploads", Prefix=prefix, **markers)
            except KeyRefused as refused:
                if refused.store_code != "InvalidArgument" or not asked["UploadIdMarker"]:
                    raise
                # versitygw (seen in 1.7.0) refuses the upload marker that it gave itself. With the key alone it goes on; what else there
                # is of that very key is listed once the uploads before it are gone.
                asked = {**asked, "UploadIdMarker": ""}
                continue
            for entry in page.get("Uploads", []):
                yield Upload(str(entry["Key"]), str(entry["UploadId"]), _ms(entry.get("Initiated")))
            if not page.get("IsTruncated"):
                return
            following = {name: str(page.get(f"Next{name}") or "") for name in given}
            asked = given = _advanced("ListMultipartUploads", given, following)

    async def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of an object; None if it is not there (404). Without the right to list, S3 says 403: `StoreRefused`."""
        try:
            found = await self._wire.call("head_object", key=key)
        except KeyRefused as error:
            if error.store_code in ("NotFound", "NoSuchKey"):
                return None
            raise
        metadata = {str(name).lower(): str(value) for name, value in found.get("Metadata", {}).items()}
        size, etag = int(found.get("ContentLength", 0)), str(found.get("ETag", ""))
        return ObjectInfo(size=size, metadata=metadata, etag=etag, last_modified_ms=_ms(found.get("LastModified")))

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectSummary]:
        """All objects whose key begins with `prefix`, by key. The first version of the call: not every store pages the second one."""
        marker = ""
        while True:
            page = await self._wire.call("list_objects", Prefix=prefix, Marker=marker)
            key = ""
            for entry in page.get("Contents", []):
                key = str(entry["Key"])
                yield ObjectSummary(key, int(entry["Size"]), _ms(entry.get("LastModified")))
            if not page.get("IsTruncated"):
                return
            marker = _advanced("ListObjects", marker, str(page.get("NextMarker") or key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) of an object (to its end, if None), as they come. A body that breaks off is `StoreBusy`."""
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        async with self._wire.download(Direct("GetObject", "GET", key, headers=headers)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def put(self, key: str, body: bytes) -> None:
        """Write a small object in one request: probes only, the dump's objects are uploads."""
        await self._wire.call("put_object", key=key, Body=body)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed."""
        await self._wire.call("delete_object", key=key)

    async def abort_incomplete_days(self, prefix: str = "") -> int | None:
        """After how many days the bucket's own rules abort uploads somewhere under `prefix`; None if never, or if the rules are not ours
        to read (or the store has none)."""
        try:
            answer = await self._wire.call("get_bucket_lifecycle_configuration")
        except (StoreRefused, KeyRefused):
            return None
        except StoreBusy as busy:
            # A store without lifecycle rules says 501 as often as 4xx.
            if busy.kind is BusyKind.SERVER_ERROR:
                return None
            raise
        return smallest_abort_days(answer.get("Rules", []), prefix)

    async def check(self, path: str, *, deadline_s: float = 10.0) -> list[StoreProblem]:
        """The live check under `path` (as in the configuration): empty if a dump could run. Never raises an error of the store, leaves
        nothing behind, and is back within `deadline_s`."""
        return await live.check(self, path, random=self._random, deadline_s=deadline_s)

    async def _explained(self, busy: StoreBusy, key: str, upload_id: str) -> StoreError:
        """A store that refuses a body may break the connection before its answer arrives: a small request tells why."""
        if busy.kind is not BusyKind.DISCONNECTED:
            return busy
        try:
            await self._wire.call("list_parts", key=key, UploadId=upload_id, MaxParts=1)
        except (StoreRefused, NoSuchUpload) as reason:
            return reason
        except (StoreBusy, KeyRefused):
            return busy
        return busy


def _completed(part: Part) -> dict[str, Any]:
    entry: dict[str, Any] = {"PartNumber": part.number, "ETag": part.etag}
    if part.checksum is not None:
        entry["ChecksumCRC32C"] = part.checksum
    return entry


def _part(entry: Mapping[str, Any]) -> Part:
    return Part(int(entry["PartNumber"]), str(entry["ETag"]), int(entry["Size"]), entry.get("ChecksumCRC32C"))


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


def _advanced(operation: str, before: M, after: M) -> M:
    if after == before or not after:
        raise _unreadable(operation)
    return after


def _unreadable(what: str) -> StoreBusy:
    return StoreBusy(
        f"{what} got an answer that lacks what S3 promises; check the endpoint", kind=BusyKind.UNREADABLE, store_code="unreadable"
    )
