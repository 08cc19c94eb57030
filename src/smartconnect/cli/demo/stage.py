"""The demo's stage: two real Kafka clusters, a real S3 server with a bucket, and the service as a user would run it, in one folder, on free
ports. Everything is stopped and removed when the context ends, also when this process is killed; after a failure the folder stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from smartconnect.cli.client import SigningKey
from smartconnect.domain.secret import Secret
from smartconnect.sandbox.cache import keep, run_folder
from smartconnect.sandbox.kafka import KAFKA_VERSION, KafkaCluster, KafkaOptions
from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.process import ServerCommand, ServerProcess, together
from smartconnect.sandbox.s3 import VERSITYGW_VERSION, S3Options, S3Server

BUCKET: Final = "lake"
_READY_WITHIN_S: Final = 90.0
_STOP_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Servers:
    """What the service works with: `kafka` is its instance, `peer` another cluster."""

    kafka: KafkaCluster
    peer: KafkaCluster
    s3: S3Server

    @classmethod
    def below(cls, folder: Path) -> Servers:
        """Not started yet."""
        kafka, peer = (KafkaCluster(KafkaOptions(), folder / name) for name in ("kafka", "peer"))
        return cls(kafka, peer, S3Server(S3Options(), folder / "s3"))

    async def start(self) -> None:
        await together(self.kafka.start(), self.peer.start(), self.s3.start())
        (self.s3.buckets / BUCKET).mkdir()

    async def kill(self) -> None:
        await asyncio.gather(self.kafka.kill(), self.peer.kill(), self.s3.kill())


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and how to reach it."""

    folder: Path
    servers: Servers
    settings_file: Path
    endpoint: str
    project_id: str
    instance_id: str
    peer_id: str
    key: SigningKey
    token: str
    console: str | None

    @property
    def bucket_folder(self) -> Path:
        return self.servers.s3.buckets / BUCKET


Say = Callable[[str], contextlib.AbstractContextManager[None]]
"""`with say("starting …"):` shows what is being waited for, then that it is done and how long it took."""


@contextlib.asynccontextmanager
async def set_up(say: Say, *, keep_folder: bool) -> AsyncIterator[Stage]:
    """Start everything. Raises SandboxFailed."""
    async with run_folder("demo", None) as folder:
        servers = Servers.below(folder)
        try:
            with say(f"Two Kafka {KAFKA_VERSION} and S3 (versitygw {VERSITYGW_VERSION}), fetched and built the first time"):
                await servers.start()
            async with _service(say, folder, servers) as stage:
                yield stage
            if keep_folder:
                keep(folder)
        except Exception:
            keep(folder)
            raise
        finally:
            await servers.kill()


@contextlib.asynccontextmanager
async def _service(say: Say, folder: Path, servers: Servers) -> AsyncIterator[Stage]:
    port, project_id, instance_id, peer_id = free_port(), uuid.uuid4().hex, str(uuid.uuid4()), str(uuid.uuid4())
    key = SigningKey(f"DEMO{secrets.token_hex(6).upper()}", Secret(secrets.token_urlsafe(24)))
    token, endpoint = secrets.token_urlsafe(18), f"http://127.0.0.1:{port}"
    settings_file = folder / "smart-connect.toml"
    settings_file.touch(mode=0o600)
    settings_file.write_text(
        _SETTINGS.format(
            port=port,
            access_key=key.access_key,
            secret_key=key.secret_key.reveal(),
            token=token,
            folder=folder,
            instance_id=instance_id,
            peer_id=peer_id,
            project_id=project_id,
            bootstrap=servers.kafka.bootstrap_servers,
            peer_bootstrap=servers.peer.bootstrap_servers,
            s3_endpoint=servers.s3.endpoint,
            s3_region=servers.s3.region,
        )
    )
    server = ServerProcess(_command(folder, settings_file, endpoint))
    try:
        with say(f"Smart Connect, at {endpoint}"):
            await server.start()
        console = f"{endpoint}/console" if await _answer(f"{endpoint}/console") < 400 else None
        yield Stage(folder, servers, settings_file, endpoint, project_id, instance_id, peer_id, key, token, console)
        with say("Smart Connect stops"):
            await server.stop(_STOP_WITHIN_S)
    finally:
        await server.kill()


def _command(folder: Path, settings_file: Path, endpoint: str) -> ServerCommand:
    async def ready(_log: str) -> bool:
        return await _answer(f"{endpoint}/readyz") == 200

    argv = (sys.executable, "-m", "smartconnect.cli", "serve", "--config", str(settings_file), "--log-format", "json")
    return ServerCommand(
        name="smart-connect serve",
        argv=argv,
        folder=folder / "service",
        log_file=folder / "service" / "server.log",
        ready=ready,
        deadline_s=_READY_WITHIN_S,
        removed_after_crash=(folder,),
    )


async def _answer(url: str) -> int:
    """The status of a GET; 599 if nothing answers."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 599


_SETTINGS: Final = """\
[api]
listen = "127.0.0.1:{port}"
[[api.access_keys]]
access_key = "{access_key}"
secret_key = "{secret_key}"
[[api.tokens]]
token = "{token}"
[registry]
url = "sqlite:///{folder}/smart-connect.db"
key_file = "{folder}/smart-connect.key"
[workers]
count = 2
[[instances]]
id = "{instance_id}"
project_id = "{project_id}"
name = "demo"
bootstrap_servers = "{bootstrap}"
[[instances]]
id = "{peer_id}"
project_id = "{project_id}"
name = "peer"
bootstrap_servers = "{peer_bootstrap}"
[obs]
endpoint = "{s3_endpoint}"
region = "{s3_region}"
"""
