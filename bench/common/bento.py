"""Bento, the peer of every benchmark: built once into the cache with the components that they use, and run with settings given."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import install_once
from smartconnect.sandbox.prerequisites import Tool, ensure
from smartconnect.sandbox.process import ServerCommand, ServerProcess

VERSION: Final = "1.15.0"
_SOURCE: Final = Path(__file__).with_name("go")
_BUILD_TIMEOUT_S: Final = 3600


def program() -> Path:
    """Build it if the cache lacks it (minutes of CPU). Blocks; use a thread."""

    def build(staging: Path) -> None:
        go = ensure(Tool.GO)[Tool.GO]
        source = staging / "source"
        source.mkdir()
        shutil.copy(_SOURCE / "main.go", source / "main.go")
        shutil.copy(_SOURCE / "go.mod.in", source / "go.mod")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -p=1 -trimpath"}
        for arguments in (["mod", "tidy"], ["build", "-o", str(staging / "bento"), "."]):
            done = subprocess.run(
                [go, *arguments], cwd=source, env=environment, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
            )
            if done.returncode != 0:
                raise SandboxFailed(f"Go could not build Bento {VERSION}:\n{done.stderr[-2000:]}")

    return install_once(f"bento/v{VERSION}", build) / "bento"


@contextlib.asynccontextmanager
async def running(
    bento: Path, folder: Path, settings: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """The process, from its birth: it is not waited for. `folder` is made; the log stays there. Raises SandboxFailed."""
    folder.mkdir()
    file = folder / "bento.yaml"
    file.write_text(settings)
    server = ServerProcess(
        ServerCommand(
            f"Bento {VERSION}", (str(bento), "-c", str(file)), folder, folder / "server.log", at_once, environment=environment or {}
        )
    )
    try:
        await server.start()
        yield server
        await server.stop()
    finally:
        await server.kill()


async def at_once(_log: str) -> bool:
    """For servers whose measurement begins with the process."""
    return True
