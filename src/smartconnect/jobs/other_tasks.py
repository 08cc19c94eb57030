"""How a task's problem names another task. Called by the rules between tasks of each job."""

from __future__ import annotations

from smartconnect.domain.task import Task


def named(other: Task, task: Task) -> str:
    """Tasks of another project are not named: their names are not this caller's business."""
    if other.project_id != task.project_id:
        return "a task of another project"
    return f"task {other.name}" if other.instance_id == task.instance_id else f"task {other.name} of another instance"
