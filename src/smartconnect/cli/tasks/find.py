"""From what the user typed, an id or a name, to one task of one instance."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from smartconnect.cli.client import ApiClient, ApiRefused, instance_path
from smartconnect.cli.tasks.target import Place, Target
from smartconnect.domain.errors import SmartConnectError

_PAGE: Final = 50


class NoSuchTask(SmartConnectError):
    """No task, or more than one, is meant; the sentence says which."""

    code = "no_such_task"


@dataclass(frozen=True, slots=True)
class Found:
    """A task as the API shows it, and where."""

    place: Place
    task: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"{instance_path(self.place.project_id, self.place.instance_id)}/connector/tasks/{self.task['id']}"

    @property
    def restart_path(self) -> str:
        """Restart alone is under /kafka/ in the documented API."""
        return self.path.replace("/instances/", "/kafka/instances/", 1) + "/restart"


async def all_tasks(client: ApiClient, target: Target) -> AsyncIterator[Found]:
    """Every task of the instances in question."""
    for place in target.places:
        offset = 0
        while True:
            path = f"{instance_path(place.project_id, place.instance_id)}/connector/tasks?limit={_PAGE}&offset={offset}"
            page = await client.call("GET", path)
            for task in page["tasks"]:
                yield Found(place, task)
            offset += _PAGE
            if offset >= page["total_number"]:
                break


async def find_task(client: ApiClient, target: Target, wanted: str) -> Found:
    """By id, else by name. NoSuchTask if there is none, or if two instances have the name."""
    if _is_id(wanted):
        return await _by_id(client, target, wanted)
    found = [item async for item in all_tasks(client, target) if item.task["task_name"] == wanted]
    if not found:
        raise NoSuchTask(f"there is no task {wanted}; `smart-connect tasks list` shows all")
    if len(found) > 1:
        names = ", ".join(item.place.instance_id for item in found)
        raise NoSuchTask(f"several instances have a task {wanted} ({names}); say which with --instance")
    return found[0]


async def _by_id(client: ApiClient, target: Target, task_id: str) -> Found:
    for place in target.places:
        path = f"{instance_path(place.project_id, place.instance_id)}/connector/tasks/{task_id}"
        try:
            return Found(place, await client.call("GET", path))
        except ApiRefused as refused:
            if refused.status != 404:
                raise
    raise NoSuchTask(f"there is no task with the id {task_id}; `smart-connect tasks list` shows all")


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
