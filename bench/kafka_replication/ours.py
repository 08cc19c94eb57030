"""Our side: `smart-connect serve` as a user runs it, the target its instance, the source the peer; one task that pulls."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from bench.common.service import Instance, Service, serve
from bench.common.watching import Watch
from bench.kafka_replication.job import Job
from bench.kafka_replication.stage import MECHANISM, USER, Stage
from smartconnect.sandbox.kafka import KafkaCluster

NAME: Final = "ours"


@dataclass(frozen=True, slots=True)
class Size:
    """Of our service and task: worker processes, `task_num`."""

    workers: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Served:
    """A service that knows both brokers."""

    service: Service
    peer_id: str

    async def create(self, name: str, topics: str, **more: object) -> str:
        """Create the task that pulls topics to `ours.<topic>`; its path. `options`, `topics_regex` go to the body, all else to
        `source_task`."""
        body: dict[str, object] = {
            "task_name": name,
            "topics": topics,
            "source_type": "KAFKA_REPLICATOR_SOURCE",
            "sink_type": "NONE",
        }
        body |= {key: more.pop(key) for key in ("options",) if key in more}
        body["source_task"] = {
            "instance_id": self.peer_id,
            "direction": "pull",
            "consumer_strategy": "earliest",
            "current_cluster_name": "here",
            "cluster_name": NAME,
            "rename_topic_enabled": True,
            **more,
        }
        return await self.service.create(body)


@contextlib.asynccontextmanager
async def served(stage: Stage, workers: int, more: str = "") -> AsyncIterator[Served]:
    """Ready, without a task. `more`: further sections of the settings."""
    here = Instance("here", stage.target.bootstrap_servers, _keys(stage.target, stage.password))
    peer = Instance("peer", stage.source.bootstrap_servers, _keys(stage.source, stage.password))
    async with serve(stage.new_folder("service"), [here, peer], workers, more) as service:
        yield Served(service, peer.id)


@contextlib.asynccontextmanager
async def running(stage: Stage, job: Job, size: Size) -> AsyncIterator[Watch]:
    """From the call that creates the task. Raises SandboxFailed, ApiRefused."""
    async with served(stage, size.workers) as us:
        watch = Watch(us.service.pid, stage.others, from_birth=False)
        await copy_task(us, job, size.tasks)
        yield watch


async def copy_task(us: Served, job: Job, task_num: int) -> str:
    """Create the task that does the job; its path. Raises ApiRefused."""
    fields: dict[str, object] = {"task_num": task_num}
    if job.header:
        fields["provenance_header_enabled"] = True
    if job.recode:
        fields["compression_type"] = job.codec.name.lower()
    delivery = "exactly_once" if job.exactly_once else "at_least_once"
    return await us.create("copy", job.topic, options={"delivery": delivery}, **fields)


def _keys(cluster: KafkaCluster, password: str) -> Mapping[str, str]:
    if not password:
        return {}
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": MECHANISM,
        "user_name": USER,
        "password": password,
        "ca_file": str(cluster.ca_file),
    }
