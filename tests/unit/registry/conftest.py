"""Every test gets a registry of its own, in a real file; `another` is a second opening of the same file, as another process has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from smartconnect.domain.clock import Clock
from smartconnect.registry import Registry, Timing
from tests.unit.registry.givens import NOW

OpenRegistry = Callable[..., Awaitable[Registry]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "registry.key"


@pytest.fixture
async def open_registry(file: Path, key_file: Path) -> AsyncIterator[OpenRegistry]:
    """Opens `file`; whatever it opened is closed at the end. The clock stands still."""
    async with AsyncExitStack() as stack:

        async def opened(**changes: Any) -> Registry:
            values: dict[str, Any] = {"clock": Clock(wall=lambda: NOW / 1000), "timing": Timing(busy_timeout_ms=20_000)} | changes
            registry = await Registry.open(f"sqlite:///{file}", key_file, **values)
            stack.push_async_callback(registry.close)
            return registry

        yield opened


@pytest.fixture(scope="session")
def new_registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The bytes of a registry just made, and of its key file: migrating once is enough for tests that are not about opening."""
    folder = tmp_path_factory.mktemp("registry")

    async def make() -> None:
        registry = await Registry.open(f"sqlite:///{folder}/registry.db", folder / "registry.key")
        await registry.close()

    asyncio.run(make())
    return (folder / "registry.db").read_bytes(), (folder / "registry.key").read_bytes()


@pytest.fixture
async def registry(new_registry: tuple[bytes, bytes], open_registry: OpenRegistry, file: Path, key_file: Path) -> Registry:
    for path, content in zip((file, key_file), new_registry, strict=True):
        path.touch(mode=0o600)
        path.write_bytes(content)
    return await open_registry()


@pytest.fixture
async def another(registry: Registry, open_registry: OpenRegistry) -> Registry:
    return await open_registry()
