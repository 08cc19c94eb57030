"""Bulk work yields to the event loop."""

from __future__ import annotations

import os
import threading

from smartconnect.jobs.bulk_threads import NICER_BY, bulk_threads


def niceness() -> int:
    """Of the thread that asks."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_threads_for_bulk_work_are_nicer_than_the_loop_whatever_they_are_started_by() -> None:
    before = niceness()
    with bulk_threads("bulk") as threads:
        assert [threads.submit(niceness).result() for _ in range(4)] == [before + NICER_BY] * 4
    assert niceness() == before
