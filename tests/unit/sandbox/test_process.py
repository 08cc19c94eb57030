from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.pids import end, identify, is_running
from smartconnect.sandbox.process import Lifetime, ServerCommand, ServerProcess, together
from tests.support.waiting import eventually

SERVER = "import signal; print('I listen', flush=True); signal.pause()"
STARTER = """
import asyncio, sys
from pathlib import Path
from smartconnect.sandbox.process import ServerCommand, ServerProcess
async def ready(log): return "I listen" in log
async def main():
    folder = Path(sys.argv[1])
    command = ServerCommand("toy", (sys.executable, "-c", sys.argv[2]), folder, folder / "server.log", ready,
                            removed_after_crash=(folder,))
    server = ServerProcess(command)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def listens(log: str) -> bool:
    return "I listen" in log


def command(folder: Path, script: str = SERVER, deadline_s: float = 30.0) -> ServerCommand:
    return ServerCommand("toy", (sys.executable, "-c", script), folder, folder / "server.log", listens, deadline_s=deadline_s)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(command(tmp_path / "toy"))
    yield server
    await server.kill()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_killed_server_is_gone_and_starts_again(server: ServerProcess) -> None:
    await server.start()
    first = identify(server.pid)
    await server.kill()
    assert not is_running(first)
    assert not server.alive
    await server.start()
    assert server.pid != first.pid
    assert server.log_file.read_text() == "I listen\nI listen\n"


async def test_frozen_server_stands_still_until_thawed_and_can_be_stopped_frozen(server: ServerProcess) -> None:
    await server.start()
    pid = server.pid
    server.freeze()
    await eventually(lambda: state_of(pid) == "T")
    server.thaw()
    await eventually(lambda: state_of(pid) == "S")
    server.freeze()
    await server.stop(deadline_s=5)
    assert not Path(f"/proc/{pid}").exists()


async def test_server_that_ignores_sigterm_is_killed_after_the_deadline(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVER
    stubborn = ServerProcess(command(tmp_path, script))
    await stubborn.start()
    await stubborn.stop(deadline_s=0.2)
    assert not stubborn.alive


async def test_server_that_ends_while_it_starts_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = ServerProcess(command(tmp_path, "print('port is taken'); raise SystemExit(3)"))
    with pytest.raises(SandboxFailed, match=r"toy ended while it started(.|\n)*port is taken"):
        await broken.start()
    assert not broken.alive


async def test_server_that_never_gets_ready_is_ended_at_its_deadline(tmp_path: Path) -> None:
    slow = ServerProcess(command(tmp_path, "import signal; print('warming up', flush=True); signal.pause()", 0.5))
    with pytest.raises(SandboxFailed, match=r"did not get ready within(.|\n)*warming up"):
        await slow.start()
    assert not slow.alive


async def test_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = ServerCommand("toy", ("no-such-program",), tmp_path, tmp_path / "server.log", listens)
    with pytest.raises(SandboxFailed, match=r"toy cannot be run \(no-such-program\)"):
        await ServerProcess(missing).start()


async def test_cancelled_start_leaves_no_server(tmp_path: Path) -> None:
    server = ServerProcess(command(tmp_path, SERVER.replace("I listen", "not yet")))
    start = asyncio.create_task(server.start())
    await eventually(lambda: server.alive and "not yet" in (tmp_path / "server.log").read_text())
    pid = server.pid
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not Path(f"/proc/{pid}").exists()


async def test_failure_of_one_server_ends_the_others_that_start_with_it(tmp_path: Path) -> None:
    slow = ServerProcess(command(tmp_path / "slow", SERVER.replace("I listen", "not yet")))
    broken = ServerProcess(command(tmp_path / "broken", "raise SystemExit(3)"))
    with pytest.raises(SandboxFailed, match="ended while it started"):
        await together(slow.start(), broken.start())
    assert not slow.alive


@pytest.mark.parametrize("kept", [False, True])
async def test_server_dies_with_a_starter_that_is_killed(tmp_path: Path, kept: bool) -> None:
    folder = tmp_path / "toy"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder), SERVER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert starter.stdout is not None
    server = identify(int(await asyncio.to_thread(starter.stdout.readline)))
    os.kill(server.pid, signal.SIGSTOP)
    if kept:
        (folder / "KEEP").touch()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    await eventually(lambda: not is_running(server))
    await eventually(lambda: folder.exists() == kept)


async def test_server_dies_with_its_guard(server: ServerProcess) -> None:
    await server.start()
    identity = identify(server.pid)
    guard = int(Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    await eventually(lambda: not is_running(identity))


async def test_detached_server_outlives_its_starter_and_is_ended_by_its_identity(tmp_path: Path) -> None:
    server = ServerProcess(command(tmp_path), Lifetime.DETACHED)
    await server.start()
    identity = identify(server.pid)
    del server
    assert is_running(identity)
    await end(identity)
    assert not is_running(identity)
    await end(identity)


async def test_process_with_the_same_pid_and_another_start_is_not_touched(server: ServerProcess) -> None:
    await server.start()
    mine = identify(server.pid)
    other = type(mine)(mine.pid, mine.started - 1)
    assert not is_running(other)
    await end(other)
    assert is_running(mine)
