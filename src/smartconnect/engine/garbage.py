"""How a process of ours looks for garbage: rarely, and not among what it was started with. A full look through all that is imported takes
50 ms and more, in which an API answers nobody and a worker moves nothing. Called by workers and the API once they are set up."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 20)
"""Objects of the data path live for milliseconds, many thousand at once, and never in cycles: Python's own thresholds look for garbage all
the time and find none."""


def collect_rarely() -> None:
    """What exists now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
