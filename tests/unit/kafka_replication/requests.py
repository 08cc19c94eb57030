"""What tests of a replication's requests begin with: two configured instances, and small requests that are right."""

from __future__ import annotations

from typing import Any

from smartconnect.domain.kafka_replication_spec import Peer, ReplicationOptions, ReplicationSpec
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.engine.job import ParsedRequest
from smartconnect.jobs.kafka_replication.request import parse, spec_with
from smartconnect.settings import InstanceSettings

PROJECT = "0123456789abcdef0123456789abcdef"
HERE = InstanceSettings(id="here", project_id=PROJECT, name="orders", bootstrap_servers="10.0.0.1:9092,10.0.0.2:9092")
THERE = InstanceSettings(
    id="there",
    project_id=PROJECT,
    name="Backup site",
    bootstrap_servers="10.1.0.1:9093",
    security_protocol="SASL_SSL",
    user_name="copier",
    password=Secret("CANARY-instance"),
    ca_file="/etc/ca.pem",
    rack="r1",
)
FOREIGN = InstanceSettings(id="foreign", project_id="another", bootstrap_servers="10.9.0.1:9092")
NO_PEER = Peer(None, "", "PLAINTEXT", "PLAIN", "", Secret(""))


def find(instance_id: str) -> InstanceSettings | None:
    return next((each for each in (HERE, THERE, FOREIGN) if each.id == instance_id), None)


def body(source: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A create request that pulls `orders` from a peer by addresses; `...` removes."""
    fields = {"bootstrap_servers": "peer:9092", "direction": "pull", **(source or {})}
    whole = {"topics": "orders", "source_task": {k: v for k, v in fields.items() if v is not ...}, **changes}
    return {key: value for key, value in whole.items() if value is not ...}


def read(request: dict[str, Any], current: InstanceSettings = HERE, **more: Any) -> ParsedRequest:
    return parse(request, current, find, **more)


def reasons(request: dict[str, Any], **more: Any) -> dict[str, str]:
    """By field; the last one where a field has several."""
    return {problem.field.removeprefix("source_task."): problem.reason for problem in read(request, **more).problems}


def config(source: dict[str, Any] | None = None, current: InstanceSettings = HERE, **changes: Any) -> TaskConfig:
    parsed = read(body(source, **changes), current)
    assert parsed.problems == []
    return parsed.config


def spec(source: dict[str, Any] | None = None, *, options: ReplicationOptions | None = None, **changes: Any) -> ReplicationSpec:
    return spec_with(config(source, **changes), NO_PEER, options or ReplicationOptions())


def a_task(configuration: TaskConfig, task_id: str = "task-1", **changes: Any) -> Task:
    values: dict[str, Any] = {
        "id": task_id,
        "project_id": PROJECT,
        "instance_id": HERE.id,
        "name": f"name-of-{task_id}",
        "kind": Kind.KAFKA_REPLICATION,
        "config": configuration,
        "desired": Desired.RUNNING,
        "run": 1,
        "revision": 1,
        "create_time": 1_767_322_000_000,
    }
    return Task(**(values | changes))
