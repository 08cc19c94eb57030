"""Deleted tasks that still clean up where this one will write come first (obs-dump.md §10, kafka-replication.md §11, delete). Asked by the
units of every kind of task before they take over."""

from __future__ import annotations

from smartconnect.domain.errors import Retryable
from smartconnect.engine.unit import UnitLedger


async def wait_for_predecessors(ledger: UnitLedger, where: str) -> None:
    """Retryable while there are any: the supervisor comes back. `where` completes "has cleaned up …"."""
    names = await ledger.predecessors()
    if names:
        raise Retryable(f"waits until deleted task {', '.join(names)} has cleaned up {where}", code="waits_for_deletion")
