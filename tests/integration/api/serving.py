"""The application of `tests.unit.api.kit`, with the real registry, served by uvicorn on a free loopback port: for clients that need real
HTTP. The live checks are scripted; the whole product is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from smartconnect.registry import Registry
from tests.unit.api.kit import MovableClock, Service, build

_START_S = 30


@dataclass(frozen=True, slots=True)
class Served:
    """`url` without a slash at its end."""

    url: str
    service: Service


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve from a thread of its own until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    started: list[Service] = []
    failed: list[BaseException] = []
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        clock = MovableClock(int(time.time() * 1000))
        file = folder / "registry.db"
        registry = await Registry.open(f"sqlite:///{file}", folder / "registry.key")
        try:
            service = build(registry, file, clock)
            server = uvicorn.Server(uvicorn.Config(service.app, log_level="warning", lifespan="off", access_log=False))
            servers.append(server)
            started.append(service)
            await server.serve(sockets=[listener])
        finally:
            await registry.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="api under test", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_S
        while not (servers and servers[0].started):
            assert not failed, failed
            assert time.monotonic() < deadline, "the API did not start"
            thread.join(0.01)
        yield Served(f"http://127.0.0.1:{port}", started[0])
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(_START_S)
        listener.close()
        assert not thread.is_alive(), "the API did not stop"
