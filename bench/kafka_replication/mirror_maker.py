"""A peer: MirrorMaker 2 in dedicated mode, one node, with the settings that do it good (the same for every run; they are in the result)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from bench.common.bento import at_once
from bench.common.watching import Watch
from bench.kafka_replication.job import Job
from bench.kafka_replication.stage import MECHANISM, USER, Stage
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.kafka_files import LOG_SETTINGS
from smartconnect.sandbox.prerequisites import Tool, ensure
from smartconnect.sandbox.process import ServerCommand, ServerProcess

NAME: Final = "mm2"
JVM: Final = ("-Xms2G", "-Xmx2G", "-XX:+UseParallelGC")
TASKS: Final = 2
CONSUMER: Final = {"max.poll.records": "2000", "fetch.max.bytes": str(16 << 20), "max.partition.fetch.bytes": str(2 << 20)}
PRODUCER: Final = {"buffer.memory": str(32 << 20), "linger.ms": "20"}
"""`batch.size` and `compression.type` are the topic's. For a few records each second: its defaults."""
_MAIN: Final = "org.apache.kafka.connect.mirror.MirrorMaker"


@contextlib.asynccontextmanager
async def running(stage: Stage, job: Job) -> AsyncIterator[Watch]:
    """The process, from its birth. Raises SandboxFailed."""
    folder = stage.new_folder(NAME)
    folder.mkdir()
    settings = folder / "mm2.properties"
    settings.touch(mode=0o600)
    settings.write_text("".join(f"{name}={value}\n" for name, value in _settings(stage, job).items()))
    java = ensure(Tool.JAVA)[Tool.JAVA]
    argv = (
        str(java), *JVM, f"-Dlog4j2.configurationFile={LOG_SETTINGS}", "-cp", stage.target.classpath, _MAIN, str(settings),
    )  # fmt: skip
    server = ServerProcess(ServerCommand("MirrorMaker 2", argv, folder, folder / "server.log", at_once))
    try:
        await server.start()
        yield Watch(server.pid, stage.others, from_birth=True)
        await server.stop()
    finally:
        await server.kill()


def _settings(stage: Stage, job: Job) -> dict[str, str]:
    flow = f"{NAME}->target"
    alone = ("replication.factor", "offset-syncs.topic.replication.factor", "checkpoints.topic.replication.factor")
    stores = ("offset.storage.replication.factor", "status.storage.replication.factor", "config.storage.replication.factor")
    return {
        "clusters": f"{NAME},target",
        **_cluster(NAME, stage.source, stage.password),
        **_cluster("target", stage.target, stage.password),
        f"{flow}.enabled": "true",
        f"target->{NAME}.enabled": "false",
        f"{flow}.topics": job.topic,
        "tasks.max": str(TASKS),
        **dict.fromkeys((*alone, *stores), "1"),
        "emit.heartbeats.enabled": "false",
        "emit.checkpoints.enabled": "false",
        "sync.topic.configs.enabled": "false",
        "sync.topic.acls.enabled": "false",
        "target.exactly.once.source.support": "enabled" if job.peer_exactly_once else "disabled",
        **({} if job.steady else _for_speed(flow, job)),
    }


def _for_speed(flow: str, job: Job) -> Mapping[str, str]:
    producer = {**PRODUCER, "batch.size": str((job.batch_kib or 0) << 10), "compression.type": job.codec.name.lower()}
    return {
        **{f"{flow}.consumer.{name}": value for name, value in CONSUMER.items()},
        **{f"{flow}.producer.override.{name}": value for name, value in producer.items()},
    }


def _cluster(alias: str, cluster: KafkaCluster, password: str) -> dict[str, str]:
    lines = {"bootstrap.servers": cluster.bootstrap_servers}
    if password:
        lines |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.jaas.config": _jaas(password),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": _escaped(cluster.ca_file),
        }
    return {f"{alias}.{name}": value for name, value in lines.items()}


def _jaas(password: str) -> str:
    return f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{USER}" password="{password}";'


def _escaped(path: Path) -> str:
    """In a properties file a backslash escapes."""
    return str(path).replace("\\", "\\\\")
