"""The audit trail: every call that changes something, or tries to, leaves one event with its outcome, caller, request id, task and code
(api.md §6). An event that cannot be written is logged; it does not turn a change that was made into an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from smartconnect.control.call import CallContext, ControlParts
from smartconnect.control.codes import INTERNAL
from smartconnect.control.ports import AuditEvent
from smartconnect.control.refusals import Refusal
from smartconnect.domain.errors import RegistryUnreachable
from smartconnect.telemetry.logs import get_logger


@dataclass(slots=True)
class Trail:
    """What the audited call fills in on its way."""

    task_id: str | None = None
    details: str = ""


@asynccontextmanager
async def audited(parts: ControlParts, call: CallContext, name: str, task_id: str | None = None) -> AsyncIterator[Trail]:
    """Run one call under the documented event name; whatever it raises is recorded and raised on."""
    trail = Trail(task_id=task_id)
    try:
        yield trail
    except Refusal as refusal:
        await _write(parts, call, name, trail, refusal.error.code)
        raise
    except Exception:
        await _write(parts, call, name, trail, INTERNAL.code)
        raise
    await _write(parts, call, name, trail, None)


async def _write(parts: ControlParts, call: CallContext, name: str, trail: Trail, code: str | None) -> None:
    event = AuditEvent(
        at=parts.clock.now_ms(),
        name=name,
        outcome="Success" if code is None else "Failure",
        access_key=call.caller.access_key,
        request_id=call.caller.request_id,
        instance_id=call.instance.id,
        task_id=trail.task_id,
        code=code,
        details=trail.details,
    )
    try:
        await parts.store.add_audit(event)
    except RegistryUnreachable as error:
        get_logger().error("audit event lost", audit=name, outcome=event.outcome, request=event.request_id, cause=str(error))
