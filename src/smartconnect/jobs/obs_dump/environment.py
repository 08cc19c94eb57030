"""What the dump units of one worker process share: the memory budget, the places for uploads, the threads for joining, and the view of
each instance's topics. Made once per process by `ObsDumpJob.worker_resources`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.jobs.bulk_threads import bulk_threads
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.jobs.obs_dump.places import UploadPlaces
from smartconnect.jobs.obs_dump.steps import StepLog
from smartconnect.jobs.obs_dump.topic_watch import TopicWatch
from smartconnect.kernels import BLOCK_BYTES, FreeBlocks
from smartconnect.settings import InstanceSettings, ObsDumpSettings, ObsSettings

_FREE_BYTES = 48 << 20


@dataclass(frozen=True, slots=True)
class Directory:
    """The settings as they are now: read again when the file changes."""

    instance: Callable[[str], InstanceSettings]
    obs: Callable[[], ObsSettings]
    obs_dump: Callable[[], ObsDumpSettings]


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """One per worker process."""

    clock: Clock
    random: Random
    directory: Directory
    budget: MemoryBudget
    part_places: UploadPlaces
    control_places: UploadPlaces
    joiners: ThreadPoolExecutor
    blocks: FreeBlocks
    topics: TopicWatch
    steps: StepLog


def make_worker_resources(directory: Directory, clock: Clock, random: Random, steps: StepLog) -> WorkerResources:
    """Sized by the `[obs_dump]` settings of this moment."""
    settings = directory.obs_dump()
    return WorkerResources(
        clock=clock,
        random=random,
        directory=directory,
        budget=MemoryBudget(settings.memory_mb << 20),
        part_places=UploadPlaces(settings.parts_in_flight),
        control_places=UploadPlaces(settings.control_requests),
        joiners=bulk_threads("join"),
        blocks=FreeBlocks(_FREE_BYTES // BLOCK_BYTES),
        topics=TopicWatch(clock),
        steps=steps,
    )
