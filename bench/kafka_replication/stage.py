"""What all sides use: two brokers of the sandbox with the optimising JVM, a client of each, and how a peer reaches them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smartconnect.kafka.admin import delete_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.cache import run_folder
from smartconnect.sandbox.kafka import BENCHMARK_JVM, KafkaCluster, KafkaOptions
from smartconnect.sandbox.process import together

USER: Final = "bench"
MECHANISM: Final = "SCRAM-SHA-512"
_PROPERTIES: Final = {"file.delete.delay.ms": "1000"}
"""A topic that was deleted gives its disk back before the next is written."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`folder` is removed at the end. The clients `reads` (of the source) and `writes` (of the target) use plaintext listeners. `password`
    "": the sides use plaintext too."""

    folder: Path
    source: KafkaCluster
    target: KafkaCluster
    reads: Cluster
    writes: Cluster
    password: str = field(repr=False)

    @property
    def others(self) -> dict[str, int]:
        """The pids of what serves all sides."""
        return {"source broker": self.source.nodes[0].pid, "target broker": self.target.nodes[0].pid}

    def new_folder(self, name: str) -> Path:
        """A folder that does not exist yet."""
        number = 1
        while (self.folder / f"{name}-{number}").exists():
            number += 1
        return self.folder / f"{name}-{number}"

    async def forget(self, *, source: list[str], target: list[str]) -> None:
        """Delete topics: make room for the next."""
        if source:
            await delete_topics(self.reads, source)
        if target:
            await delete_topics(self.writes, target)


@contextlib.asynccontextmanager
async def set_up(*, secured: bool = False) -> AsyncIterator[Stage]:
    """Start everything. `secured`: the sides must use SASL_SSL. Raises SandboxFailed."""
    password = secrets.token_hex(12) if secured else ""
    options = KafkaOptions(jvm=BENCHMARK_JVM, properties=_PROPERTIES)
    if secured:
        options = KafkaOptions(jvm=BENCHMARK_JVM, properties=_PROPERTIES, security="SASL_SSL", scram_users={USER: password})
    async with run_folder("bench", None) as folder:
        source, target = KafkaCluster(options, folder / "source"), KafkaCluster(options, folder / "target")
        try:
            await together(source.start(), target.start())
            plain = KafkaSecurity()
            async with (
                Cluster(source.internal_servers, plain, client_id="bench") as reads,
                Cluster(target.internal_servers, plain, client_id="bench") as writes,
            ):
                yield Stage(folder, source, target, reads, writes, password)
        finally:
            await asyncio.gather(source.kill(), target.kill())
