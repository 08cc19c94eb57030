"""`backend`: every test that asks for it runs once against each store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation
from smartconnect.sandbox.s3 import S3Server
from tests.integration.objectstore.backends import Backend, moto, of_server, virtual_versitygw
from tests.support.s3_proxy import S3Proxy, s3_proxy
from tests.support.services import Names, shared


@pytest.fixture(scope="session")
def virtual_s3() -> Iterator[S3Server]:
    with shared(virtual_versitygw()) as server:
        yield server


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    with moto() as port:
        yield port


@pytest.fixture(params=["versitygw", "versitygw-virtual", "moto", "moto-virtual"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """A store; moto's virtual-hosted names are those of AWS, below a name that is loopback."""
    match request.param:
        case "versitygw":
            return of_server(request.getfixturevalue("s3"))
        case "versitygw-virtual":
            server = request.getfixturevalue("virtual_s3")
            return of_server(server, "versitygw-virtual", endpoint=f"http://s3.localhost:{server.port}")
        case "moto":
            endpoint = f"http://127.0.0.1:{request.getfixturevalue('moto_port')}"
        case _:
            endpoint = f"http://localhost:{request.getfixturevalue('moto_port')}"
    location = StoreLocation(endpoint, "us-east-1", "virtual" if request.param == "moto-virtual" else "auto")
    return Backend(request.param, location, StoreCredentials("AKIAMOTO", "moto"), checks_crc32c=False)


@pytest.fixture
async def store(backend: Backend, names: Names) -> AsyncIterator[ObjectStore]:
    """A client for an empty bucket of its own."""
    async with backend.store(names.bucket()) as client:
        await client._wire.call("create_bucket")
        backend.seen.clear()
        yield client
        await empty(client)


async def empty(client: ObjectStore) -> None:
    """Remove the bucket with all that is in it."""
    async for upload in client.list_uploads(""):
        await client.abort_upload(upload.key, upload.upload_id)
    async for found in client.list_objects(""):
        await client.delete(found.key)
    await client._wire.call("delete_bucket")


@pytest.fixture
async def proxy(s3: S3Server) -> AsyncIterator[S3Proxy]:
    """A proxy before the shared versitygw in which a test can break single steps."""
    async with s3_proxy(s3) as between:
        yield between
