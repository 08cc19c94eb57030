"""What the service needs to know about one kind of task: everything specific to it stands behind one `Job` object, listed in
`jobs/__init__.py` and built by `app.py`. Control asks it to validate and check; the engine asks it to plan, run and clean up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.domain.verification import Finding, VerifyRequest, VerifyResult, VerifySubject
from smartconnect.engine.unit import UnitContext, UnitRunner


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request whose fields were read: the configuration to store, the secrets to seal (by "sink_task.secret_key"), what is wrong
    with single fields and between fields, and which unknown fields were ignored."""

    config: TaskConfig
    secrets: Mapping[str, Secret]
    problems: Sequence[Problem]
    ignored: Sequence[str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration completed by what is decided once and stored, and what could not be decided although something needs it."""

    config: TaskConfig
    problems: Sequence[Problem] = ()


class Job(Protocol):
    """One kind of task."""

    kind: Kind

    # -- control -----------------------------------------------------------------------------------------------------------
    def parse(self, instance_id: str, body: Mapping[str, object], *, partial: bool = False) -> ParsedRequest:
        """Read the kind's fields of a create request (or of a merged modify request) for a task of this instance; never raises for bad
        input. `partial`: what a live check does not need may be missing (validate)."""

    def shown(self, config: TaskConfig) -> tuple[Mapping[str, object], Mapping[str, object]]:
        """(source_task, sink_task) as the API returns them: every field of its table, defaults filled in, never a secret."""

    def conflicts(self, task: Task, others: Sequence[Task]) -> Sequence[Problem]:
        """What cannot be beside the other tasks (same target, same topics)."""

    def meaningless_positions(self, old: TaskConfig, new: TaskConfig) -> Sequence[Problem]:
        """Fields whose change would make stored positions meaningless: refused unless a new run begins with it."""

    def missing(self, config: TaskConfig) -> Sequence[Problem]:
        """What the configuration names and the settings do not have any more: units could not run with it. No I/O."""

    async def check(self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret]) -> Sequence[Problem]:
        """Live checks within the caller's deadline; warnings come as problems with `warning` set. Leaves nothing behind."""

    async def resolve(
        self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None
    ) -> Resolved:
        """Decide what is decided once, for good, before a configuration is stored: show returns it, and what changes later in the settings
        or the clusters (an instance's name, the number of brokers) does not change it. Called after the live checks of a create, and
        of a modification that changes the configuration (`earlier`: the one before). What a silent cluster would have to tell stays
        open unless something needs it; answers within some seconds, checked or not, and raises nothing for what a cluster does."""

    # -- engine ------------------------------------------------------------------------------------------------------------
    def layout(self, config: TaskConfig) -> PlanLayout:
        """The units that this configuration wants; another layout than the stored plan's makes a new plan."""

    async def plan(self, task: Task, secrets: Mapping[str, Secret], known: Collection[Start], facts: Mapping[str, str]) -> Planned:
        """Resolve what is decided once per (run, revision), e.g. the offsets of "latest". `known`: starts that this run has already;
        `facts`: what the run's last plan noted, empty for its first."""

    def worker_resources(self) -> object:
        """Made once in each worker process: budgets and pools that its units share."""

    def runner(self, context: UnitContext) -> UnitRunner:
        """A new incarnation that moves data."""

    def drain_timeout_s(self, config: TaskConfig) -> float:
        """How long a unit of this task may drain after its stop signal; the engine cancels it some seconds later."""

    async def keep_alive_interval_s(self, task: Task) -> float:
        """How often `keep_alive` has to run for each unit of this task while it is PAUSED or FAILED."""

    async def keep_alive(self, context: UnitContext) -> None:
        """Take over, finish what is promised, commit the positions again so that brokers do not forget them, stop."""

    async def clean_unit(self, context: UnitContext) -> None:
        """The unit's part of deleting: fence, finish what was promised, abort what was not. Repeatable."""

    async def clean_task(self, task: Task, secrets: Mapping[str, Secret], units: Sequence[UnitName]) -> None:
        """What belongs to the whole task (groups of all runs). Called after every unit's part, repeatable."""


@runtime_checkable
class VerifiableJob(Protocol):
    """A kind of task whose target can be held against its source, beside the running task and without touching either."""

    def verify(self, subject: VerifySubject, request: VerifyRequest, result: VerifyResult) -> AsyncGenerator[Finding, None]:
        """Everything found, as it is found; `result` counts what was looked at. Bounded memory."""


@runtime_checkable
class PositionedJob(Protocol):
    """A kind of task that keeps a position for each partition, which can be shown and moved by hand."""

    def directions(self, config: TaskConfig) -> Sequence[str]:
        """Those of the task; a partition is told by its direction too where there are several. Empty where the kind has none."""

    async def positions(self, task: Task, secrets: Mapping[str, Secret]) -> Sequence[PositionRow]:
        """Reads only; the task may run."""

    def unit_of(self, plan: int, units_each: int, change: PositionChange) -> UnitName:
        """Who owns the partition in this plan."""

    async def move_position(self, context: UnitContext, change: PositionChange) -> PositionMoved:
        """A short incarnation: take over, finish what was promised, commit the new position, stop. The task is paused."""
