"""The table of api.md §5: what pause, resume, restart and delete do. Pure. An action is judged by the desired state plus "failed",
never by the status shown, so that calls may follow each other without waiting. Called by `tasks.TaskControl` and by a modification
that begins a new run.
"""

from __future__ import annotations

import enum
from typing import assert_never

from smartconnect.control import codes
from smartconnect.control.ports import TaskChange
from smartconnect.control.refusals import Refusal
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import Desired, Status, Task


class Action(enum.StrEnum):
    """By the name of its documented audit event."""

    PAUSE = "pauseConnector"
    RESUME = "resumeConnector"
    RESTART = "restartConnector"
    DELETE = "deleteConnectorTask"


FIRST_START = (Status.CREATING, Status.WAITING)


def decide(action: Action, task: Task, *, units_stopped: bool) -> TaskChange | None:
    """What the action changes; None: nothing to do. Raises `Refusal` for a pause or resume of a task that was never started."""
    match action:
        case Action.PAUSE:
            _require_started(task, codes.PAUSE_FAILED)
            return None if task.desired is Desired.PAUSED else TaskChange(desired=Desired.PAUSED)
        case Action.RESUME:
            _require_started(task, codes.RESUME_FAILED)
            return _resume(task, units_stopped=units_stopped)
        case Action.RESTART:
            return TaskChange(desired=Desired.RUNNING, new_run=True, pending_status=restart_status(task))
        case Action.DELETE:
            return TaskChange(desired=Desired.DELETED)
    assert_never(action)


def restart_status(task: Task) -> Status | None:
    """What shows until the new run's units have reported; None: what shows already. RESTARTING never shows on a first start, which a
    client waits for as CREATING or WAITING."""
    if task.desired is Desired.WAITING:
        return Status.WAITING
    first_start = task.desired is Desired.RUNNING and task.failure is None and task.pending_status in FIRST_START
    return None if first_start else Status.RESTARTING


def _resume(task: Task, *, units_stopped: bool) -> TaskChange | None:
    if task.desired is Desired.PAUSED:
        return TaskChange(desired=Desired.RUNNING, pending_status=Status.PAUSED if units_stopped else Status.RUNNING)
    if task.failure is not None:
        return TaskChange(desired=Desired.RUNNING, pending_status=Status.RUNNING)
    return None


def _require_started(task: Task, error: codes.ApiError) -> None:
    if task.desired is Desired.WAITING:
        reason = "the task was never started: start it by restart"
        raise Refusal(error, [Problem("", reason, ProblemKind.BETWEEN_FIELDS)])
