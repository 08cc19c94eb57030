"""`tasks`: the life of a task on the command line, and what is said when something is wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from smartconnect.sandbox.ports import free_port
from tests.conftest import MakeTopic
from tests.integration.cli.running import ACCESS_KEY, PROJECT, SECRET_KEY, Cli, SigningService, dump_request
from tests.support.waiting import eventually


async def test_a_task_lives_on_the_command_line(running: SigningService, cli: Cli, bucket: str, make_topic: MakeTopic) -> None:
    body = dump_request(running, "cli-dump", bucket, await make_topic())
    created = (await cli("tasks", "create", "-", "--json", stdin=body)).assert_fine().json()
    assert created["task_name"] == "cli-dump"
    by_name = (await cli("tasks", "show", "cli-dump", "--json")).assert_fine().json()
    by_id = (await cli("tasks", "show", created["id"], "--json")).assert_fine().json()
    assert by_name["id"] == by_id["id"] == created["id"]
    (await cli("tasks", "create", "-", stdin=body)).assert_one_line("task_name", "DMS.00400867")

    listed = (await cli("tasks", "list")).assert_fine().out
    assert listed.splitlines()[0].split() == ["NAME", "KIND", "STATUS", "HEALTH", "PHASE", "LAG", "RECORDS/S", "ID"]
    assert created["id"] in listed

    said = (await cli("tasks", "pause", "cli-dump")).assert_fine()
    assert said.out == "pause: cli-dump drains and then shows PAUSED\n"

    async def is_paused() -> bool:
        return bool((await cli("tasks", "show", "cli-dump", "--json")).json()["status"] == "PAUSED")

    await eventually(is_paused, 30, what="the task shows PAUSED")
    (await cli("tasks", "resume", "cli-dump")).assert_fine()
    assert (await cli("tasks", "restart", "cli-dump", "--json")).assert_fine().json()["action"] == "restart"
    (await cli("tasks", "delete", created["id"])).assert_fine()
    (await cli("tasks", "show", "cli-dump")).assert_one_line("there is no task cli-dump")
    (await cli("tasks", "pause", created["id"])).assert_one_line("there is no task with the id")


async def test_watch_prints_one_line_of_json_for_each_change_and_ends_with_the_task(
    running: SigningService, cli: Cli, bucket: str, make_topic: MakeTopic
) -> None:
    dump = await running.create_dump("watched-dump", bucket, topics=await make_topic())
    watching = await cli.begin("tasks", "watch", "watched-dump", "--json")
    assert watching.stdout is not None
    first = await asyncio.wait_for(watching.stdout.readline(), 60)
    await dump.shows("RUNNING")
    await dump.drained()
    await dump.delete()
    rest, errors = await asyncio.wait_for(watching.communicate(), 60)
    assert (watching.returncode, errors) == (1, b"smart-connect: task watched-dump was deleted\n")
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    assert {line["task_name"] for line in lines} == {"watched-dump"}
    for before, after in itertools.pairwise(lines):
        assert {**before, "as_of": 0} != {**after, "as_of": 0}


async def test_keys_from_the_environment_need_no_file(running: SigningService, tmp_path: Path) -> None:
    far = Cli(
        tmp_path / "absent.toml",
        {
            "SMARTCONNECT_ENDPOINT": f"http://127.0.0.1:{running.port}",
            "SMARTCONNECT_ACCESS_KEY": ACCESS_KEY,
            "SMARTCONNECT_SECRET_KEY": SECRET_KEY,
        },
    )
    where = ("--project", PROJECT, "--instance", running.options.instance_id)
    assert "tasks" in (await far("tasks", "list", "--json", *where)).assert_fine().json()
    (await far("tasks", "list", *where, SMARTCONNECT_SECRET_KEY="wrong")).assert_one_line("verify aksk signature fail", "401")
    (await far("tasks", "list")).assert_one_line("no such file", code=78)


async def test_a_wrong_endpoint_is_one_line(cli: Cli) -> None:
    (await cli("tasks", "list", "--endpoint", f"http://127.0.0.1:{free_port()}")).assert_one_line("no answer from", "--endpoint")


@pytest.mark.parametrize(
    ("body", "told"),
    [("{", "is not JSON"), ("[]", "one JSON object"), ('{"task_name": "x"}', "must be 4–64")],
)
async def test_a_bad_file_is_one_line(cli: Cli, tmp_path: Path, body: str, told: str) -> None:
    file = tmp_path / "task.json"
    file.write_text(body)
    (await cli("tasks", "create", str(file))).assert_one_line(told)


async def test_a_missing_file_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (await cli("tasks", "create", str(tmp_path / "absent.json"))).assert_one_line("absent.json", "No such file")
