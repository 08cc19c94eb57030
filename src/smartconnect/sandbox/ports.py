"""Free loopback ports for servers that must know their port before they start, and keep it when they start again.

The ports lie below the kernel's ephemeral range: a port of a server that is down for a moment (killed by a test) can then not
be taken by somebody's outgoing connection before the server is back.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed

_LOWEST = 15000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on and that this process has not given out before."""
    return [free_port() for _ in range(count)]


def free_port() -> int:
    """One port, as for `free_ports`."""
    highest = _first_ephemeral_port() - 1
    for _ in range(1000):
        port = _random.randint(_LOWEST, highest)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise SandboxFailed(f"No free port between {_LOWEST} and {highest} on 127.0.0.1; end some of the servers there.")


def _first_ephemeral_port() -> int:
    try:
        first = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768
    return first if first > _LOWEST + 1000 else 65536


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
