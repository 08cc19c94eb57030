"""The process that the parent's children are forked from: it has imported what all of them need, so that one is there in some milliseconds
and shares its pages with the others. Run by `app.main`; `nursery` is its user.

It never runs a loop or a thread, so a fork takes nothing along that it should not. Between it and a child lies a process that ends at once:
Linux then gives the child to the parent, which sees its end like that of any child of its own (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from typing import Final, NamedTuple

MAX_REQUEST: Final = 64 * 1024


class Birth(NamedTuple):
    """Who a new child is: the arguments of its role, and its end of the link to the parent."""

    arguments: tuple[str, str]
    link: int


def fork_on_demand(fd: int) -> Birth | None:
    """Answer requests, each with the new child's pid, until the parent is gone: None. In a child: what was asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=fd) as parent:
        while True:
            request, fds, _, _ = socket.recv_fds(parent, MAX_REQUEST, 1)
            if not request:
                return None
            (link,) = fds
            pid = _fork_adopted()
            if pid == 0:
                role, options = json.loads(request)
                return Birth((role, options), link)
            os.close(link)
            parent.send(str(pid).encode())


def _fork_adopted() -> int:
    """Fork a child that is the parent's as soon as this returns: its pid, or 0 in it."""
    reads, writes = os.pipe()
    between = os.fork()
    if between:
        os.close(writes)
        os.waitpid(between, 0)
        with os.fdopen(reads) as told:
            return int(told.read())
    os.close(reads)
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(writes, str(pid).encode())
        os._exit(0)
    os.close(writes)
    return 0
