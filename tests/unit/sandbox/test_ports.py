from __future__ import annotations

import socket
from pathlib import Path

from smartconnect.sandbox.ports import free_ports


def test_ports_are_different_free_and_below_the_ephemeral_range() -> None:
    ports = free_ports(50)
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(ports)) == 50
    assert max(ports) < lowest_ephemeral
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass
