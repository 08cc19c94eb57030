"""What the API's tests stand on: the real application over a real SQLite registry and the real jobs, of which only what asks clusters is
scripted; and a client that speaks ASGI, so that raw paths and headers arrive exactly as written.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

from smartconnect.api.access import AccessDirectory, AccessKey, ApiToken, AuthMode
from smartconnect.api.app import create_app
from smartconnect.api.services import ApiServices, Readiness
from smartconnect.api.signing import RawRequest, canonical_request, signature
from smartconnect.control.call import ControlParts
from smartconnect.control.policy import ControlPolicy
from smartconnect.control.tasks import TaskControl
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, TaskConfig
from smartconnect.engine.job import Resolved
from smartconnect.jobs.kafka_replication import environment as replication_environment
from smartconnect.jobs.kafka_replication import resolving
from smartconnect.jobs.kafka_replication.job import KafkaReplicationJob
from smartconnect.jobs.kafka_replication.peers import peer_of
from smartconnect.jobs.obs_dump.environment import Directory
from smartconnect.jobs.obs_dump.job import ObsDumpJob
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.types import Broker, ClusterMetadata
from smartconnect.registry import Registry
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings, ObsDumpSettings, ObsSettings

PROJECT = "0123456789abcdef0123456789abcdef"
OTHER_PROJECT = "fedcba9876543210fedcba9876543210"
INSTANCE = "b54c9dd8-0000-0000-0000-000000000001"
SECOND_INSTANCE = "b54c9dd8-0000-0000-0000-000000000002"
FOREIGN_INSTANCE = "b54c9dd8-0000-0000-0000-000000000003"
DISABLED_INSTANCE = "b54c9dd8-0000-0000-0000-000000000004"
NOW_MS = 1_767_322_000_000

SINK = {"access_key": "AK-CANARY", "secret_key": "SK-CANARY", "obs_bucket_name": "lake"}


def dump(name: str = "orders-dump", **changes: Any) -> dict[str, Any]:
    """A create request; `sink` lays fields over the sink, None removes."""
    sink = {**SINK, "obs_path": name, **changes.pop("sink", {})}
    body = {"task_name": name, "topics": "orders", "sink_type": "OBS_SINK", "sink_task": sink, **changes}
    return {key: value for key, value in body.items() if value is not ...}


def replication(name: str = "orders-copy", **changes: Any) -> dict[str, Any]:
    """A create request that pulls `orders` from a peer by addresses; `source` lays fields over `source_task`; `...` removes."""
    source = {"bootstrap_servers": "peer:9092", "direction": "pull", "cluster_name": "B", **changes.pop("source", {})}
    fields = {key: value for key, value in source.items() if value is not ...}
    body = {"task_name": name, "topics": "orders", "source_type": "KAFKA_REPLICATOR_SOURCE", "source_task": fields, **changes}
    return {key: value for key, value in body.items() if value is not ...}


class MovableClock:
    """A clock that a test turns."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now_ms / 1000, wall=lambda: self.now_ms / 1000)


class Script:
    """What the live checks of one job find, and what they were asked."""

    def __init__(self) -> None:
        self.findings: Sequence[Problem] = ()
        self.error: Exception | None = None
        self.hangs = False
        self.checked: list[tuple[str, TaskConfig, Mapping[str, Secret]]] = []

    async def check(self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret]) -> Sequence[Problem]:
        self.checked.append((instance_id, config, secrets))
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.findings


class ScriptedChecks(Script, ObsDumpJob):
    """The real dump, with live checks that find what the test says."""

    def __init__(self) -> None:
        Script.__init__(self)
        instances = {each.id: each for each in instance_settings()}
        directory = Directory(instance=instances.__getitem__, obs=ObsSettings, obs_dump=ObsDumpSettings)
        ObsDumpJob.__init__(self, directory, Clock(), Random(1))


