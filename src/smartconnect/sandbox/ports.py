"""Free loopback ports for servers that must know their port before they start, and keep it when they start again.

A port is reserved until this process ends: no other process that asks here is given it, though nobody listens on it
yet, or for a moment (its server was killed by a test). The ports lie below the kernel's ephemeral range, so that they cannot be taken
by somebody's outgoing connection meanwhile either.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed

_LOWEST = 15000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_reserved: dict[int, socket.socket] = {}
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on and that no living process was given."""
    return [free_port() for _ in range(count)]


def free_port() -> int:
    """One port, as for `free_ports`."""
    highest = _first_ephemeral_port() - 1
    for _ in range(1000):
        port = _random.randint(_LOWEST, highest)
        if port not in _reserved and _is_free(port) and _reserve(port):
            return port
    raise SandboxFailed(f"No free port between {_LOWEST} and {highest} on 127.0.0.1; end some of the servers there.")


def _reserve(port: int) -> bool:
    """An abstract Unix socket's name belongs to one process, in the same namespace as the ports, and goes when that process does."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0smart-connect-port-{port}")
    except OSError:
        claim.close()
        return False
    _reserved[port] = claim
    return True


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
