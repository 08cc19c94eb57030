"""Threads for bulk work of a worker process: joining, decoding. They yield the processor to the event loop, and so to all other tasks of
the process, which would wait behind each batch of a full-speed task otherwise. Made once per process and job.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_THREADS: Final = 2
NICER_BY: Final = 10
"""Ten steps are a tenth of the share of a busy core (Linux, sched(7)); a core that nobody else wants is theirs as before."""


def bulk_threads(name: str) -> ThreadPoolExecutor:
    """`name` begins the names of the threads."""
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=name, initializer=_yield_to_others)


def _yield_to_others() -> None:
    """Linux counts niceness by thread."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)
