"""Everything the API is given by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from smartconnect.api.access import AccessDirectory
from smartconnect.control.tasks import TaskControl
from smartconnect.domain.clock import Clock
from smartconnect.settings import InstanceSettings


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether registry and workers are usable; `problems` in sentences if not."""

    problems: Sequence[str] = ()

    @property
    def ready(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class ApiServices:
    """`instances` (by id) and `access` are asked at each call, so that settings read again are seen. `readiness` and `metrics`
    (Prometheus text) must answer fast; `new_request_id` gives 32 hexadecimal digits."""

    control: TaskControl
    instances: Callable[[], Mapping[str, InstanceSettings]]
    access: Callable[[], AccessDirectory]
    clock: Clock
    new_request_id: Callable[[], str]
    readiness: Callable[[], Awaitable[Readiness]]
    metrics: Callable[[], Awaitable[bytes]]
    version: str
