"""What a task is, and which status it shows. Pure data and pure rules; the registry stores it, control changes it,
the engine makes it true.

A task has a *desired state* (what the user asked for last) and a shown *status*. An action is judged by the desired state
plus "failed", never by the status shown, so that calls may follow each other without waiting (api.md §5).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

NO_TYPE = "NONE"


class Kind(enum.StrEnum):
    """The three kinds of task, by the name that progress and metrics use."""

    OBS_DUMP = "obs_dump"
    KAFKA_REPLICATION = "kafka_replication"
    REDIS_REPLICATION = "redis_replication"


class Desired(enum.StrEnum):
    """What the user asked for last. DELETED is a desired state too: the engine cleans up, then the rows go."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DELETED = "deleted"


class Status(enum.StrEnum):
    """What the API shows (api.md §5)."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something stands still: stable `code` of domain/errors.py, a sentence, since when (epoch ms), and the retries."""

    code: str
    message: str
    since: int
    attempts: int = 1
    next_try_at: int | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """The user's configuration as sent (strings verbatim, absent fields absent), without secrets.

    `source_task` and `sink_task` hold JSON values; each job turns the whole into its own typed specification.
    """

    topics: str | None = None
    topics_regex: str | None = None
    source_type: str = NO_TYPE
    sink_type: str = NO_TYPE
    source_task: Mapping[str, object] = field(default_factory=dict)
    sink_task: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the registry holds it.

    `run` is 0 before the first start. `revision` grows with each modification: units run with one revision and start again
    with the next. `pending_status` is what is shown until every planned unit has reported in this run (CREATING, WAITING for
    the first start of a start_later task, RESTARTING), and None once RUNNING was reached. Times: epoch ms.
    """

    id: str
    project_id: str
    instance_id: str
    name: str
    kind: Kind
    config: TaskConfig
    desired: Desired
    run: int
    revision: int
    create_time: int
    run_started_at: int | None = None
    pending_status: Status | None = None
    failure: Reason | None = None


def shown_status(task: Task, *, units_stopped: bool) -> Status:
    """The status of a task that is not deleted; `units_stopped`: no unit of it moves data any more."""
    match task.desired:
        case Desired.WAITING:
            return Status.WAITING
        case Desired.PAUSED:
            return Status.PAUSED if units_stopped else Status.RUNNING
        case _:
            if task.failure is not None:
                return Status.FAILED
            return task.pending_status or Status.RUNNING
