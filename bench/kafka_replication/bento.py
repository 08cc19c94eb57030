"""A peer: Bento, `kafka_franz` to `kafka_franz`, order kept, with the settings that do it good (the same for every run; they are in the
result). It can only promise at least once, whatever is asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bench.common import bento
from bench.common.data import PARTITIONS, make_topics
from bench.common.watching import Watch
from bench.kafka_replication.job import Job, target_topic
from bench.kafka_replication.stage import MECHANISM, USER, Stage
from smartconnect.kafka.admin import NewTopic
from smartconnect.sandbox.kafka import KafkaCluster

NAME: Final = "bento"
BATCHING: Final = "{byte_size: 4194304, period: 50ms}"
ONE_BY_ONE: Final = "{count: 1}"
"""For a few records each second."""


@contextlib.asynccontextmanager
async def running(stage: Stage, job: Job, program: Path) -> AsyncIterator[Watch]:
    """The process, from its birth; its topic is made first. Raises SandboxFailed."""
    target = target_topic(NAME, job.topic)
    if not job.steady:
        await make_topics(stage.writes, [NewTopic(target, PARTITIONS)])
    settings = SETTINGS.format(
        source=stage.source.bootstrap_servers, source_security=_security(stage.source, stage.password),
        target=stage.target.bootstrap_servers, target_security=_security(stage.target, stage.password),
        topic=job.topic, target_topic=target, batching=ONE_BY_ONE if job.steady else BATCHING, codec=job.codec.name.lower(),
    )  # fmt: skip
    async with bento.running(program, stage.new_folder(NAME), settings) as server:
        yield Watch(server.pid, stage.others, from_birth=True)


def _security(cluster: KafkaCluster, password: str) -> str:
    if not password:
        return ""
    tls = f'tls: {{enabled: true, root_cas_file: "{cluster.ca_file}"}}'
    return f'{tls}\n    sasl: [{{mechanism: {MECHANISM}, username: "{USER}", password: "{password}"}}]'


SETTINGS: Final = """\
http: {{enabled: false}}
logger: {{level: WARN}}
input:
  kafka_franz:
    seed_brokers: ["{source}"]
    {source_security}
    topics: ["{topic}"]
    consumer_group: bench-{topic}
    start_from_oldest: true
    checkpoint_limit: 65536
    commit_period: 1s
    fetch_max_partition_bytes: 4MiB
    batching: {batching}
output:
  kafka_franz:
    seed_brokers: ["{target}"]
    {target_security}
    topic: "{target_topic}"
    partitioner: manual
    partition: '${{! meta("kafka_partition") }}'
    idempotent_write: true
    compression: {codec}
    max_in_flight: 1
"""