class ScriptedReplication(Script, KafkaReplicationJob):
    """The real replication, between clusters that a test makes up: `cluster_ids` by the peer's addresses, each with 5 brokers; others are
    silent. `instances` are the settings, which a test may change."""

    def __init__(self) -> None:
        Script.__init__(self)
        self.instances = {each.id: each for each in instance_settings()}
        self.cluster_ids: dict[str, str] = {}
        directory = replication_environment.Directory(lambda name: self.instances.get(name), KafkaReplicationSettings)
        KafkaReplicationJob.__init__(self, directory, Clock(), Random(1))

    async def resolve(
        self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None
    ) -> Resolved:
        where = peer_of(config, secrets, self.instances.get).bootstrap_servers
        current, peer = FakeCluster("current"), FakeCluster(self.cluster_ids.get(where, ""))
        clusters = cast(Cluster, current), cast(Cluster, peer)
        return await resolving.resolve(*clusters, config, earlier, ReplicationOptions(), self.instances.get)


@dataclass(frozen=True, slots=True)
class FakeCluster:
    """Tells who it is; without an id it is silent."""

    cluster_id: str

    async def metadata(self, topics: object) -> ClusterMetadata:
        if not self.cluster_id:
            raise ClusterUnreachable("nobody there")
        return ClusterMetadata({node: Broker(node, "h", 1, None) for node in range(5)}, self.cluster_id, 0, {})


def instance_settings() -> list[InstanceSettings]:
    def one(instance_id: str, project_id: str, **more: Any) -> InstanceSettings:
        return InstanceSettings(id=instance_id, project_id=project_id, bootstrap_servers="10.0.0.1:9092,10.0.0.2:9093", **more)

    return [
        one(INSTANCE, PROJECT, name="orders"),
        one(SECOND_INSTANCE, PROJECT, security_protocol="SASL_SSL", user_name="sc", password="CANARY-password"),
        one(FOREIGN_INSTANCE, OTHER_PROJECT),
        one(DISABLED_INSTANCE, PROJECT, connector_enabled=False),
        one("plain-name", PROJECT),
    ]


