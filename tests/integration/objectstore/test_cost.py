"""What the client costs: memory while large parts are sent, and for many stores at once; and that it hands secrets to nobody."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest

from smartconnect.objectstore import StoreRefused
from smartconnect.sandbox.s3 import S3Server
from tests.integration.objectstore.backends import of_server

KEY = "dump/orders+0+0000000004"
MIB = 1 << 20


def rss_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MIB


@pytest.mark.parametrize("integrity", ["none", "crc32c", "md5"])
async def test_large_parts_in_flight_take_no_memory_beyond_their_blocks(s3: S3Server, bucket: str, integrity: str) -> None:
    async with of_server(s3).store(bucket, integrity=integrity) as store:  # type: ignore[arg-type]  # literal from parametrize
        upload_id = await store.create_upload(KEY, {})
        await store.upload_part(KEY, upload_id, 1, [memoryview(bytearray(5 * MIB))])
        blocks = [memoryview(bytearray(65536)) for _ in range(25 * 16)]
        gc.collect()
        before, most = rss_mib(), 0.0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, rss_mib())
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(store.upload_part(KEY, upload_id, number, blocks) for number in (1, 2, 3, 4)))
        watching.cancel()
        parts = await store.list_parts(KEY, upload_id)
        await store.abort_upload(KEY, upload_id)
    assert [part.size for part in parts] == [25 * MIB] * 4
    assert most - before < 8


async def test_eighteen_stores_of_a_process_share_what_is_large(s3: S3Server, bucket: str) -> None:
    backend = of_server(s3)
    async with backend.store(bucket) as first:
        assert await first.head(KEY) is None
        gc.collect()
        before = rss_mib()
        stores = [await backend.store(bucket).__aenter__() for _ in range(18)]
        assert await asyncio.gather(*(store.head(KEY) for store in stores)) == [None] * 18
        grown = rss_mib() - before
        for store in stores:
            await store.__aexit__(None, None, None)
        assert await first.head(KEY) is None
    assert grown < 6


async def test_no_key_or_signature_gets_into_logs_or_errors(s3: S3Server, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backend = of_server(s3)
    async with backend.store(bucket) as store:
        upload_id = await store.create_upload(KEY, {})
        await store.upload_part(KEY, upload_id, 1, [memoryview(b"x")])
        await store.abort_upload(KEY, upload_id)
    async with backend.store("nobody-made-this-bucket") as lost:
        with pytest.raises(StoreRefused) as refused:
            await lost.create_upload(KEY, {})
    for text in (caplog.text, str(refused.value), repr(refused.value), repr(store), repr(backend.credentials)):
        assert s3.access_key not in text
        assert s3.secret_key not in text
        assert "X-Amz-Signature" not in text
