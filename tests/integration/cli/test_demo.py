"""`demo`: Ctrl-C before anything flows stops and removes everything. (The whole story is `make demo ARGS=--once`.)"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from smartconnect.sandbox.cache import KEEP_VARIABLE, cache_folder
from tests.support.waiting import eventually


async def test_ctrl_c_leaves_nothing_behind() -> None:
    before = set((cache_folder() / "run").glob("demo-*"))
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "smartconnect.cli", "demo", "--once",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != KEEP_VARIABLE},
    )  # fmt: skip
    assert demo.stdout is not None
    try:
        async with asyncio.timeout(100):
            while b"Kafka" not in await demo.stdout.readline():
                continue
            while b"Kafka" not in await demo.stdout.readline():
                continue
        folders = set((cache_folder() / "run").glob("demo-*")) - before
        assert len(folders) == 1
        demo.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(demo.communicate(), 60)
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert demo.returncode == 130, output
    assert "Stopped; everything was removed." in output.decode()
    await eventually(lambda: not any(folder.exists() for folder in folders), 10, what="the demo's folder is gone")
