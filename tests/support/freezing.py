"""Processes of a service, stopped where they are; used by stories of workers that wake late.

Guarantees that nobody is stopped while it holds the write lock of the registry: SQLite would keep everybody else out until it wakes or is
killed, so nobody could take over."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterable
from pathlib import Path

_LOCKED_WITHIN_S = 30.0


def freeze(pids: Iterable[int], registry: Path) -> None:
    """SIGSTOP of these processes, now; `registry` is their database file."""
    with contextlib.closing(sqlite3.connect(registry, timeout=_LOCKED_WITHIN_S, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        send_signal(pids, signal.SIGSTOP)
        database.execute("ROLLBACK")


def send_signal(pids: Iterable[int], number: signal.Signals) -> None:
    """To each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
