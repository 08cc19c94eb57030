"""What both sides use: broker and S3 server of the sandbox, with the optimising JVM, and a client of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.cache import run_folder
from smartconnect.sandbox.kafka import BENCHMARK_JVM, KafkaCluster, KafkaOptions
from smartconnect.sandbox.process import together
from smartconnect.sandbox.s3 import S3Options, S3Server


@dataclass(frozen=True, slots=True)
class Stage:
    """`folder` is removed at the end."""

    folder: Path
    kafka: KafkaCluster
    s3: S3Server
    cluster: Cluster

    @property
    def others(self) -> dict[str, int]:
        """The pids of what serves both sides."""
        return {"broker": self.kafka.nodes[0].pid, "versitygw": self.s3.pid}

    def make_bucket(self, name: str) -> Path:
        """An empty bucket; its objects are the files of the folder."""
        bucket = self.s3.buckets / name
        bucket.mkdir()
        return bucket


@contextlib.asynccontextmanager
async def set_up(*, https: bool = False) -> AsyncIterator[Stage]:
    """Start everything. `https`: the store speaks nothing else. Raises SandboxFailed."""
    async with run_folder("bench", None) as folder:
        kafka = KafkaCluster(KafkaOptions(jvm=BENCHMARK_JVM), folder / "kafka")
        s3 = S3Server(S3Options(scheme="https" if https else "http"), folder / "s3")
        try:
            await together(kafka.start(), s3.start())
            async with Cluster(kafka.bootstrap_servers, KafkaSecurity(), client_id="bench") as cluster:
                yield Stage(folder, kafka, s3, cluster)
        finally:
            await asyncio.gather(kafka.kill(), s3.kill())
