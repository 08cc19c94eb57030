"""Bulk work yields to the event loop."""

from __future__ import annotations

import os
import threading

from smartconnect.jobs.bulk_threads import NICER_BY, bulk_threads


def niceness() -> int:
    """Of the thread that asks."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_every_thread_for_bulk_work_is_nicer_than_whoever_made_it() -> None:
    before, both_run = niceness(), threading.Barrier(2)

    def measured() -> int:
        both_run.wait(10)
        return niceness()

    with bulk_threads("bulk") as threads:
        found = [threads.submit(measured) for _ in range(2)]
        assert [one.result() for one in found] == [min(before + NICER_BY, 19)] * 2
    assert niceness() == before
