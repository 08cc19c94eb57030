"""The replication job as control uses it: checked, resolved and planned against clusters that a test names."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import Start
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.jobs.kafka_replication.environment import Directory
from smartconnect.jobs.kafka_replication.job import KafkaReplicationJob
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings
from tests.support.kafka_proxy import KafkaProxy

JOES_PASSWORD = "correct-horse"


class Control:
    """The job as control uses it, with instances that a test names."""

    def __init__(self, here: KafkaCluster | KafkaProxy, there: InstanceSettings | None = None, **settings: Any) -> None:
        current = InstanceSettings(id="here", project_id="p", name="here", bootstrap_servers=here.bootstrap_servers)
        instances = {each.id: each for each in (current, there) if each is not None}
        replication = KafkaReplicationSettings(**settings)
        directory = Directory(find_instance=instances.get, kafka_replication=lambda: replication)
        self.job = KafkaReplicationJob(directory, Clock(), Random(1))

    def read(self, source: Mapping[str, Any], **changes: Any) -> tuple[TaskConfig, Mapping[str, Secret]]:
        parsed = self.job.parse("here", {"source_task": dict(source), **changes})
        assert list(parsed.problems) == []
        return parsed.config, parsed.secrets

    async def check(self, source: Mapping[str, Any], **changes: Any) -> list[Problem]:
        return list(await self.job.check("here", *self.read(source, **changes)))

    async def validate(self, source: Mapping[str, Any]) -> list[Problem]:
        parsed = self.job.parse("here", {"source_task": dict(source)}, partial=True)
        return list(await self.job.check("here", parsed.config, parsed.secrets))

    async def resolve(
        self, source: Mapping[str, Any], earlier: TaskConfig | None = None, **changes: Any
    ) -> tuple[TaskConfig, list[Problem]]:
        resolved = await self.job.resolve("here", *self.read(source, **changes), earlier)
        return resolved.config, list(resolved.problems)

    async def plan(self, configuration: TaskConfig, known: list[Start], facts: Mapping[str, str]) -> Any:
        return await self.job.plan(a_task(configuration), {}, known, facts)


def a_task(configuration: TaskConfig) -> Task:
    return Task("task-1", "p", "here", "name", Kind.KAFKA_REPLICATION, configuration, Desired.RUNNING, 1, 1, 0)


def told(problems: list[Problem]) -> dict[str, str]:
    """Reasons by field, without warnings; several of one field joined."""
    found: dict[str, str] = {}
    for problem in problems:
        if not problem.warning:
            field = problem.field.removeprefix("source_task.")
            found[field] = f"{found[field]}; {problem.reason}" if field in found else problem.reason
    return found


def plainly(server: KafkaCluster, **more: Any) -> dict[str, Any]:
    return {"bootstrap_servers": server.bootstrap_servers, "direction": "pull", **more}


def as_joe(server: KafkaCluster, **more: Any) -> dict[str, Any]:
    login = {"security_protocol": "SASL_PLAINTEXT", "user_name": "joe", "password": JOES_PASSWORD}
    return {"bootstrap_servers": server.bootstrap_servers, "direction": "pull", **login, **more}
