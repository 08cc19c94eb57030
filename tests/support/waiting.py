"""The one way tests wait: for a condition, with a deadline, and with the last state in the message when it passes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

_LONGEST_PAUSE_S = 0.25


async def eventually(
    condition: Callable[[], Any],
    deadline_s: float = 60.0,
    *,
    what: str | None = None,
    poll_s: float = 0.02,
) -> Any:
    """Ask `condition` (plain or async) until it gives something true, and return that.

    An AssertionError inside the condition counts as "not yet". After `deadline_s` an AssertionError tells `what` was waited for
    and the last state: the last value, or the last AssertionError. Pauses grow from `poll_s` to 0.25 s.
    """
    started = time.monotonic()
    state = "it was never asked"
    pause = poll_s
    while True:
        try:
            answer = condition()
            value = await answer if inspect.isawaitable(answer) else answer
        except AssertionError as error:
            state = f"the last assertion was: {error}"
        else:
            if value:
                return value
            state = f"the last state was: {value!r}"
        if time.monotonic() - started > deadline_s:
            waited_for = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"waited {deadline_s:g} s in vain for {waited_for}; {state}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
