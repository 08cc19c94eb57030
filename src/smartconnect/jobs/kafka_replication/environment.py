"""What the replication units of one worker process share: the memory budget and the threads for decoding. Made once per process by
`KafkaReplicationJob.worker_resources`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.jobs.bulk_threads import bulk_threads
from smartconnect.jobs.kafka_replication.map_budget import MapBudget
from smartconnect.jobs.kafka_replication.steps import StepLog
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings


@dataclass(frozen=True, slots=True)
class Directory:
    """The settings as they are now: read again when the file changes."""

    find_instance: Callable[[str], InstanceSettings | None]
    kafka_replication: Callable[[], KafkaReplicationSettings]
    allowed_targets: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """One per worker process."""

    clock: Clock
    random: Random
    directory: Directory
    budget: MemoryBudget
    decoders: ThreadPoolExecutor
    steps: StepLog
    maps: MapBudget = field(default_factory=MapBudget, repr=False)


def make_worker_resources(directory: Directory, clock: Clock, random: Random, steps: StepLog) -> WorkerResources:
    """Sized by the `[kafka_replication]` settings of this moment."""
    return WorkerResources(
        clock=clock,
        random=random,
        directory=directory,
        budget=MemoryBudget(directory.kafka_replication().buffer_mb << 20),
        decoders=bulk_threads("decode"),
        steps=steps,
    )
