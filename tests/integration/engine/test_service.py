"""The whole service as processes: memory, settings read again, processes that cannot start, and the command line that starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from smartconnect.domain.task import Status
from smartconnect.engine import launch
from smartconnect.registry import Registry
from smartconnect.sandbox.ports import free_port
from tests.integration.engine.conftest import StartService
from tests.support.toy_service import ToyService, ToyTask, alive, proportional_mib, resident_mib
from tests.support.waiting import eventually

UNITS = {"toy-1-0", "toy-1-1"}


async def _running(service: ToyService) -> ToyTask:
    task = await service.create()
    await task.shows(Status.RUNNING)
    await task.beats_again(0, UNITS)
    return task


async def test_processes_without_jobs_stay_lean(start_service: StartService) -> None:
    async with start_service(front=launch.API) as service:
        workers = [service.pid_of("worker-0"), service.pid_of("worker-1")]
        assert resident_mib(service.parent.pid) <= 25
        for pid in workers:
            assert proportional_mib(pid) <= 60
        everything = [service.parent.pid, service.pid_of("api"), *workers]
        assert sum(proportional_mib(pid) for pid in everything) <= 250


async def test_api_process_answers_and_its_death_stops_no_unit(start_service: StartService) -> None:
    async with start_service(front=launch.API) as service:
        task = await _running(service)
        starts = len(task.traces("started"))
        status, text = await service.get("/metrics")
        assert status == 200
        assert 'process="worker-1"' in text
        os.kill(service.pid_of("api"), signal.SIGKILL)
        await eventually(lambda: service.starts_of("api") == 2, what="the API is started again")
        await task.beats_again(time.monotonic(), UNITS)
        await service.ready()
        assert len(task.traces("started")) == starts


async def test_only_units_whose_connection_changed_begin_again_and_a_bad_file_changes_nothing(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        file = service.folder / "smart-connect.toml"
        good = file.read_text()
        file.write_text(good + '[[redis_instances]]\nid = "r"\nredis_address = "h:1"\n')
        await eventually(lambda: _hashes(service) == 6, what="all three processes use the new settings")
        file.write_text(good + "[nonsense]\n")
        await eventually(
            lambda: _count(service, "the settings file is bad; what was read before stays in use") == 3, what="it is reported"
        )
        assert len(task.traces("started")) == 2
        changed_at = time.monotonic()
        file.write_text(good.replace("127.0.0.1:1", "127.0.0.1:2"))
        await task.beats_again(changed_at + 1.5, UNITS)
        await eventually(lambda: len(task.traces("started")) == 4, what="its units began again")
        assert {(t.cause, t.revision) for t in task.traces("stopped")} == {("modify", 1)}


async def test_worker_that_cannot_start_is_tried_with_growing_waits_while_others_do_its_work(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        file = service.folder / "smart-connect.toml"
        good = file.read_text()
        file.write_text("[nonsense]\n")
        killed_at = time.monotonic()
        os.kill(service.pid_of("worker-0"), signal.SIGKILL)
        await eventually(lambda: len(_waits(service)) >= 4, 60, what="four deaths in a row")
        assert _waits(service)[:4] == [0.0, 0.5, 1.0, 2.0] or _waits(service)[:4] == [0.0, 0.0, 0.5, 1.0]
        await task.beats_again(killed_at + 0.2, UNITS)
        told = [line for line in service.log if line["event"] == "process cannot go on"]
        assert "nonsense: there is no such key" in told[0]["error"]
        file.write_text(good)
        await eventually(lambda: _count(service, "slots handed out", child="worker-0") >= 2, 40, what="the worker is back")


async def test_many_workers_hold_all_buckets_between_them(start_service: StartService) -> None:
    async with start_service(workers=4) as service:
        task = await service.create(units=8)
        await task.shows(Status.RUNNING)
        owners = {unit.owner for unit in (await task.units()).values()}
        assert {owner.rpartition("/")[2] for owner in owners} == {"worker-0", "worker-1", "worker-2", "worker-3"}


def _cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve())}
    command = [sys.executable, "-m", "smartconnect.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_version_is_printed_for_people_and_for_programs(tmp_path: Path) -> None:
    assert _cli(tmp_path, "version").stdout.startswith("smart-connect ")
    assert set(json.loads(_cli(tmp_path, "version", "--json").stdout)) == {"smartconnect", "python"}


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_bad_start_is_one_clear_line_on_stderr(tmp_path: Path, command: str) -> None:
    missing = _cli(tmp_path, command)
    assert (missing.returncode, missing.stderr) == (
        78,
        "smart-connect: smart-connect.toml: there is no such file; name it with --config\n",
    )
    (tmp_path / "smart-connect.toml").write_text(f'[api]\nauth = "none"\nlisten = "127.0.0.1:{free_port()}"\n[api2]\n')
    wrong = _cli(tmp_path, command)
    assert wrong.returncode == 78
    assert wrong.stderr == "smart-connect: smart-connect.toml: api2: there is no such key\n"


def test_taken_address_is_found_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "smart-connect.toml").write_text(f'[api]\nauth = "none"\nlisten = "127.0.0.1:{port}"\n')
        done = _cli(tmp_path, "serve")
    assert done.returncode == 78
    assert done.stderr.startswith(f"smart-connect: api.listen: cannot listen on 127.0.0.1:{port}")
    assert len(done.stderr.splitlines()) == 1


async def test_keys_are_rotated(tmp_path: Path) -> None:
    (tmp_path / "smart-connect.toml").write_text('[api]\nauth = "none"\n')
    await _make_registry(tmp_path)
    done = _cli(tmp_path, "keys", "rotate", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"resealed": 0})
    assert len((tmp_path / "smart-connect.key").read_text().splitlines()) == 2


async def test_serve_command_becomes_the_parent_and_stops_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "smart-connect.toml").write_text(f'[api]\nauth = "none"\nlisten = "127.0.0.1:{port}"\n[workers]\ncount = 1\n')
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve())}
    with (tmp_path / "log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "-m", "smartconnect.cli", "serve", "--log-format", "json"], cwd=tmp_path, env=environment, stderr=log
        )
    try:
        await eventually(lambda: _ready(port), 40, what="the service is ready")
        started = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if "process started" in line]
        pids = [line["pid"] for line in started]
        assert resident_mib(serve.pid) <= 25
        serve.send_signal(signal.SIGTERM)
        await eventually(lambda: serve.poll() is not None, 30, what="it has stopped")
        assert serve.returncode == 0
        assert not any(alive(pid) for pid in pids)
    finally:
        serve.kill()
        serve.wait()


@pytest.mark.parametrize("registry", ["in use", "new"])
async def test_serve_starts_although_a_frozen_process_of_an_earlier_service_holds_the_registry(
    tmp_path: Path, registry: str
) -> None:
    port = free_port()
    (tmp_path / "smart-connect.toml").write_text(f'[api]\nauth = "none"\nlisten = "127.0.0.1:{port}"\n[workers]\ncount = 1\n')
    if registry == "in use":
        await _make_registry(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve())}
    frozen = subprocess.Popen([sys.executable, "-c", _HOLDER], cwd=tmp_path, stdout=subprocess.PIPE)
    assert frozen.stdout is not None
    assert frozen.stdout.readline() == b"holding\n"
    frozen.send_signal(signal.SIGSTOP)
    with (tmp_path / "log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "-m", "smartconnect.cli", "serve", "--log-format", "json"], cwd=tmp_path, env=environment, stderr=log
        )
    try:
        if registry == "new":
            waiting = "registry is busy, it is tried again"
            await eventually(lambda: waiting in (tmp_path / "log").read_text(), 30, what="a line says why it waits")
            assert serve.poll() is None
            frozen.kill()
        await eventually(lambda: _ready(port), 40, what="the service is ready")
        serve.send_signal(signal.SIGTERM)
        await eventually(lambda: serve.poll() is not None, 30, what="it has stopped")
        assert serve.returncode == 0
    finally:
        for process in (serve, frozen):
            process.kill()
            process.wait()


_HOLDER = """
import signal, sqlite3
connection = sqlite3.connect("smart-connect.db", isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("BEGIN IMMEDIATE")
print("holding", flush=True)
signal.pause()
"""


async def _make_registry(folder: Path) -> None:
    registry = await Registry.open(f"sqlite:///{folder}/smart-connect.db", folder / "smart-connect.key")
    await registry.close()


async def _ready(port: int) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _count(service: ToyService, event: str, **fields: object) -> int:
    return sum(line["event"] == event and all(line.get(key) == value for key, value in fields.items()) for line in service.log)


def _hashes(service: ToyService) -> int:
    return _count(service, "settings in use")


def _waits(service: ToyService) -> list[float]:
    deaths = [line for line in service.log if line["event"] == "process ended unexpectedly and is started again"]
    return [line["wait_s"] for line in deaths if line["child"] == "worker-0"]
