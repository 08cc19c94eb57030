"""A unit in the hands of a person: taken over like by any worker, a position moved, everything told to the registry under the new epoch, so
that a worker which takes the unit meanwhile wins and nothing of ours counts.
"""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from smartconnect.control.ports import AuditEvent
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import Fenced
from smartconnect.domain.planning import UnitName
from smartconnect.domain.positions import PositionChange, PositionMoved
from smartconnect.domain.progress import Event, Level, PartitionProgress, PartitionState, UnitState
from smartconnect.domain.task import Task

if TYPE_CHECKING:
    from smartconnect.engine.job import Job, PositionedJob
    from smartconnect.engine.unit import UnitContext
    from smartconnect.registry import Registry

_AUDIT: Final = "setConnectorPosition"
_PAGE: Final = 5000


@dataclass(frozen=True, slots=True)
class Hand:
    """Whose hand, on which task."""

    registry: Registry
    task: Task
    clock: Clock
    owner: str

    async def move(
        self, job: Job, positioned: PositionedJob, units_each: int, change: PositionChange, unit: UnitName
    ) -> PositionMoved:
        """Raises Fenced when somebody else took the unit meanwhile."""
        epoch = await self.registry.take_unit(self.task.id, unit, self.owner)
        moved = await positioned.move_position(await self._context(job, unit, units_each, epoch), change)
        forward = moved.before is not None and moved.after > moved.before
        code = "gap" if forward else "position_set"
        event = Event(self.clock.now_ms(), Level.WARNING, code, moved.in_words(change.where), str(unit))
        await self._report(unit, epoch, event, await self._partitions(unit, change, moved))
        await self.registry.add_audit(
            AuditEvent(
                at=self.clock.now_ms(),
                name=_AUDIT,
                outcome="Success",
                access_key="",
                request_id=uuid.uuid4().hex,
                instance_id=self.task.instance_id,
                task_id=self.task.id,
                code=None,
                details=f"{self.owner}: {event.message}",
            )
        )
        return moved

    async def _context(self, job: Job, unit: UnitName, units_each: int, epoch: int) -> UnitContext:
        from smartconnect.engine.ledger import Outbox, RegistryLedger
        from smartconnect.engine.unit import UnitContext

        outbox = Outbox(unit, self.clock)
        return UnitContext(
            task=self.task,
            unit=unit,
            units_each=units_each,
            epoch=epoch,
            incarnation=uuid.uuid4().hex,
            secrets=await self.registry.secrets(self.task.id),
            ledger=RegistryLedger(self.registry, self.task, unit, epoch=epoch, base={}, outbox=outbox),
            shared=job.worker_resources(),
        )

    async def _report(self, unit: UnitName, epoch: int, event: Event, partitions: Sequence[PartitionProgress] | None) -> None:
        from smartconnect.engine import rates
        from smartconnect.engine.ports import UnitReport

        report = UnitReport(
            task_id=self.task.id,
            unit=unit,
            epoch=epoch,
            run=self.task.run,
            revision=self.task.revision,
            state=UnitState.STOPPED,
            owner=self.owner,
            reported_at=self.clock.now_ms(),
            progress=None,
            reason=None,
            throughput=rates.stopped(),
            partitions=partitions,
            events=[event],
        )
        if await self.registry.report([report]):
            raise Fenced("the registry has given the unit to somebody else")

    async def _partitions(self, unit: UnitName, change: PositionChange, moved: PositionMoved) -> Sequence[PartitionProgress] | None:
        """The unit's partitions as last reported, with the moved one as it is now; None if it was never reported."""
        found: list[PartitionProgress] = []
        offset = 0
        while (rows := await self.registry.progress(self.task.id, offset=offset, limit=_PAGE, topic=None)) is not None:
            found += [row for name, row in rows.partitions if name == str(unit)]
            offset += _PAGE
            if offset >= rows.partitions_total:
                break
        here = (change.topic, change.partition)
        if all((row.topic, row.partition) != here for row in found):
            return None
        return [_moved_row(row, moved) if (row.topic, row.partition) == here else row for row in found]


def person() -> str:
    """Who moves positions, as owner of the unit and in the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{socket.gethostname()}/{user}"


def _moved_row(row: PartitionProgress, moved: PositionMoved) -> PartitionProgress:
    skipped = moved.before is not None and moved.after > moved.before
    return replace(
        row,
        state=PartitionState.IDLE,
        position=moved.after,
        end_offset=moved.log_end,
        lag_records=max(0, moved.log_end - moved.after),
        lag_ms=None,
        gaps=row.gaps + skipped,
        topic_id=moved.topic_id or row.topic_id,
        expected=None,
        reason=None,
    )
