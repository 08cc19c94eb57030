"""`serve` and `worker`: look at the settings, the registry and the address first, so that a mistake is one clear line here and not a
restart loop; then become the parent process (exec: same pid, none of our memory).
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Final

import typer

from smartconnect.app import MODULE, open_registry, tls_context
from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, LogFormat, LogFormatOption, LogLevel, LogLevelOption
from smartconnect.domain.errors import SettingsInvalid
from smartconnect.engine import launch
from smartconnect.engine.cores import usable_cores
from smartconnect.engine.launch import Launch
from smartconnect.settings import Settings
from smartconnect.settings_load import load

STOP_GRACE_S: Final = 10.0


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("serve")
    def serve(
        config: ConfigOption = DEFAULT_FILE, log_format: LogFormatOption = LogFormat.AUTO, log_level: LogLevelOption = LogLevel.INFO
    ) -> None:
        """Run the whole service on this machine: the API and the workers. SIGTERM drains and ends it, SIGHUP reads the settings again,
        SIGUSR1 replaces the workers one after the other: for settings that take effect at their start, and after an upgrade."""
        become_parent(config, launch.API, log_format, log_level)

    @app.command("worker")
    def worker(
        config: ConfigOption = DEFAULT_FILE, log_format: LogFormatOption = LogFormat.AUTO, log_level: LogLevelOption = LogLevel.INFO
    ) -> None:
        """Run workers only; answers /healthz, /readyz and /metrics on the address of the API."""
        become_parent(config, launch.STATUS, log_format, log_level)


def become_parent(config: Path, front: str, log_format: LogFormat, log_level: LogLevel) -> None:
    """Never returns: raises a SmartConnectError, or this process is the parent from now on."""
    settings = load(config)
    check_start(settings)
    options = Launch(
        config=str(config.resolve()),
        workers=settings.workers.count or usable_cores(),
        front=front,
        stop_within_s=settings.obs_dump.drain_timeout_s + STOP_GRACE_S,
        log_format=log_format.value,
        log_level=log_level.value,
    )
    command = options.command(MODULE, launch.PARENT)
    os.execv(command[0], list(command))  # noqa: S606 our own interpreter and module


def check_start(settings: Settings) -> None:
    """Everything that would make a child end at once: SettingsInvalid or RegistryUnreachable, with the reason."""
    if settings.workers.coordination == "kafka":
        raise SettingsInvalid('workers.coordination: "kafka" is not available in this version; use "local"')
    tls_context(settings)
    host, port = settings.api.address()
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise SettingsInvalid(f"api.listen: cannot listen on {settings.api.listen}: {error.strerror or error}") from error
    asyncio.run(_open_and_close(settings))


async def _open_and_close(settings: Settings) -> None:
    registry = await open_registry(settings)
    await registry.close()
