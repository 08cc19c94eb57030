"""Our side: `smart-connect serve` as a user runs it, one task for a topic, created over the API."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.obs_dump.count import stored_bytes
from bench.obs_dump.data import Case
from bench.obs_dump.stage import Stage
from bench.obs_dump.watching import Measured, Watch
from smartconnect.cli.client import ApiClient, ApiRefused, ApiUnreachable, Token, instance_path
from smartconnect.domain.errors import SandboxFailed
from smartconnect.domain.secret import Secret
from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.process import ServerCommand, ServerProcess

MOST_RECORDS: Final = 1_000_000
_PROJECT: Final = "0123456789abcdef0123456789abcdef"
_STATUS_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Service:
    """One running service."""

    pid: int
    api: ApiClient
    tasks: str

    async def create(self, stage: Stage, bucket: str, topic: str, **sink: object) -> str:
        """Create the dump of a topic; its path."""
        body = {
            "task_name": f"dump-{topic}",
            "topics": topic,
            "source_type": "NONE",
            "sink_type": "OBS_SINK",
            "sink_task": {
                "access_key": stage.s3.access_key,
                "secret_key": stage.s3.secret_key,
                "obs_bucket_name": bucket,
                "obs_path": topic,
                "consumer_strategy": "earliest",
                "destination_file_type": "TEXT",
                "deliver_time_interval": 30,
                "record_delimiter": "\n",
                **sink,
            },
        }
        return f"{self.tasks}/{(await self.api.call('POST', self.tasks, body))['id']}"

    async def until(self, path: str, **fields: object) -> Mapping[str, Any]:
        """Poll until the answer has these fields. Raises SandboxFailed."""
        answer: Mapping[str, Any] = {}
        deadline = time.monotonic() + _STATUS_WITHIN_S
        while time.monotonic() < deadline:
            answer = await self.api.call("GET", path)
            if all(answer.get(name) == value for name, value in fields.items()):
                return answer
            await asyncio.sleep(_POLL_S)
        raise SandboxFailed(f"{path} does not come to {fields}: {answer}")


async def dump(stage: Stage, case: Case, bucket: Path, workers: int) -> Measured:
    """The whole topic into the bucket. The last object of each partition is cut by `flush_size`, not by the clock: all of them are equal
    and none larger than the default allows. From RUNNING; the notes say what it is from the call that creates the task."""
    per_object = case.per_partition // -(-case.per_partition // MOST_RECORDS)
    async with serve(stage, stage.folder / f"service-{bucket.name}", workers) as service:
        whole = Watch(service.pid, stage.others, from_birth=False)
        task = await service.create(stage, bucket.name, case.topic, flush_size=per_object)
        await service.until(task, status="RUNNING")
        watch, before = Watch(service.pid, stage.others, from_birth=False), stored_bytes(bucket)
        measured = await watch.until_visible(bucket, case, last_newline=True)
        with_start = whole.measured()
        progress = await service.until(f"{task}/progress", lag_records=0, phase="dumping")
    measured.notes = {
        "wall_from_create_s": with_start.wall_s,
        "cpu_from_create_s": with_start.cpu_s,
        "stored_before_running_mb": before / 1e6,
        "retries": progress["counters"].get("retries", 0),
    }
    return measured


@contextlib.asynccontextmanager
async def serve(stage: Stage, folder: Path, workers: int) -> AsyncIterator[Service]:
    """The service, ready; nothing of it is left behind."""
    folder.mkdir()
    port, instance_id, token = free_port(), str(uuid.uuid4()), secrets.token_urlsafe(18)
    settings = folder / "smart-connect.toml"
    settings.touch(mode=0o600)
    settings.write_text(
        _SETTINGS.format(
            port=port, token=token, folder=folder, workers=workers, instance_id=instance_id, project_id=_PROJECT,
            bootstrap=stage.kafka.bootstrap_servers, s3_endpoint=stage.s3.endpoint, s3_region=stage.s3.region,
        )
    )  # fmt: skip
    async with ApiClient(f"http://127.0.0.1:{port}", Token(Secret(token))) as api:
        server = ServerProcess(_command(folder, settings, api))
        try:
            await server.start()
            yield Service(server.pid, api, f"{instance_path(_PROJECT, instance_id)}/connector/tasks")
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
[[instances]]
id = "{instance_id}"
project_id = "{project_id}"
name = "bench"
bootstrap_servers = "{bootstrap}"
[obs]
endpoint = "{s3_endpoint}"
region = "{s3_region}"
"""
