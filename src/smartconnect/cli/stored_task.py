"""What commands that work on the settings file and its registry (`verify`, `positions`, `keys`) begin with: the registry, and the task
that the user means.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from smartconnect.app import make_jobs, open_registry
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import SettingsInvalid, SmartConnectError
from smartconnect.domain.task import Task
from smartconnect.settings import Settings
from smartconnect.settings_load import load

if TYPE_CHECKING:
    from smartconnect.engine.job import Job
    from smartconnect.registry import Registry


class TaskUnknown(SmartConnectError):
    """No task, or more than one, is meant."""

    code = "task_unknown"


@contextlib.asynccontextmanager
async def opened(config: Path) -> AsyncIterator[tuple[Settings, Registry]]:
    """The settings, and the registry that they name."""
    settings = load(config)
    check_registry_exists(settings)
    registry = await open_registry(settings)
    try:
        yield settings, registry
    finally:
        await registry.close()


def check_registry_exists(settings: Settings) -> None:
    """Opening makes a new registry where there is none; a command that works on what is there must not."""
    from smartconnect.registry.dialect import sqlite_path

    url = settings.registry.url
    if not sqlite_path(url).exists():
        raise SettingsInvalid(
            f"registry.url: {url} does not exist; run the command where the service runs, or name its file by --config"
        )


async def stored_task(registry: Registry, wanted: str, instance: str) -> Task:
    """By id or name; `instance` (id, "" for any) tells tasks of one name apart. TaskUnknown."""
    found = [task for task in await registry.all_tasks(deleted=False) if wanted in (task.id, task.name)]
    found = [task for task in found if instance in ("", task.instance_id)]
    if not found:
        raise TaskUnknown(f"there is no task {wanted} in this registry; `smart-connect tasks list` shows all")
    if len(found) > 1:
        names = ", ".join(task.instance_id for task in found)
        raise TaskUnknown(f"several instances have a task {wanted} ({names}); say which with --instance")
    return found[0]


def job_of(task: Task, settings: Settings, clock: Clock) -> Job:
    """What knows about this kind of task."""
    job = make_jobs(lambda: settings, clock).get(task.kind)
    if job is None:
        raise TaskUnknown(f"task {task.name} is of a kind that this version does not have: {task.kind}")
    return job
