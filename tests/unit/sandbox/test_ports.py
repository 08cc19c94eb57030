from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from smartconnect.sandbox.ports import free_ports

ASK_FOR = """
import sys
from smartconnect.sandbox import ports
wanted = [int(argument) for argument in sys.argv[1:]]
ports._random.randint = lambda _lowest, _highest: wanted.pop(0)
print(ports.free_port())
"""


def test_ports_are_different_free_and_below_the_ephemeral_range() -> None:
    ports = free_ports(50)
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(ports)) == 50
    assert max(ports) < lowest_ephemeral
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_that_a_living_process_was_given_is_given_to_no_other_though_nobody_listens_there() -> None:
    ours = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = ours[1] + 1 if ours[1] + 1 not in ours else ours[1] + 2
        asked = [str(port) for port in (*ours, listening.getsockname()[1], theirs)]
        given = subprocess.run([sys.executable, "-c", ASK_FOR, *asked], capture_output=True, text=True, check=True).stdout
    assert int(given) == theirs
