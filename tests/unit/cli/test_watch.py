"""`tasks watch` where there is no terminal: a line for each change that a reader can see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from smartconnect.cli.client import ApiClient
from smartconnect.cli.tasks import watch
from smartconnect.cli.tasks.find import Found, NoSuchTask
from smartconnect.cli.tasks.target import Place
from tests.unit.cli.test_client import served
from tests.unit.cli.test_progress_view import PROGRESS

FOUND = Found(Place("p", "i"), {"id": "3c0a", "task_name": "orders-dump"})
QUIET = PROGRESS | {"units": []}
Watched = Callable[..., Any]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Watch a task that shows these answers one after the other, None for a broken connection, and is then deleted."""
    monkeypatch.setattr(watch, "_LOOK_EVERY_S", 0)

    async def run(*answers: dict[str, Any] | None, as_json: bool = False) -> None:
        left: Iterator[dict[str, Any] | None] = iter(answers)

        async def answer(request: web.Request) -> web.Response:
            match next(left, {}):
                case None:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                case {} as gone if not gone:
                    return web.json_response({"error_code": "DMS.00404033", "error_msg": "gone"}, status=404)
                case progress:
                    return web.json_response(progress)

        async with await served(answer) as server, ApiClient(str(server.make_url("")), None) as client:
            with pytest.raises(NoSuchTask, match="was deleted"):
                await watch.watch(client, FOUND, as_json=as_json)

    return run


async def test_a_change_that_the_line_does_not_show_is_no_further_line(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched(QUIET, QUIET | {"throughput": QUIET["throughput"] | {"bytes_in_per_s": 1.0}}, QUIET | {"lag_records": 0})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[4] for line in lines] == ["lag 812,000 records", "lag 0 records"]


async def test_with_json_every_change_is_a_line(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    await watched(QUIET, QUIET | {"as_of": 2}, QUIET | {"throughput": {}}, as_json=True)
    assert len(capsys.readouterr().out.splitlines()) == 2


async def test_a_service_that_does_not_answer_for_a_while_is_told_once_and_waited_for(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched(QUIET, None, None, None, None, QUIET | {"lag_records": 0})
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert [line.startswith("no answer from http://127.0.0.1:") for line in said.err.splitlines()] == [True]
