"""What should be done for a task, unit by unit: a pure function of what the registry says. The reconciler compares it with what runs
here. Who owns a slot does not matter here: every worker decides the same and does its own part.

A unit *moves* data; is *kept* alive while its task is PAUSED or FAILED; is *settled* when the registry believes that it runs though
its plan is past (its owner died): somebody takes it and says that it has stopped; is *cleaned* when its task is deleted. A unit that
is *held* goes on as it is, but nobody starts it.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Desired, Task
from smartconnect.engine.ports import PlanRow, UnitRow, WantedTask

SETTLED: Final = frozenset({UnitState.STOPPED, UnitState.FAILED, UnitState.UNASSIGNED})
"""States in which no incarnation moves data, as the registry believes."""

GIVE_UP_AFTER_MS: Final = 7 * 24 * 3600 * 1000


class Duty(enum.StrEnum):
    """What to do with a unit."""

    MOVE = "move"
    HOLD = "hold"
    KEEP = "keep"
    SETTLE = "settle"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Decision:
    """`duties`: units that are not named have none: what runs of them stops. `plan`: planning is needed: the plan
    was not confirmed for (run, revision), and whether its layout still fits is found by whoever stores the result.
    `finish`: every unit is gone, what belongs to the whole deleted task can go."""

    duties: Mapping[UnitName, Duty]
    plan: bool = False
    finish: bool = False


def decide(wanted: WantedTask, *, now_ms: int, keep_every_ms: int | None) -> Decision:
    """`keep_every_ms`: how often a resting unit's positions are committed again; None while that is not known."""
    task = wanted.task
    if task.desired is Desired.DELETED:
        left = [unit.name for unit in wanted.units if not unit.gone]
        if not left or expired(wanted, now_ms):
            return Decision({}, finish=True)
        return Decision(dict.fromkeys(left, Duty.CLEAN))
    if rests(task):
        return Decision(dict(_resting(wanted, now_ms, keep_every_ms)))
    if task.desired is Desired.RUNNING:
        return _running(wanted)
    return Decision({})


def _resting(wanted: WantedTask, now_ms: int, keep_every_ms: int | None) -> Iterator[tuple[UnitName, Duty]]:
    """A unit whose owner died before it had drained is kept at once: that also finishes what it had prepared."""
    for unit in wanted.units:
        if wanted.plan is not None and unit.name.plan == wanted.plan.plan:
            if unit.state not in SETTLED or _keep_is_due(wanted.task, unit, now_ms, keep_every_ms):
                yield unit.name, Duty.KEEP
        elif unit.state not in SETTLED:
            yield unit.name, Duty.SETTLE


def _keep_is_due(task: Task, unit: UnitRow, now_ms: int, keep_every_ms: int | None) -> bool:
    if keep_every_ms is None or unit.epoch == 0:
        return False
    return now_ms >= max(unit.kept_alive_at, 0) + keep_wait_ms(task, unit, keep_every_ms)


def rests(task: Task) -> bool:
    """Whether its units only have to be kept alive."""
    return task.desired is Desired.PAUSED or (task.desired is Desired.RUNNING and task.failure is not None)


def _running(wanted: WantedTask) -> Decision:
    plan = wanted.plan
    if plan is None:
        return Decision({}, plan=True)
    confirmed = (plan.run, plan.revision) == (wanted.task.run, wanted.task.revision)
    older = [unit for unit in wanted.units if unit.name.plan != plan.plan and unit.state not in SETTLED]
    duties: dict[UnitName, Duty] = {unit.name: Duty.SETTLE for unit in older}
    for unit in wanted.units:
        if unit.name.plan == plan.plan:
            duty = _duty_of_current(wanted.task, plan, confirmed=confirmed, old_ones_run=bool(older))
            if duty is not None:
                duties[unit.name] = duty
    return Decision(duties, plan=not confirmed)


def _duty_of_current(task: Task, plan: PlanRow, *, confirmed: bool, old_ones_run: bool) -> Duty | None:
    """A modification's planning may take a while: until then units go on with the revision that they have. A new run stops them."""
    if not confirmed:
        return Duty.HOLD if plan.run == task.run else None
    return Duty.HOLD if old_ones_run else Duty.MOVE


def keep_wait_ms(task: Task, unit: UnitRow, keep_every_ms: int) -> int:
    """How long after the last time: the units of all tasks spread over the last quarter of the interval."""
    share = zlib.crc32(f"{task.id}/{unit.name}".encode()) % 1000
    return keep_every_ms * 3 // 4 + keep_every_ms * share // 4000


def expired(wanted: WantedTask, now_ms: int) -> bool:
    """Whether cleaning up after this deleted task is given up."""
    return wanted.deleted_at is not None and now_ms - wanted.deleted_at >= GIVE_UP_AFTER_MS


def home_slot(task_id: str) -> int:
    """Whoever owns this slot does what belongs to the whole task (planning, the end of deleting): one worker, not all at once."""
    return zlib.crc32(task_id.encode())
