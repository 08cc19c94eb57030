"""The real service as a user runs it: `smart-connect serve` with a settings file, driven over its API with a token, its processes found by
what the parent logs, so that tests can kill and freeze them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.s3 import S3Server
from tests.support.freezing import freeze, send_signal
from tests.support.log_lines import log_lines
from tests.support.waiting import eventually

PROJECT = "0123456789abcdef0123456789abcdef"
TOKEN = "a-token-for-tests"


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What differs between tests. `instance`, `dump`, `peer_instance` and `replication`: more keys of their sections. `peer_servers`: a
    second instance, the peer of replications. A service without `s3` can hold no dumps."""

    bootstrap_servers: str
    s3: S3Server | None = None
    endpoint: str | None = None
    workers: int = 2
    instance: Mapping[str, object] = field(default_factory=dict)
    dump: Mapping[str, object] = field(default_factory=dict)
    instance_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    peer_servers: str | None = None
    peer_instance: Mapping[str, object] = field(default_factory=dict)
    replication: Mapping[str, object] = field(default_factory=dict)
    peer_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Refused(Exception):
    """An answer of the API that is no success."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('error_code')}: {body.get('error_msg')}")
        self.status, self.body = status, body


class Service:
    """One running service; `folder` holds its settings and log, `home` its registry and the step logs, which another service may share."""

    def __init__(self, folder: Path, options: ServiceOptions, *, home: Path | None = None) -> None:
        self.folder, self.home, self.options = folder, home or folder, options
        self.port = free_port()
        self.registry = self.home / "registry.db"
        self.step_log = self.home / "steps.jsonl"
        self.replication_step_log = self.home / "replication-steps.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def instance_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/{PROJECT}/instances/{self.options.instance_id}"

    async def start(self) -> None:
        """Start the parent and wait until the service says that it is ready."""
        settings = self.folder / "smart-connect.toml"
        settings.write_text(self._settings())
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "smartconnect.cli", "serve", "--config", str(settings), "--log-format", "json"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await self.ready()

    async def ready(self) -> None:
        """Until the service says that it is ready."""
        await eventually(self._is_ready, 90, what=f"the service is ready (log: {self.folder / 'log'})")

    async def stop(self) -> None:
        """End the parent; its children end with it."""
        assert self._process is not None
        self.wake()
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, 60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def kill_parent(self) -> None:
        """kill -9 the parent; the children see the pipe close."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """kill -9 the parent and all its children, frozen ones too."""
        children = self.pids()
        self.kill_parent()
        send_signal(children, signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP of the parent and all its children: the whole machine stands still."""
        assert self._process is not None
        freeze([self._process.pid, *self.pids()], self.registry)

    def wake(self) -> None:
        """SIGCONT of what `freeze` has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        send_signal(self.pids(), signal.SIGCONT)

    def log(self) -> list[dict[str, Any]]:
        return log_lines((self.folder / "log").read_text(errors="replace"))

    def pids(self, prefix: str = "") -> list[int]:
        """Pids of the newest process of each child whose name begins so ("worker", "api")."""
        newest: dict[str, int] = {}
        for line in self.log():
            if line["event"] == "process started" and line["child"].startswith(prefix):
                newest[line["child"]] = int(line["pid"])
        return [pid for pid in newest.values() if Path(f"/proc/{pid}").exists()]

    async def call(self, method: str, url: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """One request with the token: status and parsed body ({} if there is none)."""
        headers = {"X-Auth-Token": TOKEN}
        async with aiohttp.ClientSession(headers=headers) as session, session.request(method, url, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else {}

    async def api(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A request below the instance that must succeed."""
        status, answer = await self.call(method, self.instance_url + path, body)
        if status >= 300:
            raise Refused(status, answer)
        return answer

    async def create_dump(self, name: str, bucket: str, *, topics: str | None = None, **sink: object) -> Dump:
        """Create an OBS dump; `topics_regex`, `options`, `start_later` go to the body, all else to `sink_task`."""
        s3 = self.options.s3
        assert s3 is not None, "dumps need a store"
        body: dict[str, object] = {"task_name": name, "source_type": "NONE", "sink_type": "OBS_SINK"}
        body |= {key: sink.pop(key) for key in ("topics_regex", "options", "start_later") if key in sink}
        if topics is not None:
            body["topics"] = topics
        body["sink_task"] = {
            "access_key": s3.access_key,
            "secret_key": s3.secret_key,
            "obs_bucket_name": bucket,
            "obs_path": "dump",
            "consumer_strategy": "earliest",
            "deliver_time_interval": 30,
            **sink,
        }
        created = await self.api("POST", "/connector/tasks", body)
        return Dump(self, str(created["id"]))

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the service ended: see {self.folder / 'log'}"
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.call("GET", f"http://127.0.0.1:{self.port}/readyz"))[0] == 200
        return False

    def _settings(self) -> str:
        options = self.options
        dump = {"janitor_min_age_s": 0, "step_log": str(self.step_log), "refresh_interval_s": 1.0, **options.dump}
        intervals = {"refresh_interval_s": 1.0, "config_sync_interval_s": 1.0, "group_sync_interval_s": 1.0}
        replication = {"step_log": str(self.replication_step_log), **intervals, **options.replication}
        peer = ""
        if options.peer_servers is not None:
            peer = _instance(options.peer_id, "peer", options.peer_servers, options.peer_instance)
        return f"""
[api]
listen = "127.0.0.1:{self.port}"
[[api.tokens]]
token = "{TOKEN}"
project_ids = ["*"]
[registry]
url = "sqlite:///{self.registry}"
key_file = "{self.home}/registry.key"
[workers]
count = {options.workers}
{_instance(options.instance_id, "tests", options.bootstrap_servers, options.instance)}
{peer}
{self._store()}
[obs_dump]
{_keys(dump)}
[kafka_replication]
{_keys(replication)}
"""

    def _store(self) -> str:
        s3 = self.options.s3
        if s3 is None:
            return ""
        return f"""[obs]
endpoint = "{self.options.endpoint or s3.endpoint}"
region = "{s3.region}\""""