def access_directory(mode: AuthMode = AuthMode.AKSK) -> AccessDirectory:
    everywhere, mine = frozenset({"*"}), frozenset({PROJECT})
    keys = [
        AccessKey("AK-EXAMPLE", Secret("SK-EXAMPLE"), everywhere),
        AccessKey("AK-MINE", Secret("SK-MINE"), mine),
        AccessKey("AK-READS", Secret("SK-READS"), everywhere, read_only=True),
    ]
    tokens = [
        ApiToken.of(Secret("token"), everywhere),
        ApiToken.of(Secret("mine"), mine),
        ApiToken.of(Secret("reads"), everywhere, read_only=True),
        ApiToken.of(Secret("expired"), everywhere, expires_at=NOW_MS - 1),
    ]
    return AccessDirectory(mode, {key.access_key: key for key in keys}, tokens, decoy=Secret("decoy"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as the client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error_code"])

    @property
    def fields(self) -> dict[str, str]:
        """Reasons by field."""
        return {error["field"]: error["reason"] for error in self.json().get("errors", [])}


@dataclass(slots=True)
class Client:
    """Speaks ASGI to one application."""

    app: Any
    token: str | None = "token"
    headers: dict[str, str] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        chunks: Sequence[bytes] | None = None,
    ) -> Answer:
        """`body`: bytes as they are, anything else as JSON; `target`: undecoded path and query."""
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if self.token is not None and not any(name.lower() in ("authorization", "x-auth-token") for name, _ in given):
            given.append(("X-Auth-Token", self.token))
        scope = _scope(method, target, [("host", "127.0.0.1:8080"), *given])
        return await _exchange(self.app, scope, chunks if chunks is not None else [sent])

    async def get(self, target: str, **more: Any) -> Answer:
        return await self.send("GET", target, **more)

    async def post(self, target: str, body: object = None, **more: Any) -> Answer:
        return await self.send("POST", target, body, **more)

    async def put(self, target: str, body: object = None, **more: Any) -> Answer:
        return await self.send("PUT", target, body, **more)

    async def delete(self, target: str, **more: Any) -> Answer:
        return await self.send("DELETE", target, **more)


def _scope(method: str, target: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    from urllib.parse import unquote

    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


async def _exchange(app: Any, scope: dict[str, Any], chunks: Sequence[bytes]) -> Answer:
    waiting = list(chunks)
    status, headers, parts = 0, {}, []
    finished = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                finished.set()

    await app(scope, receive, send)
    return Answer(status, headers, b"".join(parts))


@dataclass(slots=True)
class Service:
    """The application under test and the parts a test turns."""

    app: Any
    registry: Registry
    job: ScriptedChecks
    replication: ScriptedReplication
    clock: MovableClock
    policy: ControlPolicy
    access: AccessDirectory
    file: Path
    readiness: Readiness = field(default_factory=Readiness)
    nudges: int = 0
    parts: ControlParts | None = None

    def client(self, token: str | None = "token") -> Client:
        return Client(self.app, token)


def build(registry: Registry, file: Path, clock: MovableClock) -> Service:
    """One service over an opened registry."""
    job, replication = ScriptedChecks(), ScriptedReplication()
    service = Service(None, registry, job, replication, clock, ControlPolicy(check_timeout_s=0.2), access_directory(), file)

    def nudge() -> None:
        service.nudges += 1

    async def readiness() -> Readiness:
        return service.readiness

    async def metrics() -> bytes:
        return b"# HELP up\nup 1\n"

    service.parts = ControlParts(
        store=registry,
        jobs={Kind.OBS_DUMP: job, Kind.KAFKA_REPLICATION: replication},
        policy=lambda: service.policy,
        clock=clock.clock(),
        new_id=lambda: str(uuid.uuid4()),
        nudge=nudge,
    )
    service.app = create_app(
        ApiServices(
            control=TaskControl(service.parts),
            instances=lambda: {each.id: each for each in instance_settings()},
            access=lambda: service.access,
            clock=clock.clock(),
            new_request_id=lambda: uuid.uuid4().hex,
            readiness=readiness,
            metrics=metrics,
            version="0.1.0",
        )
    )
    return service


def tasks_url(instance: str = INSTANCE, project: str = PROJECT) -> str:
    return f"/v2/{project}/instances/{instance}/connector/tasks"


def task_url(task_id: str, action: str = "", instance: str = INSTANCE) -> str:
    return f"{tasks_url(instance)}/{task_id}" + (f"/{action}" if action else "")


def kafka_url(rest: str, instance: str = INSTANCE) -> str:
    return f"/v2/{PROJECT}/kafka/instances/{instance}/{rest}"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs as the SDKs do, with parts that a test may break."""

    access_key: str = "AK-EXAMPLE"
    secret_key: Secret = Secret("SK-EXAMPLE")
    at_ms: int = NOW_MS

    @property
    def date(self) -> str:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")

    def headers(
        self, method: str, target: str, body: bytes = b"", more: Mapping[str, str] | None = None, unsigned: Sequence[str] = ()
    ) -> dict[str, str]:
        import hashlib

        path, _, query = target.partition("?")
        sent = {"host": "127.0.0.1:8080", "x-sdk-date": self.date, **(more or {})}
        signed = sorted(name for name in sent if name not in unsigned)
        request = RawRequest(method, path.encode(), query.encode(), {name: [value] for name, value in sent.items()}, body)
        text = canonical_request(request, signed, hashlib.sha256(body).hexdigest())
        made = signature(self.secret_key, self.date, text)
        sent["authorization"] = f"SDK-HMAC-SHA256 Access={self.access_key}, SignedHeaders={';'.join(signed)}, Signature={made}"
        del sent["host"]
        return sent


def ruin(file: Path) -> None:
    """Make the registry unreadable for who has it open: its tables are not there any more."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if not table.startswith("sqlite_"):
                connection.execute(f"DROP TABLE {table}")
