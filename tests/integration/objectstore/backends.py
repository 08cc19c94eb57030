"""The stores that the behavioural suite runs against: versitygw (a real server) and moto, both path-style and virtual-hosted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from moto.server import ThreadedMotoServer

from smartconnect.domain.clock import Clock
from smartconnect.objectstore import IntegritySetting, ObjectStore, StoreCredentials, StoreLocation
from smartconnect.sandbox.s3 import S3Options, S3Server, s3_server

CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Backend:
    """A running store. `checks_crc32c`: what the probe of "auto" must find out; `smallest_part`: bytes that it enforces."""

    name: str
    location: StoreLocation
    credentials: StoreCredentials
    checks_crc32c: bool
    smallest_part: int = 5 << 20
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def store(
        self, bucket: str, *, integrity: IntegritySetting = "auto", credentials: StoreCredentials | None = None
    ) -> ObjectStore:
        """A client that notes what it observes in `seen`: (operation, outcome, bytes)."""
        return ObjectStore(
            self.location,
            credentials or self.credentials,
            bucket,
            integrity=integrity,
            clock=CLOCK,
            random=Random(4).random,
            observe=lambda operation, outcome, _seconds, nbytes: self.seen.append((operation, outcome, nbytes)),
        )


def of_server(server: S3Server, name: str = "versitygw", **location: object) -> Backend:
    where = StoreLocation(server.endpoint, server.region)
    return Backend(name, replace(where, **location), StoreCredentials(server.access_key, server.secret_key), checks_crc32c=True)  # type: ignore[arg-type]  # fields of StoreLocation


@contextlib.asynccontextmanager
async def virtual_versitygw() -> AsyncIterator[S3Server]:
    """A versitygw that answers for `<bucket>.s3.localhost`."""
    async with s3_server(S3Options(virtual_domain="s3.localhost")) as server:
        yield server


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """The port of a moto server in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
