"""Letting go of what an incarnation holds, whole, also when the supervisor cancels it in the midst of that: a unit that is fenced and ends,
and of which the registry says just then that it belongs to somebody else, would else keep its memory and its connections for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def undisturbed(work: Coroutine[object, object, None]) -> None:
    """Await `work` to its end. A cancellation meanwhile is raised afterwards; what `work` raises comes first."""
    cancelled: asyncio.CancelledError | None = None
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
