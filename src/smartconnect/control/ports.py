"""What control needs of a registry, which implements it; uniqueness and quota are decided in the inserting transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from smartconnect.domain.progress import Event, PartitionProgress, Progress, UnitState
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Reason, Status, Task, TaskConfig


@dataclass(frozen=True, slots=True)
class ConnectorState:
    """Whether an instance has Smart Connect enabled; `connector_id` is made at enabling or first start."""

    enabled: bool
    connector_id: str
    node_count: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One call that changes something: `name` as documented (createConnectorTask …), outcome "Success" or "Failure"."""

    at: int
    name: str
    outcome: str
    access_key: str
    request_id: str
    instance_id: str
    task_id: str | None
    code: str | None
    details: str = ""


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit's last report, as progress shows it."""

    name: str
    state: UnitState
    owner: str
    epoch: int
    run: int
    reported_at: int
    progress: Progress | None
    reason: Reason | None
    throughput: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ProgressRows:
    """Everything the progress resource is made of. `units` are those of the current plan; `partitions` of the asked page.
    `earlier_counters`: what units of earlier plans had counted in this run, to be added to the task's (it never falls).
    `planning_failure`: why the plan of this (run, revision) is not there yet."""

    task: Task
    units_stopped: bool
    units: Sequence[StoredUnit]
    partitions: Sequence[tuple[str, PartitionProgress]]
    partitions_total: int
    events: Sequence[Event]
    earlier_counters: Mapping[str, int] = field(default_factory=dict)
    planning_failure: Reason | None = None


class NameTaken(Exception):
    """Another task of the instance has this name."""


class QuotaReached(Exception):
    """The instance has `max_tasks` tasks already."""


class NotEnabled(Exception):
    """Smart Connect was disabled meanwhile."""


class StaleTask(Exception):
    """The task changed between read and write: read again, decide again."""


@dataclass(frozen=True, slots=True)
class TaskChange:
    """What one action changes; None: as it is. A changed config, name or secret grows the revision, `new_run` the run; any change
    but a mere pause clears a failure (the reason stays in progress). `secrets` holds only those that changed, an empty one clears.
    `pending_status` RUNNING: nothing is pending any more (resume)."""

    name: str | None = None
    config: TaskConfig | None = None
    secrets: Mapping[str, Secret] | None = None
    desired: Desired | None = None
    new_run: bool = False
    pending_status: Status | None = None
    events: Sequence[Event] = ()


class TaskStore(Protocol):
    """All raise RegistryUnreachable when the registry does not answer. A deleted task is not found by anything here."""

    async def connector(self, instance_id: str, enabled_at_first: bool) -> ConnectorState: ...

    async def set_connector(self, instance_id: str, enabled: bool, node_count: int) -> ConnectorState | None:
        """None: it is in that state already (enable), or tasks exist (disable): the caller looked first, this decides races."""

    async def insert_task(
        self, task: Task, secrets: Mapping[str, Secret], *, max_tasks: int, waits_for: Sequence[str], events: Sequence[Event]
    ) -> None:
        """NameTaken, QuotaReached or NotEnabled, decided in the inserting transaction. `waits_for`: ids of deleted tasks that still
        clean up where this one writes."""

    async def find_task(self, instance_id: str, task_id: str) -> tuple[Task, bool] | None:
        """The task, and whether all its units have stopped."""

    async def list_tasks(self, instance_id: str, offset: int, limit: int) -> tuple[Sequence[tuple[Task, bool]], int]:
        """A page in order of create_time, id; and the total."""

    async def all_tasks(self, *, deleted: bool) -> Sequence[Task]:
        """Of every instance, for rules between tasks; deleted=True: only those that are deleted and still clean up."""

    async def update_task(self, task: Task, change: TaskChange) -> Task:
        """One transaction, WHERE revision, run and desired are still `task`'s, else StaleTask."""

    async def secrets(self, task_id: str) -> Mapping[str, Secret]: ...

    async def progress(self, task_id: str, *, offset: int, limit: int, topic: str | None) -> ProgressRows | None: ...

    async def add_audit(self, event: AuditEvent) -> None: ...

    async def add_events(self, task_id: str, events: Sequence[Event]) -> None: ...
