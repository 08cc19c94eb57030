"""What the replication units of one worker process share: the memory budget, the threads for decoding, and the partitions that rest
after a failure whose outcome is unknown. Made once per process by `KafkaReplicationJob.worker_resources`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.jobs.kafka_replication.map_budget import MapBudget
from smartconnect.jobs.kafka_replication.steps import StepLog
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.kafka.types import TopicPartition
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings


@dataclass(frozen=True, slots=True)
class Directory:
    """The settings as they are now: read again when the file changes."""

    find_instance: Callable[[str], InstanceSettings | None]
    kafka_replication: Callable[[], KafkaReplicationSettings]
    allowed_targets: Callable[[], Sequence[str]] = tuple


class RestingPartitions:
    """Partitions that made a whole unit begin again: each rests 30 s, then longer, so that it cannot hold the others
    (kafka-replication.md §6.4). Kept across the incarnations of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str, TopicPartition], tuple[float, float]] = {}

    def rest(self, task_id: str, unit: str, tp: TopicPartition) -> None:
        """From now on, twice as long as the last time; five minutes at most."""
        _, pause = self._until.get((task_id, unit, tp), (0.0, 15.0))
        pause = min(300.0, pause * 2)
        self._until[task_id, unit, tp] = (self._clock.monotonic() + pause, pause)

    def rests(self, task_id: str, unit: str, tp: TopicPartition) -> bool:
        until, _ = self._until.get((task_id, unit, tp), (0.0, 0.0))
        return self._clock.monotonic() < until

    def recovered(self, task_id: str, unit: str, tp: TopicPartition) -> None:
        self._until.pop((task_id, unit, tp), None)


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """One per worker process."""

    clock: Clock
    random: Random
    directory: Directory
    budget: MemoryBudget
    decoders: ThreadPoolExecutor
    steps: StepLog
    resting: RestingPartitions = field(repr=False)
    maps: MapBudget = field(default_factory=MapBudget, repr=False)


def make_worker_resources(directory: Directory, clock: Clock, random: Random, steps: StepLog) -> WorkerResources:
    """Sized by the `[kafka_replication]` settings of this moment."""
    return WorkerResources(
        clock=clock,
        random=random,
        directory=directory,
        budget=MemoryBudget(directory.kafka_replication().buffer_mb << 20),
        decoders=ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode"),
        steps=steps,
        resting=RestingPartitions(clock),
    )
