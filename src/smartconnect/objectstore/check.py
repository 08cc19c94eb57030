"""The live check of a bucket before a task is accepted: every right that the dump will need is used once, and nothing stays behind. Used
through `ObjectStore.check` at create, modify and validate.

Steps: put and delete a probe object (a refused delete is a warning), HEAD of a name that is not there (must be 404: S3 says 403 without
the right to list, and finishing an upload needs the difference), begin, list and abort an upload. What concerns the whole bucket ends the
check; missing rights are collected, so that one answer names them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from smartconnect.objectstore.answers import is_credentials
from smartconnect.objectstore.errors import BadDigest, InvalidPart, KeyRefused, NoSuchUpload, StoreBusy, StoreRefused
from smartconnect.objectstore.model import ProblemCategory, StoreProblem

if TYPE_CHECKING:
    from smartconnect.objectstore.store import ObjectStore

PROBE_NAME: Final = ".smart-connect-probe"
# The share of the deadline that is kept for clearing up.
_CLEAR_SHARE: Final = 0.25
_BUCKET_CODES: Final = frozenset({"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "VirtualHostDomainRequired"})


class _Hopeless(Exception):
    """The rest of the check could only repeat this problem."""


class _Check:
    def __init__(self, store: ObjectStore, path: str, random: Callable[[], float]) -> None:
        folder = path.strip("/")
        self._store = store
        self._probe = f"{folder}/{PROBE_NAME}" if folder else PROBE_NAME
        # Two checks at once, or one after a crash, must not see each other's objects.
        self._unique = f"{self._probe}-{int(random() * 2**48):012x}"
        self._written = False
        self._upload_id: str | None = None
        self.problems: list[StoreProblem] = []

    async def run(self) -> None:
        try:
            await self._objects()
            await self._uploads()
        except _Hopeless:
            return

    async def clear(self) -> None:
        """Remove what a check that was cut off, or a missing right, has left."""
        if self._upload_id is not None:
            await self._quietly(self._store.abort_upload(self._unique, self._upload_id))
        if self._written:
            await self._quietly(self._store.delete(self._probe))

    async def _objects(self) -> None:
        if (
            await self._step("PutObject", self._put()) is not None
            and await self._step("DeleteObject", self._store.delete(self._probe), warning=True) is not None
        ):
            self._written = False
        await self._step("ListBucket", self._must_be_missing())

    async def _put(self) -> None:
        self._written = True
        try:
            await self._store.put(self._probe, b"")
        except (StoreRefused, KeyRefused):
            self._written = False
            raise

    async def _must_be_missing(self) -> bool:
        if await self._store.head(self._unique) is None:
            return True
        raise KeyRefused(f"{self._unique} exists although nobody wrote it", store_code="Unexpected")

    async def _uploads(self) -> None:
        begun = await self._step("PutObject", self._begin())
        if begun is None or self._upload_id is None:
            return
        await self._step("ListMultipartUploadParts", self._store.list_parts(self._unique, self._upload_id))
        await self._step("ListBucketMultipartUploads", self._list_uploads())
        if await self._step("AbortMultipartUpload", self._abort(self._upload_id)):
            self._upload_id = None

    async def _begin(self) -> bool:
        self._upload_id = await self._store.begin(self._unique)
        return True

    async def _list_uploads(self) -> bool:
        async for _ in self._store.list_uploads(self._unique):
            pass
        return True

    async def _abort(self, upload_id: str) -> bool:
        await self._store.abort_upload(self._unique, upload_id)
        return True

    async def _step(self, right: str, action: Awaitable[object], *, warning: bool = False) -> object | None:
        """The action's result (True for nothing), or None with the problem noted."""
        try:
            result = await action
        except StoreBusy as error:
            self._note(ProblemCategory.UNREACHABLE, str(error))
            raise _Hopeless from None
        except StoreRefused as error:
            self._refused(error, right, warning)
        except (KeyRefused, NoSuchUpload, InvalidPart, BadDigest) as error:
            self._note(ProblemCategory.PATH, str(error), warning=warning)
        else:
            return True if result is None else result
        return None

    def _refused(self, error: StoreRefused, right: str, warning: bool) -> None:
        if is_credentials(error):
            self._note(ProblemCategory.CREDENTIALS, str(error))
            raise _Hopeless
        if error.store_code in _BUCKET_CODES:
            self._note(ProblemCategory.BUCKET, str(error))
            raise _Hopeless
        if error.store_code != "AccessDenied":
            self._note(ProblemCategory.BUCKET, str(error), warning=warning)
            return
        reason = f"the right s3:{right} on bucket {self._store.bucket} is missing: {error}"
        self._note(ProblemCategory.RIGHT_MISSING, reason, right=right, warning=warning)

    def _note(self, category: ProblemCategory, reason: str, *, right: str | None = None, warning: bool = False) -> None:
        if all((known.category, known.right) != (category, right) for known in self.problems):
            self.problems.append(StoreProblem(category, reason, right, warning))

    async def _quietly(self, action: Awaitable[object]) -> None:
        try:
            await action
        except (StoreBusy, StoreRefused, KeyRefused):
            return


async def check(store: ObjectStore, path: str, *, random: Callable[[], float], deadline_s: float) -> list[StoreProblem]:
    """All that is wrong with the bucket for a dump under `path`, within `deadline_s`."""
    checking = _Check(store, path, random)
    timed_out = False
    try:
        async with asyncio.timeout(deadline_s * (1 - _CLEAR_SHARE)):
            await checking.run()
    except TimeoutError:
        timed_out = True
    finally:
        # Also when the caller gave up: what was begun is cleared in the time that was kept for it.
        try:
            async with asyncio.timeout(deadline_s * _CLEAR_SHARE):
                await checking.clear()
        except TimeoutError:
            timed_out = True
    if timed_out:
        reason = f"bucket {store.bucket} did not answer the live check within {deadline_s:g} s; check endpoint and network"
        checking.problems.append(StoreProblem(ProblemCategory.UNREACHABLE, reason))
    return checking.problems
