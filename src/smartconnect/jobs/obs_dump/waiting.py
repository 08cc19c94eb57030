"""Deleted tasks that still clean up where this one will write come first (obs-dump.md §10, delete)."""

from __future__ import annotations

from smartconnect.domain.errors import Retryable
from smartconnect.jobs.obs_dump.incarnation import Incarnation


async def wait_for_predecessors(inc: Incarnation) -> None:
    """Retryable while there are any: the supervisor comes back."""
    names = await inc.context.ledger.predecessors()
    if names:
        raise Retryable(
            f"waits until deleted task {', '.join(names)} has cleaned up under the same path", code="waits_for_deletion"
        )
