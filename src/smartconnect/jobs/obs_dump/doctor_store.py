"""Does a store do what the dump stands on? One object through its whole life: create, parts, list, complete, complete again, read back; a
missing name; an abort, and what comes after it; the probe of checksums. Under `smartconnect.doctor/` of the bucket, removed afterwards.
Called by `smart-connect doctor --store`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from smartconnect.domain.diagnosis import DoesNotHold, Examination, OnlyWarning
from smartconnect.objectstore import (
    InvalidPart,
    KeyRefused,
    NoSuchUpload,
    ObjectStore,
    Part,
    StoreRefused,
)

FOLDER: Final = "smartconnect.doctor"
_FIRST: Final = b"0123456789abcdef" * (5 << 16)  # 5 MiB, the least that S3 promises to take for a part that is not the last
_LAST: Final = b"the end\n"
_METADATA: Final = {"sc-task": "doctor", "sc-start": "0"}
_STEP_S: Final = 60.0


class StoreDoctor:
    """One examination of one bucket. `unique` makes its names its own."""

    def __init__(self, store: ObjectStore, examination: Examination, unique: str) -> None:
        self._store, self._examination = store, examination
        self._key, self._aborted = f"{FOLDER}/{unique}+0+0000000000", f"{FOLDER}/{unique}-aborted"
        self._small = f"{FOLDER}/{unique}-small"
        self._upload = ""
        self._parts: list[Part] = []
        self._open: list[tuple[str, str]] = []

    async def examine(self) -> None:
        """Every step in turn; nothing of ours is left behind."""
        if not await self._check("the keys are accepted, and may list the bucket", self._accepted):
            return
        if not await self._check("a missing name answers 404", self._missing):
            return
        try:
            await self._check("parts are protected on their way", self._integrity)
            if not await self._check("an upload can be begun and takes parts", self._begin):
                return
            await self._check("its parts can be listed", self._list)
            await self._check("it is invisible before it is completed", self._invisible)
            await self._check("uploads under way can be listed", self._uploads)
            await self._check("a part that is not there is refused, and the upload survives it", self._stale)
            if await self._check("it appears whole when it is completed", self._complete):
                await self._check("completing it again changes nothing", self._again)
                await self._check("its bytes and metadata are kept", self._read)
            await self._check("objects can be listed", self._listed)
            await self._check("an aborted upload is gone for good", self._abort)
            await self._check("small parts", self._small_parts)
        finally:
            await self._check("objects can be deleted", self._remove)

    async def _check(self, what: str, step: Callable[[], Awaitable[str]]) -> bool:
        async def bounded() -> str:
            async with asyncio.timeout(_STEP_S):
                return await step()

        return await self._examination.check(what, bounded)

    async def _accepted(self) -> str:
        """First, because a HEAD has no body: it cannot tell a wrong key from a missing right."""
        async for _ in self._store.list_objects(f"{FOLDER}/"):
            break
        return ""

    async def _missing(self) -> str:
        try:
            found = await self._store.head(self._key)
        except StoreRefused as refused:
            if refused.store_code in ("AccessDenied", "Forbidden", "403"):
                raise DoesNotHold("the store says 403 for a name that is not there: grant s3:ListBucket on the bucket") from refused
            raise
        if found is not None:
            raise DoesNotHold(f"{self._key} is there, and nobody wrote it")
        return "HEAD"

    async def _integrity(self) -> str:
        return f"by {await self._store.integrity(self._key)}"

    async def _begin(self) -> str:
        self._upload = await self._store.create_upload(self._key, _METADATA)
        self._open.append((self._key, self._upload))
        for number, body in enumerate((_FIRST, _LAST), 1):
            self._parts.append(await self._store.upload_part(self._key, self._upload, number, [memoryview(body)]))
        return f"an upload id has {len(self._upload)} characters"

    async def _list(self) -> str:
        listed = await self._store.list_parts(self._key, self._upload)
        if [(part.number, part.size) for part in listed] != [(part.number, part.size) for part in self._parts]:
            raise DoesNotHold(f"2 parts were sent, {[(part.number, part.size) for part in listed]} were listed")
        return "numbers and sizes are right"

    async def _invisible(self) -> str:
        if await self._store.head(self._key) is not None:
            raise DoesNotHold("an object that is not complete can be seen")
        return ""

    async def _uploads(self) -> str:
        found = [upload.upload_id async for upload in self._store.list_uploads(f"{FOLDER}/")]
        if self._upload not in found:
            raise OnlyWarning("our upload is not in the list: the janitor cannot clear up after a crash; set a lifecycle rule")
        return ""

    async def _stale(self) -> str:
        wrong = [Part(1, '"00000000000000000000000000000000"', len(_FIRST), self._parts[0].checksum), self._parts[1]]
        try:
            await self._store.complete_upload(self._key, self._upload, wrong)
        except (InvalidPart, KeyRefused) as error:
            await self._store.list_parts(self._key, self._upload)
            return f"{error.store_code}"
        raise DoesNotHold("the store completes an upload whose part has another ETag")

    async def _complete(self) -> str:
        await self._store.complete_upload(self._key, self._upload, self._parts)
        found = await self._store.head(self._key)
        if found is None or found.size != len(_FIRST) + len(_LAST):
            raise DoesNotHold(f"HEAD must tell {len(_FIRST) + len(_LAST)} bytes, it tells {None if found is None else found.size}")
        return f"{found.size} bytes"

    async def _again(self) -> str:
        try:
            await self._store.complete_upload(self._key, self._upload, self._parts)
            answer = "the same answer again"
        except NoSuchUpload:
            answer = "NoSuchUpload"
        found = await self._store.head(self._key)
        if found is None or found.size != len(_FIRST) + len(_LAST):
            raise DoesNotHold("a second Complete has damaged the object")
        return answer

    async def _read(self) -> str:
        body = b"".join([chunk async for chunk in self._store.read(self._key)])
        if body != _FIRST + _LAST:
            raise DoesNotHold(f"{len(body)} bytes came back, and not those that were sent")
        found = await self._store.head(self._key)
        kept = {} if found is None else {name: found.metadata.get(name) for name in _METADATA}
        if kept != _METADATA:
            raise DoesNotHold(f"user metadata is not kept: {kept}")
        return "sc-task, sc-start"

    async def _listed(self) -> str:
        keys = [summary.key async for summary in self._store.list_objects(f"{FOLDER}/")]
        if self._key not in keys:
            raise DoesNotHold("an object that was just completed is not in the list")
        return ""

    async def _abort(self) -> str:
        upload = await self._store.create_upload(self._aborted, _METADATA)
        self._open.append((self._aborted, upload))
        part = await self._store.upload_part(self._aborted, upload, 1, [memoryview(_LAST)])
        await self._store.abort_upload(self._aborted, upload)
        try:
            await self._store.complete_upload(self._aborted, upload, [part])
        except (NoSuchUpload, KeyRefused) as error:
            if await self._store.head(self._aborted) is not None:
                raise DoesNotHold("an aborted upload became an object") from error
            return f"{error.store_code} afterwards"
        raise DoesNotHold("an aborted upload could be completed")

    async def _small_parts(self) -> str:
        """OBS takes parts from 100 KiB on; others 5 MiB: `min_part_bytes`."""
        body = memoryview(bytes(100 << 10))
        upload = await self._store.create_upload(self._small, _METADATA)
        self._open.append((self._small, upload))
        parts = [await self._store.upload_part(self._small, upload, number, [body]) for number in (1, 2)]
        try:
            await self._store.complete_upload(self._small, upload, parts)
        except (KeyRefused, InvalidPart):
            return "at least 5 MiB: leave obs_dump.min_part_bytes as it is"
        return "100 KiB are enough: obs_dump.min_part_bytes = 102400 needs less memory"

    async def _remove(self) -> str:
        for key, upload in self._open:
            await self._store.abort_upload(key, upload)
        for key in (self._key, self._aborted, self._small):
            try:
                await self._store.delete(key)
            except StoreRefused as refused:
                raise OnlyWarning(f"{key} stays (the dump itself deletes nothing): {refused}") from refused
        return "nothing of ours is left"
