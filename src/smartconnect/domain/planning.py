"""Units and plans: pure functions from a task's configuration. A plan is the set of units of a task; plans are numbered 1, 2, 3…
and never reused; only a new number of units makes a new plan, whatever the run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UnitName:
    """`<prefix>-<plan>-<index>`: "dump-1-0", "push-2-1"."""

    prefix: str
    plan: int
    index: int

    def __str__(self) -> str:
        return f"{self.prefix}-{self.plan}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> UnitName:
        """The inverse of str(); ValueError for anything else."""
        prefix, plan, index = text.rsplit("-", 2)
        return cls(prefix, int(plan), int(index))


def transactional_id(task_id: str, unit: UnitName) -> str:
    """The one stable transactional.id of a unit: Kafka fences its older owners by it."""
    return f"smartconnect.{task_id}.{unit}"


def unit_index(topic_crc32c: int, partition: int, units: int) -> int:
    """Which of `units` units a partition belongs to, from the CRC32C of the topic's name. New topics and partitions move nobody."""
    return (topic_crc32c + partition) % units


@dataclass(frozen=True, slots=True)
class PlanLayout:
    """What a plan is made of: unit prefixes ("dump", or "pull" and "push"), and how many units each has."""

    prefixes: tuple[str, ...]
    units_each: int

    def unit_names(self, plan: int) -> tuple[UnitName, ...]:
        return tuple(UnitName(prefix, plan, index) for prefix in self.prefixes for index in range(self.units_each))


@dataclass(frozen=True, slots=True)
class Start:
    """A start offset resolved once per run by planning ("latest"), stored in the registry before any unit starts."""

    prefix: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning gives for one (task, run, revision): the first result stored counts."""

    layout: PlanLayout
    starts: Collection[Start] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def smallest_free_slot(taken: Collection[int]) -> int:
    """Slots are numbered from 0; a unit keeps its slot until it is retired."""
    occupied = set(taken)
    slot = 0
    while slot in occupied:
        slot += 1
    return slot
