"""Opening a task's sealed secrets before an action that needs them: one that cannot be opened (another key file, a damaged row) is the
reason of a refusal, not an internal error (api.md §5).
"""

from __future__ import annotations

from smartconnect.control.call import ControlParts
from smartconnect.control.codes import ApiError
from smartconnect.control.refusals import Refusal
from smartconnect.domain.errors import SecretUnreadable
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import Task


async def require_openable_secrets(parts: ControlParts, task: Task, refused: ApiError) -> None:
    """Return if the task's secrets can be opened, else raise a `Refusal` with `refused` and the reason."""
    try:
        await parts.store.secrets(task.id)
    except SecretUnreadable as error:
        raise Refusal(refused, [Problem("", str(error), ProblemKind.LIVE)]) from error
