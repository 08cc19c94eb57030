"""Real processes with the toy job, one service for each test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from smartconnect.sandbox.ports import free_port
from tests.support.toy_service import ToyService, toy_service

StartService = Callable[..., AbstractAsyncContextManager[ToyService]]


@pytest.fixture
def start_service(tmp_path: Path) -> StartService:
    @contextlib.asynccontextmanager
    async def start(**options: object) -> AsyncIterator[ToyService]:
        async with toy_service(tmp_path, free_port(), **options) as service:  # type: ignore[arg-type] # passed on as they are
            yield service

    return start
