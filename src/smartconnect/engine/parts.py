"""What every part of a worker's engine is given: registry, jobs, clock, ids, meters. Made once by the worker; a data class, so that
nobody reaches for globals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from smartconnect.domain.clock import Clock
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind
from smartconnect.engine.job import Job
from smartconnect.engine.ports import EngineRegistry
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.redaction import Redactor


@dataclass(slots=True)
class EngineParts:
    """`backoff(attempt)`: seconds to wait after the attempt-th failure in a row. `nudge`: every reconciler of this machine looks at
    once, ours and those of the other workers."""

    registry: EngineRegistry
    jobs: Mapping[Kind, Job]
    owner: str
    clock: Clock
    backoff: Callable[[int], float]
    new_id: Callable[[], str]
    meters: Meters
    redactor: Redactor
    drain_grace_s: float = 5.0
    nudge: Callable[[], None] = lambda: None
    _shared: dict[Kind, object] = field(default_factory=dict)

    def shared(self, kind: Kind) -> object:
        """The kind's budgets and pools, made when its first unit starts in this process."""
        if kind not in self._shared:
            self._shared[kind] = self.jobs[kind].worker_resources()
        return self._shared[kind]

    async def secrets(self, task_id: str) -> Mapping[str, Secret]:
        """A task's opened secrets; from now on they cannot appear in this process's log."""
        secrets = await self.registry.secrets(task_id)
        self.redactor.register(secrets.values())
        return secrets
