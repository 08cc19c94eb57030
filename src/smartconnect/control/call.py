"""Who calls and what control needs from outside: the caller for the audit trail, and the parts that the composition root injects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from smartconnect.control.policy import ControlPolicy
from smartconnect.control.ports import TaskStore
from smartconnect.domain.clock import Clock
from smartconnect.domain.task import Kind
from smartconnect.engine.job import Job
from smartconnect.settings import InstanceSettings

BodyReader = Callable[[], Mapping[str, object]]
"""Gives the request's JSON object, or refuses it, when its turn in the order of checks has come (api.md §2)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`access_key` names the caller in the audit trail: an access key, or a name for a token; never a secret."""

    access_key: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call on one instance."""

    caller: Caller
    instance: InstanceSettings


@dataclass(frozen=True, slots=True)
class ControlParts:
    """What TaskControl works with. `policy` is asked at each call, so that settings read again are seen;
    `new_id`: a fresh UUID; `nudge` tells reconcilers that something changed, and may be lost. `placing` is held from the last look at
    other tasks to the write, so that two calls of this process cannot place two tasks on one target."""

    store: TaskStore
    jobs: Mapping[Kind, Job]
    policy: Callable[[], ControlPolicy]
    clock: Clock
    new_id: Callable[[], str]
    nudge: Callable[[], None]
    placing: asyncio.Lock = field(default_factory=asyncio.Lock)
