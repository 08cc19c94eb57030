"""The order of phases, and how far a task is when its units are in different ones (api.md §7). Pure; called by `progress_view`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from smartconnect.domain.progress import Progress

RANK = {
    "starting": 0,
    "connecting": 0,
    "waiting_snapshot": 1,
    "initial_copy": 2,
    "full_sync": 2,
    "dumping": 3,
    "replicating": 3,
    "streaming": 3,
    "applying": 3,
    "completed": 4,
}
BOUNDED = frozenset({"initial_copy", "full_sync"})


@dataclass(frozen=True, slots=True)
class Advance:
    """A task's phase, since when, and what is known of its end. None: not known, or the phase has no end."""

    phase: str | None = None
    phase_started_at: int | None = None
    percent: float | None = None
    eta_ms: int | None = None


def advance(units: Sequence[Progress | None]) -> Advance:
    """From the units' own views; None stands for a unit that has not reported in this run, which counts as starting."""
    if not units:
        return Advance()
    least = min(units, key=_rank)
    if least is None:
        return Advance(phase="starting")
    if least.phase not in BOUNDED:
        return Advance(phase=least.phase, phase_started_at=least.phase_started_at)
    return Advance(least.phase, least.phase_started_at, _percent(units, least), _eta_ms(units, least))


def _rank(unit: Progress | None) -> int:
    return -1 if unit is None else RANK.get(unit.phase, 0)


def _percent(units: Sequence[Progress | None], least: Progress) -> float | None:
    """The mean over all units, those that are further counting as done: with a fixed set of units it never falls, and it is 100 only
    when every unit's is."""
    shares = [_share(unit, least) for unit in units]
    if None in shares:
        return None
    mean = sum(share for share in shares if share is not None) / len(shares)
    return math.floor(mean * 10) / 10


def _share(unit: Progress | None, least: Progress) -> float | None:
    if _rank(unit) > _rank(least):
        return 100.0
    return unit.percent if unit is not None else None


def _eta_ms(units: Sequence[Progress | None], least: Progress) -> int | None:
    """When the last of the units in this phase is through; unknown if it is unknown of one."""
    etas = [unit.eta_ms for unit in units if unit is not None and _rank(unit) == _rank(least)]
    known = [eta for eta in etas if eta is not None]
    return max(known) if len(known) == len(etas) else None
