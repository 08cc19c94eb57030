"""A task as every interface shows it: defaults filled in, secrets left out (api.md §4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smartconnect.control.lookup import Found
from smartconnect.domain.task import Status


@dataclass(frozen=True, slots=True)
class ShownTask:
    """The documented fields, plus `options` when they were sent. `create_time`: epoch ms."""

    id: str
    name: str
    status: Status
    create_time: int
    topics: str | None
    topics_regex: str | None
    source_type: str
    sink_type: str
    source_task: Mapping[str, object]
    sink_task: Mapping[str, object]
    options: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of an instance's tasks, in order of create_time and id; `total` of all, `max_tasks` the quota."""

    tasks: Sequence[ShownTask]
    total: int
    max_tasks: int


def shown_task(found: Found) -> ShownTask:
    """What create, show, modify and list return of a task."""
    task, config = found.task, found.task.config
    source_task, sink_task = found.job.shown(config)
    return ShownTask(
        id=task.id,
        name=task.name,
        status=found.status,
        create_time=task.create_time,
        topics=config.topics,
        topics_regex=config.topics_regex,
        source_type=config.source_type,
        sink_type=config.sink_type,
        source_task=source_task,
        sink_task=sink_task,
        options=config.options,
    )
