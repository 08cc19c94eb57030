"""One suite for all stores: what the dump relies on, on a real server and on moto, path-style and virtual-hosted."""

from __future__ import annotations

import contextlib
import os

import pytest

from smartconnect import kernels
from smartconnect.objectstore import (
    BadDigest,
    Integrity,
    InvalidPart,
    KeyRefused,
    NoSuchUpload,
    ObjectStore,
    Part,
    StoreRefused,
)
from tests.integration.objectstore.backends import Backend

KEY = "dump/orders/2026/01/02/03/04/orders+0+0000000004"
META = {"sc-task": "7f1c", "sc-run": "2", "sc-start": "4"}
BLOCK = memoryview(os.urandom(65536))


def blocks(nbytes: int) -> list[memoryview]:
    """Blocks as the dump has them: 64 KiB each, the last one shorter."""
    whole, rest = divmod(nbytes, BLOCK.nbytes)
    return [BLOCK] * whole + ([BLOCK[:rest]] if rest else [])


async def body_of(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


async def test_an_object_appears_whole_at_complete_and_not_before(store: ObjectStore, backend: Backend) -> None:
    first, last = blocks(backend.smallest_part + 1000), blocks(77)
    upload_id = await store.create_upload(KEY, META)
    parts = [await store.upload_part(KEY, upload_id, 1, first), await store.upload_part(KEY, upload_id, 2, last)]
    assert await store.head(KEY) is None
    assert [found.key async for found in store.list_objects("dump/")] == []

    await store.complete_upload(KEY, upload_id, parts)

    found = await store.head(KEY)
    assert found is not None
    assert found.size == backend.smallest_part + 1077
    assert found.metadata == META
    assert found.last_modified_ms > 1_700_000_000_000
    assert await body_of(store, KEY) == b"".join(first + last)
    assert [(entry.key, entry.size) async for entry in store.list_objects("dump/")] == [(KEY, found.size)]


async def test_a_range_is_read_exactly(store: ObjectStore) -> None:
    await store.put(KEY, b"0123456789")
    assert await body_of(store, KEY, 2, 5) == b"234"
    assert await body_of(store, KEY, 7) == b"789"


async def test_reading_what_is_not_there_names_the_key(store: ObjectStore) -> None:
    with pytest.raises(KeyRefused, match="orders"):
        await body_of(store, KEY)


async def test_parts_that_were_uploaded_are_listed_as_they_were_returned(store: ObjectStore, backend: Backend) -> None:
    upload_id = await store.create_upload(KEY, META)
    sizes = [backend.smallest_part, backend.smallest_part + 1, 5]
    parts = [await store.upload_part(KEY, upload_id, number, blocks(size)) for number, size in enumerate(sizes, 1)]
    listed = await store.list_parts(KEY, upload_id)
    assert listed == parts
    assert [part.size for part in listed] == sizes
    await store.complete_upload(KEY, upload_id, listed)
    assert await store.head(KEY) is not None


async def test_a_part_sent_again_replaces_the_first(store: ObjectStore) -> None:
    upload_id = await store.create_upload(KEY, META)
    stale = await store.upload_part(KEY, upload_id, 1, blocks(10))
    fresh = await store.upload_part(KEY, upload_id, 1, blocks(20))
    assert await store.list_parts(KEY, upload_id) == [fresh]
    with pytest.raises((InvalidPart, KeyRefused)):
        await store.complete_upload(KEY, upload_id, [Part(1, '"00000000000000000000000000000000"', 10, stale.checksum)])
    await store.complete_upload(KEY, upload_id, [fresh])
    assert await body_of(store, KEY) == bytes(BLOCK[:20])


async def test_complete_again_finds_its_work_done(store: ObjectStore) -> None:
    upload_id = await store.create_upload(KEY, META)
    parts = [await store.upload_part(KEY, upload_id, 1, blocks(10))]
    await store.complete_upload(KEY, upload_id, parts)
    with contextlib.suppress(NoSuchUpload):  # either answer leads Finish to the object
        await store.complete_upload(KEY, upload_id, parts)
    found = await store.head(KEY)
    assert found is not None
    assert found.size == 10
    with pytest.raises(NoSuchUpload):
        await store.list_parts(KEY, upload_id)


async def test_abort_drops_the_upload_and_may_be_repeated(store: ObjectStore) -> None:
    upload_id = await store.create_upload(KEY, META)
    await store.upload_part(KEY, upload_id, 1, blocks(10))
    await store.abort_upload(KEY, upload_id)
    await store.abort_upload(KEY, upload_id)
    assert [upload async for upload in store.list_uploads("dump/")] == []
    with pytest.raises(NoSuchUpload):
        await store.list_parts(KEY, upload_id)


@pytest.mark.parametrize("backend", ["versitygw", "versitygw-virtual"], indirect=True)
async def test_a_part_for_an_aborted_upload_is_told_as_such(store: ObjectStore, backend: Backend) -> None:
    """Of a real server only: moto answers 500."""
    upload_id = await store.create_upload(KEY, META)
    await store.abort_upload(KEY, upload_id)
    with pytest.raises(NoSuchUpload):
        await store.upload_part(KEY, upload_id, 1, blocks(backend.smallest_part))
    with pytest.raises(NoSuchUpload):
        await store.complete_upload(KEY, upload_id, [Part(1, '"0123456789abcdef0123456789abcdef"', 10)])


async def test_uploads_are_listed_by_prefix_with_the_time_they_began(store: ObjectStore) -> None:
    other = "dump/payments/2026/payments+0+0000000000"
    began = {await store.create_upload(KEY, META): KEY, await store.create_upload(other, META): other}
    listed = [upload async for upload in store.list_uploads("dump/orders/")]
    assert [(upload.key, began[upload.upload_id]) for upload in listed] == [(KEY, KEY)]
    assert listed[0].initiated_ms > 1_200_000_000_000  # moto: always 2010
    assert {upload.key async for upload in store.list_uploads("")} == {KEY, other}


async def test_auto_protects_parts_as_the_store_can_check(store: ObjectStore, backend: Backend) -> None:
    upload_id = await store.create_upload(KEY, META)
    part = await store.upload_part(KEY, upload_id, 1, blocks(1000))
    assert await store.integrity(KEY) is (Integrity.CRC32C if backend.checks_crc32c else Integrity.MD5)
    assert (part.checksum is not None) is backend.checks_crc32c
    assert [upload.upload_id async for upload in store.list_uploads("")] == [upload_id]
    await store.complete_upload(KEY, upload_id, await store.list_parts(KEY, upload_id))
    assert [found.key async for found in store.list_objects("")] == [KEY]


async def test_a_part_is_held_to_the_sum_that_its_caller_knows(store: ObjectStore, backend: Backend) -> None:
    upload_id, body = await store.create_upload(KEY, META), blocks(1000)
    if backend.checks_crc32c:
        with pytest.raises(BadDigest):
            await store.upload_part(KEY, upload_id, 1, body, kernels.crc32c([b"something else"]))
    part = await store.upload_part(KEY, upload_id, 1, body, kernels.crc32c(body))
    assert await store.list_parts(KEY, upload_id) == [part]


async def test_the_store_is_asked_about_checksums_once(store: ObjectStore, backend: Backend) -> None:
    await store.create_upload(KEY, META)
    backend.seen.clear()
    await store.create_upload(KEY, META)
    assert [operation for operation, _, _ in backend.seen] == ["CreateMultipartUpload"]


@pytest.mark.parametrize("integrity", ["none", "md5"])
async def test_other_kinds_of_integrity_upload_the_same_bytes(store: ObjectStore, backend: Backend, integrity: str) -> None:
    async with backend.store(store.bucket, integrity=integrity) as other:  # type: ignore[arg-type]  # literal from parametrize
        upload_id = await other.create_upload(KEY, META)
        parts = [await other.upload_part(KEY, upload_id, 1, blocks(70_000))]
        await other.complete_upload(KEY, upload_id, parts)
    assert await body_of(store, KEY) == b"".join(blocks(70_000))


async def test_a_small_object_takes_three_requests(store: ObjectStore, backend: Backend) -> None:
    await store.integrity(KEY)
    backend.seen.clear()
    upload_id = await store.create_upload(KEY, META)
    await store.complete_upload(KEY, upload_id, [await store.upload_part(KEY, upload_id, 1, blocks(1000))])
    assert backend.seen == [
        ("CreateMultipartUpload", "ok", 0),
        ("UploadPart", "ok", 1000),
        ("CompleteMultipartUpload", "ok", 0),
    ]


async def test_a_bucket_that_is_not_there_refuses_everything(backend: Backend) -> None:
    async with backend.store("nobody-made-this-bucket") as client:
        with pytest.raises(StoreRefused) as refused:
            await client.create_upload(KEY, META)
    assert refused.value.store_code == "NoSuchBucket"


async def test_check_finds_nothing_wrong_and_leaves_nothing(store: ObjectStore) -> None:
    assert await store.check("/dump/") == []
    assert await store.check("") == []
    assert [found async for found in store.list_objects("")] == []
    assert [upload async for upload in store.list_uploads("")] == []


async def test_check_names_a_missing_bucket(backend: Backend) -> None:
    async with backend.store("nobody-made-this-bucket") as client:
        problems = await client.check("dump")
    assert [problem.category for problem in problems] == ["bucket"]
    assert "nobody-made-this-bucket" in problems[0].reason


async def test_lifecycle_rules_that_abort_uploads_are_read_where_the_store_has_them(store: ObjectStore, backend: Backend) -> None:
    assert await store.abort_incomplete_days("dump/") is None
    if not backend.name.startswith("moto"):
        return
    rule = {
        "ID": "a",
        "Status": "Enabled",
        "Filter": {"Prefix": "dump/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    }
    await store._wire.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]})
    assert await store.abort_incomplete_days("dump/orders/") == 3
    assert await store.abort_incomplete_days("logs/") is None
