from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import boto3
import pytest
from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.pids import end
from smartconnect.sandbox.stack import Sandbox, SandboxState

UP = """
import asyncio, sys
from pathlib import Path
from smartconnect.sandbox.stack import Sandbox
asyncio.run(Sandbox(Path(sys.argv[1])).up())
"""


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(tmp_path / "sandbox")
    yield sandbox
    await sandbox.down()


async def up_in_another_process(sandbox: Sandbox) -> SandboxState:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", UP, str(sandbox.folder)]
    await asyncio.to_thread(subprocess.run, command, env=environment, check=True, timeout=110)
    state = sandbox.state()
    assert state is not None
    return state


def assert_answers(state: SandboxState) -> None:
    ids = set()
    for servers in (state.bootstrap_servers, state.peer_bootstrap_servers):
        found = AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=20)
        assert len(found.brokers) == 1
        ids.add(found.cluster_id)
    assert len(ids) == 2
    store = boto3.client(
        "s3",
        endpoint_url=state.s3_endpoint,
        region_name=state.s3_region,
        aws_access_key_id=state.s3_access_key,
        aws_secret_access_key=state.s3_secret_key,
    )
    assert store.list_buckets()["Buckets"] == []


@pytest.mark.timeout(240)
async def test_sandbox_outlives_the_process_that_started_it_and_is_up_once(sandbox: Sandbox) -> None:
    state = await up_in_another_process(sandbox)
    assert_answers(state)
    assert await sandbox.up() == state
    assert (sandbox.folder / "state.json").stat().st_mode & 0o077 == 0
    assert state.s3_secret_key not in repr(state)

    assert await sandbox.down() == state
    assert not state.is_running
    assert not sandbox.folder.exists()
    assert await sandbox.down() is None


@pytest.mark.timeout(240)
async def test_sandbox_that_lost_a_server_is_started_afresh(sandbox: Sandbox) -> None:
    first = await sandbox.up()
    await end(first.servers[-1].process)
    assert not first.is_running
    second = await sandbox.up()
    assert second.is_running
    assert not any(server in second.servers for server in first.servers)
    assert_answers(second)
