"""A service over a registry of the test's own, and a client that may do everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.registry import Registry
from tests.unit.api.kit import Client, MovableClock, Service, build


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = MovableClock()
    file = tmp_path / "registry.db"
    registry = await Registry.open(f"sqlite:///{file}", tmp_path / "registry.key", clock=clock.clock())
    try:
        yield build(registry, file, clock)
    finally:
        await registry.close()


@pytest.fixture
def client(service: Service) -> Client:
    return service.client()
