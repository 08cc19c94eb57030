"""The table of documented calls (api.md §1): name, method, path, shapes. The routes and the OpenAPI document are both made from it, so
that neither can drift from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from smartconnect.api import schemas
from smartconnect.api.endpoints import Endpoints
from smartconnect.api.schemas_progress import Progress

INSTANCE = "/v2/{project_id}/instances/{instance_id}"
KAFKA_INSTANCE = "/v2/{project_id}/kafka/instances/{instance_id}"
TASKS = f"{INSTANCE}/connector/tasks"
TASK = f"{TASKS}/{{task_id}}"


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter of the document."""

    name: str
    schema: dict[str, Any]
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented call. `name` is the operationId, which is the SDK's name for it. `answer` None: 204 without a body."""

    name: str
    method: str
    path: str
    summary: str
    endpoint: Callable[..., Any]
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: tuple[Query, ...] = ()

    @property
    def success(self) -> int:
        return 204 if self.answer is None else 200


LIST_QUERY = (
    Query("offset", {"type": "integer", "minimum": 0, "maximum": 2_147_483_647, "default": 0}, "Records to skip."),
    Query("limit", {"type": "integer", "minimum": 1, "maximum": 50, "default": 10}, "Records of a page."),
)
PROGRESS_QUERY = (
    Query("offset", {"type": "integer", "minimum": 0, "maximum": 2_147_483_647, "default": 0}, "Partitions to skip."),
    Query("limit", {"type": "integer", "minimum": 0, "maximum": 5000, "default": 500}, "Partitions of a page."),
    Query("topic", {"type": "string"}, "Only partitions of this topic."),
)


def operations(call: Endpoints) -> tuple[Operation, ...]:
    """Every call that needs a signature or a token."""
    return (
        Operation("CreateConnectorTask", "POST", TASKS, "Create a task", call.create_task, schemas.Task, schemas.CreateTask),
        Operation("ListConnectorTasks", "GET", TASKS, "List tasks", call.list_tasks, schemas.TaskList, query=LIST_QUERY),
        Operation("ShowConnectorTask", "GET", TASK, "Show a task", call.show_task, schemas.Task),
        Operation("ModifyConnectorTask", "PUT", TASK, "Modify a task", call.modify_task, schemas.Task, schemas.ModifyTask),
        Operation("DeleteConnectorTask", "DELETE", TASK, "Delete a task", call.delete_task, None),
        Operation("PauseConnectorTask", "PUT", f"{TASK}/pause", "Pause a task", call.pause_task, None),
        Operation("ResumeConnectorTask", "PUT", f"{TASK}/resume", "Resume a paused task in its run", call.resume_task, None),
        Operation(
            "RestartConnectorTask",
            "PUT",
            f"{KAFKA_INSTANCE}/connector/tasks/{{task_id}}/restart",
            "Begin a new run, or start a task created with start_later",
            call.restart_task,
            None,
        ),
        Operation(
            "RestartSmartConnectorTask", "PUT", f"{TASK}/restart", "The same, as newer SDKs call it", call.restart_task, None
        ),
        Operation(
            "ValidateConnectorConnectivity",
            "POST",
            f"{INSTANCE}/connector/validate",
            "Check connections without creating a task",
            call.validate,
            schemas.Validated,
            schemas.Validate,
        ),
        Operation(
            "CreateConnector",
            "POST",
            f"{INSTANCE}/connector",
            "Enable Smart Connect",
            call.enable,
            schemas.Enabled,
            schemas.Enable,
            body_required=False,
        ),
        Operation(
            "DeleteConnector",
            "POST",
            f"{KAFKA_INSTANCE}/delete-connector",
            "Disable Smart Connect",
            call.disable,
            schemas.Disabled,
        ),
        Operation(
            "ShowConnectorResourceInfo",
            "GET",
            f"{INSTANCE}/connector",
            "Whether Smart Connect can be enabled",
            call.resource_info,
            schemas.ResourceInfo,
        ),
        Operation("ShowInstance", "GET", INSTANCE, "Show an instance", call.show_instance, schemas.Instance),
        Operation(
            "ShowConnectorTaskProgress",
            "GET",
            f"{TASK}/progress",
            "Show a task's progress",
            call.show_progress,
            Progress,
            query=PROGRESS_QUERY,
        ),
    )