def _instance(instance_id: str, name: str, bootstrap_servers: str, more: Mapping[str, object]) -> str:
    return f"""[[instances]]
id = "{instance_id}"
project_id = "{PROJECT}"
name = "{name}"
bootstrap_servers = "{bootstrap_servers}"
{_keys(more)}"""


@dataclass(frozen=True, slots=True)
class ServiceTask:
    """One task of a running service."""

    service: Service
    id: str

    async def show(self) -> dict[str, Any]:
        return await self.service.api("GET", f"/connector/tasks/{self.id}")

    async def progress(self) -> dict[str, Any]:
        return await self.service.api("GET", f"/connector/tasks/{self.id}/progress?limit=5000")

    async def act(self, action: str) -> None:
        await self.service.api("PUT", f"/connector/tasks/{self.id}/{action}")

    async def modify(self, **body: object) -> dict[str, Any]:
        return await self.service.api("PUT", f"/connector/tasks/{self.id}", body)

    async def delete(self) -> None:
        await self.service.api("DELETE", f"/connector/tasks/{self.id}")

    async def shows(self, status: str, within_s: float = 60) -> None:
        async def does() -> bool:
            return bool((await self.show())["status"] == status)

        await eventually(does, within_s, what=f"the task shows {status}")


@dataclass(frozen=True, slots=True)
class Dump(ServiceTask):
    """One dump task of a running service."""

    async def caught_up(self, within_s: float = 60, *, offsets: int = 0) -> None:
        """Until every partition's position is the source's end, and the positions together are at least `offsets` (a report of before a
        death may not know yet what was written since)."""
        last: dict[str, Any] = {}

        async def done() -> bool:
            nonlocal last
            last = await self.progress()
            reached = sum(partition["position"] or 0 for partition in last["partitions"])
            return bool(last["phase"] == "dumping" and last["lag_records"] == 0 and last["health"] == "ok" and reached >= offsets)

        try:
            await eventually(done, within_s, what="the dump catches up")
        except AssertionError as error:
            raise AssertionError(f"{error}; the last progress was {json.dumps(last)[:3000]}") from None

    async def drained(self, within_s: float = 60) -> None:
        """Pause, and wait until everything read is visible."""
        await self.act("pause")
        await self.shows("PAUSED", within_s)


@contextlib.asynccontextmanager
async def running_service(folder: Path, options: ServiceOptions, *, home: Path | None = None) -> AsyncIterator[Service]:
    """The service runs inside; nothing of it is left behind, also after a failure."""
    service = Service(folder, options, home=home)
    try:
        await service.start()
        yield service
    finally:
        await service.stop()


def _keys(values: Mapping[str, object]) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
