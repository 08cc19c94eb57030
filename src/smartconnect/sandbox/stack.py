"""The sandbox that stays: `up` starts two Kafka clusters (an instance and its peer) and an S3 server that outlive the starting process,
`down` ends them by pid.

Guarantees one sandbox per folder: a second `up` gives the one that runs, and one of which a server has died is ended and started
afresh, without its old data. What runs, and how to reach it, is in `state.json` of the folder (readable by its owner only: it
holds the S3 keys). Called by `smart-connect sandbox up|down`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from smartconnect.sandbox.cache import cache_folder, locked
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions
from smartconnect.sandbox.pids import ProcessIdentity, end, identify, is_running
from smartconnect.sandbox.process import Lifetime, ServerProcess, together
from smartconnect.sandbox.s3 import S3Options, S3Server


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What to start. The `folder` of the parts is decided by the sandbox."""

    kafka: KafkaOptions = field(default_factory=KafkaOptions)
    peer: KafkaOptions = field(default_factory=KafkaOptions)
    s3: S3Options = field(default_factory=S3Options)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """One process of the sandbox."""

    name: str
    process: ProcessIdentity
    log_file: str


@dataclass(frozen=True, slots=True)
class SandboxState:
    """What runs and how to reach it; the fields of settings that a user copies into `smart-connect.toml`."""

    servers: tuple[RunningServer, ...]
    bootstrap_servers: str
    peer_bootstrap_servers: str
    s3_endpoint: str
    s3_region: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_buckets: str = ""

    @property
    def is_running(self) -> bool:
        """Whether every server still runs."""
        return all(is_running(server.process) for server in self.servers)


class Sandbox:
    """The sandbox of one folder; None: `sandbox` in the cache."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "sandbox"
        self._state_file = self.folder / "state.json"

    def state(self) -> SandboxState | None:
        """What the last `up` started, whether it still runs or not; None after `down`."""
        try:
            return _read(self._state_file.read_text())
        except FileNotFoundError:
            return None

    async def up(self, options: SandboxOptions | None = None) -> SandboxState:
        """Start what does not run yet and return when it answers. Raises `SandboxFailed`; then nothing is left running."""
        async with self._alone():
            state = self.state()
            if state is not None and state.is_running:
                return state
            await self._end(state)
            return await self._start(options or SandboxOptions())

    async def down(self, *, keep_data: bool = False) -> SandboxState | None:
        """End all servers, and remove their data unless it shall be kept; gives what was ended, None if nothing was up."""
        async with self._alone():
            state = self.state()
            await self._end(state)
            if keep_data:
                self._state_file.unlink(missing_ok=True)
            else:
                await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
            return state

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        with contextlib.ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, locked("sandbox"))
            yield

    async def _start(self, options: SandboxOptions) -> SandboxState:
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        cluster = KafkaCluster(options.kafka, self.folder / "kafka", Lifetime.DETACHED)
        peer = KafkaCluster(options.peer, self.folder / "peer", Lifetime.DETACHED)
        store = S3Server(options.s3, self.folder / "s3", Lifetime.DETACHED)
        try:
            await together(cluster.start(), peer.start(), store.start())
            servers = (
                *(_running(node) for node in cluster.nodes),
                *(_running(node, "peer: ") for node in peer.nodes),
                _running(store.process),
            )
            state = SandboxState(
                servers=servers,
                bootstrap_servers=cluster.bootstrap_servers,
                peer_bootstrap_servers=peer.bootstrap_servers,
                s3_endpoint=store.endpoint,
                s3_region=store.region,
                s3_access_key=store.access_key,
                s3_secret_key=store.secret_key,
                s3_buckets=str(store.buckets),
            )
            self._write(state)
        except BaseException:
            await asyncio.gather(cluster.kill(), peer.kill(), store.kill())
            raise
        return state

    async def _end(self, state: SandboxState | None) -> None:
        if state is not None:
            await asyncio.gather(*(end(server.process) for server in state.servers))

    def _write(self, state: SandboxState) -> None:
        draft = self._state_file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(state), indent=2))
        draft.rename(self._state_file)


def _running(server: ServerProcess, prefix: str = "") -> RunningServer:
    return RunningServer(prefix + server.command.name, identify(server.pid), str(server.log_file))


def _read(text: str) -> SandboxState:
    fields = json.loads(text)
    servers = tuple(
        RunningServer(server["name"], ProcessIdentity(**server["process"]), server["log_file"]) for server in fields.pop("servers")
    )
    return SandboxState(servers=servers, **fields)
