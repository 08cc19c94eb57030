"""The demo ends its tasks when they have read everything, also where counts died with a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from smartconnect.cli.client import ApiClient
from smartconnect.cli.demo.task import DemoTask


class Api:
    """Tells one progress after the other."""

    def __init__(self, *told: Mapping[str, Any]) -> None:
        self.told = list(told)

    async def call(self, method: str, _path: str) -> Mapping[str, Any]:
        return {} if method == "PUT" else self.told.pop(0)


def progress(records_in: int, lag: int | None, *, bytes_in: float = 0.0, visible: float = 0.0) -> Mapping[str, Any]:
    rates = {"bytes_in_per_s": bytes_in, "records_per_s": visible}
    return {"counters": {"records_in": records_in}, "lag_records": lag, "throughput": rates}


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(progress(100, 40, bytes_in=1.0), id="the count says so, although not all is visible"),
        pytest.param(progress(90, 0), id="nothing is missing and nothing moves, although counts are lost"),
    ],
)
async def test_a_task_has_read_everything(last: Mapping[str, Any]) -> None:
    api = Api(
        {"counters": {}, "lag_records": None, "throughput": {}},
        progress(90, 0, bytes_in=1.0),
        progress(90, 0, visible=1.0),
        progress(90, 10),
        last,
    )
    await DemoTask(cast(ApiClient, api), "demo", "/tasks/1").until_read(100)
    assert api.told == []
