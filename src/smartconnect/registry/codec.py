"""How what the registry stores is written as text: tasks, reasons, progress. JSON with named fields, so that a process of the next
version can add a field and one of the last can ignore it. ASCII only: any text a user sends, lone surrogates and NUL included, fits
any database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import RowMapping

from smartconnect.domain.progress import Progress
from smartconnect.domain.task import Desired, Kind, Reason, Status, Task, TaskConfig


def to_text(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def reason_to_text(reason: Reason | None) -> str | None:
    return None if reason is None else to_text(asdict(reason))


def fields_of(kind: type[Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of a data class that `value` has: what another version added is ignored, what it lacks gets its default."""
    return {field.name: value[field.name] for field in fields(kind) if field.name in value}


def reason_from(value: Mapping[str, Any] | None) -> Reason | None:
    return None if value is None else Reason(**fields_of(Reason, value))


def reason_from_text(text: str | None) -> Reason | None:
    return None if text is None else reason_from(json.loads(text))


def config_to_text(config: TaskConfig) -> str:
    return to_text(asdict(config))


def config_from_text(text: str) -> TaskConfig:
    return TaskConfig(**fields_of(TaskConfig, json.loads(text)))


def task_to_row(task: Task) -> dict[str, object]:
    """The columns of `tasks` that a Task holds."""
    return {
        "id": task.id,
        "project_id": task.project_id,
        "instance_id": task.instance_id,
        "name": task.name,
        "live_name": None if task.desired is Desired.DELETED else task.name,
        "kind": task.kind.value,
        "config": config_to_text(task.config),
        "desired": task.desired.value,
        "run": task.run,
        "revision": task.revision,
        "create_time": task.create_time,
        "run_started_at": task.run_started_at,
        "pending_status": None if task.pending_status in (None, Status.RUNNING) else task.pending_status.value,
        "failure": reason_to_text(task.failure),
    }


def task_from_row(row: RowMapping) -> Task:
    pending = row["pending_status"]
    return Task(
        id=row["id"],
        project_id=row["project_id"],
        instance_id=row["instance_id"],
        name=row["name"],
        kind=Kind(row["kind"]),
        config=config_from_text(row["config"]),
        desired=Desired(row["desired"]),
        run=row["run"],
        revision=row["revision"],
        create_time=row["create_time"],
        run_started_at=row["run_started_at"],
        pending_status=None if pending is None else Status(pending),
        failure=reason_from_text(row["failure"]),
    )


_NOT_IN_SUMMARY = frozenset({"partitions", "partitions_version", "blocked_version"})


def progress_to_text(progress: Progress | None) -> str | None:
    """All but the partitions, which have a column of their own (`partitions.py`), and the versions, which only the reporter uses."""
    if progress is None:
        return None
    value = {field.name: getattr(progress, field.name) for field in fields(progress) if field.name not in _NOT_IN_SUMMARY}
    value["counters"] = dict(progress.counters)
    value["position"] = None if progress.position is None else dict(progress.position)
    value["reason"] = None if progress.reason is None else asdict(progress.reason)
    return to_text(value)


def progress_from_text(text: str | None) -> Progress | None:
    if text is None:
        return None
    value = fields_of(Progress, json.loads(text))
    value["reason"] = reason_from(value["reason"])
    return Progress(**value)


def counters_from_text(text: str | None) -> Mapping[str, int]:
    """Only the counters of a stored progress."""
    counters: Mapping[str, int] = {} if text is None else json.loads(text)["counters"]
    return counters
