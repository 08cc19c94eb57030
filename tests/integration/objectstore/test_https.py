"""TLS to a real versitygw with a certificate of a private authority."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smartconnect.objectstore import BusyKind, Integrity, StoreBusy, StoreRefused, Timeouts
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.broken_link import NoConnection
from smartconnect.objectstore.outgoing import Outgoing
from smartconnect.objectstore.part_links import PartLinks
from smartconnect.sandbox.s3 import S3Options, S3Server, s3_server
from tests.integration.objectstore.backends import of_server
from tests.support.services import Names, shared

KEY = "dump/orders+0+0000000004"


@pytest.fixture(scope="module")
def secure_s3() -> Iterator[S3Server]:
    with shared(s3_server(S3Options(scheme="https"))) as server:
        yield server


async def test_an_object_goes_through_tls_in_parts(secure_s3: S3Server, names: Names) -> None:
    (secure_s3.buckets / names.bucket()).mkdir()
    body = os.urandom(6 << 20)
    views = [memoryview(body)[start : start + 65536] for start in range(0, len(body), 65536)]
    async with of_server(secure_s3, ca_file=str(secure_s3.ca_file)).store(names.bucket()) as store:
        assert await store.integrity(KEY) is Integrity.CRC32C
        upload_id = await store.create_upload(KEY, {})
        parts = [await store.upload_part(KEY, upload_id, 1, views), await store.upload_part(KEY, upload_id, 2, [memoryview(body)])]
        await store.complete_upload(KEY, upload_id, parts)
        assert b"".join([chunk async for chunk in store.read(KEY)]) == body * 2


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(secure_s3: S3Server) -> None:
    async with of_server(secure_s3).store("lake", integrity="crc32c") as store:
        for call in (store.head(KEY), store.upload_part(KEY, "upload", 1, [memoryview(b"x")])):
            with pytest.raises(StoreBusy, match="certificate is not trusted") as busy:
                await call
            assert busy.value.kind is BusyKind.DISCONNECTED


async def test_a_part_that_is_redirected_from_http_to_https_goes_through_tls_too(secure_s3: S3Server) -> None:
    links = PartLinks(None)
    with pytest.raises(NoConnection, match="certificate is not trusted"):
        await links.exchange(Outgoing("PUT", f"{secure_s3.endpoint}/lake/a?x=y", {}), Blocks([memoryview(b"x")]), Timeouts())
    links.close()


async def test_a_ca_file_that_is_not_there_is_said_with_its_name(secure_s3: S3Server, tmp_path: Path) -> None:
    backend = of_server(secure_s3)
    missing = replace(backend, location=replace(backend.location, ca_file=str(tmp_path / "missing.pem")))
    with pytest.raises(StoreRefused, match=r"missing\.pem"):
        async with missing.store("lake"):
            raise AssertionError("it opened")
    async with of_server(secure_s3, ca_file=str(secure_s3.ca_file)).store("lake") as store:
        with pytest.raises(StoreRefused, match="NoSuchBucket"):
            await store.create_upload(KEY, {})
