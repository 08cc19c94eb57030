"""Stands between a server and the process that started it, so that the server cannot outlive that process.

Run as a script by `process.ServerProcess`, never imported: `guard.py FOLDER… -- COMMAND…`. Prints the server's pid, then waits.
When the starter is gone (end of its pipe on our standard input, or we got another parent: a pipe may have been inherited by
a child of the starter) the server is killed and the FOLDERs are removed, unless they hold a file KEEP. When this process is
killed itself, the kernel kills the server (PR_SET_PDEATHSIG; it hangs on the thread that forked, and here there is only one).
Standard library only and few imports: it starts in some 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
PARENT_CHECK_S = 1.0


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    folders, command = arguments[:split], arguments[split + 1 :]
    starter = os.getppid()
    child_ended = _wake_up_on_child()
    server = _start(command)
    os.write(1, b"%d\n" % server.pid)
    while server.poll() is None:
        readable, _, _ = select.select([0, child_ended], [], [], PARENT_CHECK_S)
        starter_gone = os.getppid() != starter or (0 in readable and not os.read(0, 1))
        if child_ended in readable:
            os.read(child_ended, 4096)
        if starter_gone:
            server.kill()
            server.wait()
            _remove(folders)
            return 0
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _wake_up_on_child() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reading


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    guard = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def die_with_guard() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, preexec_fn=die_with_guard)


def _remove(folders: list[str]) -> None:
    for folder in folders:
        if not os.path.exists(os.path.join(folder, "KEEP")):  # noqa: PTH110, PTH118 - pathlib would double the start time
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
