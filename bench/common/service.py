"""Our side: `smart-connect serve` as a user runs it, driven over its API. Every benchmark measures its processes together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from smartconnect.cli.client import ApiClient, ApiRefused, ApiUnreachable, Token, instance_path
from smartconnect.domain.errors import SandboxFailed
from smartconnect.domain.secret import Secret
from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.process import ServerCommand, ServerProcess

_PROJECT: Final = "0123456789abcdef0123456789abcdef"
_STATUS_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Instance:
    """A Kafka cluster of the settings; `keys`: more of its section."""

    name: str
    bootstrap_servers: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Service:
    """One running service; `tasks`: the path of its first instance's; `headers`: what a call without its client needs; `log`: JSON lines of
    all its processes."""

    pid: int
    log: Path
    api: ApiClient
    tasks: str
    endpoint: str
    headers: Mapping[str, str] = field(repr=False)

    async def create(self, body: Mapping[str, object]) -> str:
        """Create a task; its path."""
        return f"{self.tasks}/{(await self.api.call('POST', self.tasks, dict(body)))['id']}"

    async def until(self, path: str, **fields: object) -> Mapping[str, Any]:
        """Poll until the answer has these fields. Raises SandboxFailed."""
        answer: Mapping[str, Any] = {}
        deadline = time.monotonic() + _STATUS_WITHIN_S
        while time.monotonic() < deadline:
            answer = await self.api.call("GET", path)
            if all(answer.get(name) == value for name, value in fields.items()):
                return answer
            await asyncio.sleep(_POLL_S)
        raise SandboxFailed(f"{path} does not come to {fields}: {json.dumps(answer)[:2000]}")


@contextlib.asynccontextmanager
async def serve(folder: Path, instances: Sequence[Instance], workers: int, more: str = "") -> AsyncIterator[Service]:
    """The service, ready; nothing of it is left behind. `folder` is made. `more`: further sections of the settings."""
    folder.mkdir()
    port, token = free_port(), secrets.token_urlsafe(18)
    settings = folder / "smart-connect.toml"
    settings.touch(mode=0o600)
    settings.write_text(
        _SETTINGS.format(port=port, token=token, folder=folder, workers=workers) + "".join(map(_section, instances)) + more
    )
    endpoint, tasks = f"http://127.0.0.1:{port}", f"{instance_path(_PROJECT, instances[0].id)}/connector/tasks"
    async with ApiClient(endpoint, Token(Secret(token))) as api:
        server = ServerProcess(_command(folder, settings, api))
        try:
            await server.start()
            yield Service(server.pid, server.log_file, api, tasks, endpoint, {"X-Auth-Token": token})
            await server.stop()
        finally:
            await server.kill()


def _command(folder: Path, settings: Path, api: ApiClient) -> ServerCommand:
    async def ready(_log: str) -> bool:
        try:
            await api.call("GET", "/readyz")
        except (ApiUnreachable, ApiRefused):
            return False
        return True

    argv = (sys.executable, "-m", "smartconnect.cli", "serve", "--config", str(settings), "--log-format", "json")
    return ServerCommand("smart-connect serve", argv, folder, folder / "server.log", ready)


def _section(instance: Instance) -> str:
    keys = {
        "id": instance.id,
        "project_id": _PROJECT,
        "name": instance.name,
        "bootstrap_servers": instance.bootstrap_servers,
        **instance.keys,
    }
    return "[[instances]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


_SETTINGS: Final = """\
[api]
listen = "127.0.0.1:{port}"
[[api.tokens]]
token = "{token}"
project_ids = ["*"]
[registry]
url = "sqlite:///{folder}/registry.db"
key_file = "{folder}/registry.key"
[workers]
count = {workers}
"""
