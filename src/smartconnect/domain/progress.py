"""What units report and what progress shows (api.md §7). Times are epoch ms; None means "not known", never 0."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from smartconnect.domain.task import Reason


class Level(enum.StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling the user once; the newest 50 of a task are shown."""

    at: int
    level: Level
    code: str
    message: str
    unit: str | None = None


class UnitState(enum.StrEnum):
    """A unit's life as progress shows it."""

    UNASSIGNED = "unassigned"
    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class PartitionState(enum.StrEnum):
    MOVING = "moving"
    IDLE = "idle"
    BLOCKED = "blocked"
    UNASSIGNED = "unassigned"


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One topic-partition of a unit. `position`: next source offset, durable on the target. Kept for the next owner, not shown: `topic_id`,
    `initial_end` (source end seen when the run began), `expected` (the position that the target must hold at least, None: `position`),
    `gap` (what was told of the newest gap), `marked` (what is committed for it says who wrote it)."""

    topic: str
    partition: int
    target: str
    state: PartitionState
    start_offset: int | None
    position: int | None
    end_offset: int | None
    lag_records: int | None
    lag_ms: int | None
    direction: str | None = None
    target_position: int | None = None
    records_per_s: float | None = None
    bytes_per_s: float | None = None
    held_by_open_transaction: int | None = None
    gaps: int = 0
    topic_id: str = ""
    initial_end: int | None = None
    expected: int | None = None
    gap: str = ""
    marked: bool = False
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A unit's own view of itself; cheap to make, no I/O. `counters` are of the run, kept across owners.

    `partitions` is what progress pages through; `partitions_version` changes whenever a report of them is worth storing
    (5,000 idle partitions must not be written again). `blocked_version` changes when a partition became blocked or free.
    """

    phase: str
    phase_started_at: int
    percent: float | None
    eta_ms: int | None
    counters: Mapping[str, int]
    lag_records: int | None
    lag_ms: int | None
    partitions: Sequence[PartitionProgress] = field(default=())
    partitions_version: int = 0
    blocked_version: int = 0
    direction: str | None = None
    position: Mapping[str, object] | None = None
    lag_bytes: int | None = None
    reason: Reason | None = None
