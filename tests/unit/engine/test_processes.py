"""What each process is started with and loads, how many there are, and the pages of a worker machine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.engine.cores import usable_cores
from smartconnect.engine.launch import API, PARENT, Launch
from smartconnect.engine.probes import FleetView
from smartconnect.engine.protocol import Fleet, ProcessState
from smartconnect.engine.status_server import StatusServer
from smartconnect.telemetry.meters import Meters

HEAVY = {
    "pydantic",
    "sqlalchemy",
    "fastapi",
    "starlette",
    "uvicorn",
    "aiohttp",
    "aiobotocore",
    "botocore",
    "cryptography",
    "rich",
    "ssl",
}


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json; print(json.dumps([m for m in sys.modules if sys.modules[m] is not None]))"
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])} | set(json.loads(done.stdout.splitlines()[-1]))


def test_parent_loads_nothing_heavy() -> None:
    loaded = _modules_after(
        "from smartconnect import app\napp._without_ssl()\nimport asyncio\nimport smartconnect.telemetry.logs\n"
        "import smartconnect.coordination.board, smartconnect.engine.parent\n"
    )
    assert loaded & HEAVY == set()
    assert not {name for name in loaded if name.startswith(("smartconnect.api", "smartconnect.registry", "smartconnect.jobs"))}
    assert "smartconnect.settings" not in loaded


def test_worker_loads_no_web_code_and_no_job_before_it_is_asked() -> None:
    loaded = _modules_after(
        "from smartconnect import app\nimport smartconnect.engine.worker, smartconnect.coordination.local, smartconnect.registry\n"
    )
    assert loaded & {"fastapi", "starlette", "uvicorn", "rich", "typer", "prometheus_client", "aiobotocore"} == set()
    assert not {name for name in loaded if name.startswith(("smartconnect.api", "smartconnect.jobs"))}


def test_arguments_of_children_hold_options_and_no_secret() -> None:
    options = Launch("/etc/sc.toml", 2, API, log_format="json")
    specs = options.children()
    assert [(spec.name, spec.worker) for spec in specs] == [("api", None), ("worker-0", 0), ("worker-1", 1)]
    role, told = specs[2].arguments
    assert role == "worker"
    assert Launch.parse(told) == Launch("/etc/sc.toml", 2, API, log_format="json", index=1)
    command = options.command("smartconnect.app", PARENT)
    assert list(command[:4]) == [sys.executable, "-m", "smartconnect.app", "parent"]
    assert Launch.parse(command[4]) == options


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "garbage"}, None),
    ],
)
def test_workers_by_default_are_the_cores_by_affinity_and_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def _fleet(alive: bool = True, trouble: str = "") -> Fleet:
    meters = [["smartconnect_units", ["running"], 3.0]]
    return Fleet([ProcessState("worker-0", 1, alive, 1, 2, meters, "h", trouble), ProcessState("worker-1", 0, False, 3, 0, [])])


@pytest.fixture
async def page() -> AsyncIterator[tuple[FleetView, int]]:
    fleet = FleetView("status", Meters(), lambda: 0.0)
    server = StatusServer(fleet)
    port = await server.start("127.0.0.1", 0)
    yield fleet, port
    await server.close()


async def _ask(port: int, request: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_machine_is_ready_when_one_worker_works(page: tuple[FleetView, int]) -> None:
    fleet, port = page
    assert (await _ask(port, "GET /readyz HTTP/1.1\r\n\r\n"))[0] == 503
    fleet.heard(_fleet())
    assert await _ask(port, "GET /readyz HTTP/1.1\r\n\r\n") == (200, "ready\n")
    fleet.heard(_fleet(trouble="the registry does not answer"))
    status, body = await _ask(port, "GET /readyz HTTP/1.1\r\n\r\n")
    assert status == 503
    assert "worker-0: the registry does not answer" in body
    assert "worker-1: is not running" in body


async def test_metrics_show_every_process(page: tuple[FleetView, int]) -> None:
    fleet, port = page
    fleet.heard(_fleet())
    status, body = await _ask(port, "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    assert 'smartconnect_units{process="worker-0",state="running"} 3' in body
    assert 'smartconnect_resident_bytes{process="status"}' in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /healthz HTTP/1.1\r\n\r\n", 200),
        ("HEAD /healthz HTTP/1.0\r\n\r\n", 200),
        ("POST /healthz HTTP/1.1\r\n\r\n", 405),
        ("GET /v2/x HTTP/1.1\r\n\r\n", 404),
        ("hello\r\n\r\n", 400),
    ],
)
async def test_other_requests_are_answered_as_http_says(page: tuple[FleetView, int], request_: str, status: int) -> None:
    assert (await _ask(page[1], request_))[0] == status
