"""The first check that fails answers (api.md §2): each request is wrong in two neighbouring ways."""

from __future__ import annotations

import pytest

from smartconnect.control.policy import ControlPolicy
from smartconnect.domain.problems import Problem, ProblemKind
from tests.unit.api.kit import (
    DISABLED_INSTANCE,
    FOREIGN_INSTANCE,
    OTHER_PROJECT,
    PROJECT,
    SECOND_INSTANCE,
    Client,
    Service,
    dump,
    task_url,
    tasks_url,
)

UNKNOWN_TASK = "3c0ac4d1-8c2e-4a55-9a57-0d8f6b1f2a10"
LARGE = b"x" * ((1 << 20) + 1)


@pytest.mark.parametrize(
    ("method", "url", "body", "token", "status", "code"),
    [
        ("GET", "/v2/nowhere", LARGE, "unknown", 404, "DMS.00404001"),
        ("PATCH", tasks_url(), LARGE, "unknown", 405, "DMS.00405001"),
        ("POST", tasks_url(), LARGE, "unknown", 413, "APIGW.0201"),
        ("POST", tasks_url(project="%7Bproject_id%7D"), b"", "unknown", 401, "DMS.10240101"),
        ("POST", tasks_url(project="%7Bproject_id%7D"), b"", "mine", 400, "DMS.00400002"),
        ("POST", tasks_url(project=OTHER_PROJECT), b"", "mine", 401, "DMS.10240104"),
        ("POST", tasks_url("unknown"), b"", "reads", 403, "DMS.00403002"),
        ("POST", tasks_url("unknown"), b"", "token", 400, "DMS.00400030"),
        ("POST", tasks_url(UNKNOWN_TASK), b"", "token", 404, "DMS.00404022"),
        ("POST", tasks_url(FOREIGN_INSTANCE), b"", "token", 404, "DMS.00404022"),
        ("PUT", task_url("no-uuid", instance=DISABLED_INSTANCE), b"", "token", 404, "DMS.00404024"),
        ("PUT", task_url("no-uuid"), b"", "token", 400, "DMS.00400070"),
        ("PUT", task_url(UNKNOWN_TASK), b"", "token", 404, "DMS.00404026"),
        ("POST", tasks_url(), b"", "token", 400, "DMS.00400004"),
        ("POST", tasks_url(), b"[]", "token", 400, "DMS.00400005"),
        ("POST", tasks_url(), b"{}", "token", 400, "DMS.00400007"),
    ],
)
async def test_the_earlier_check_answers(
    service: Service, method: str, url: str, body: bytes, token: str, status: int, code: str
) -> None:
    answer = await service.client(token).send(method, url, body)
    assert (answer.status, answer.code) == (status, code)


async def test_fields_come_before_name_and_quota_and_these_before_live_checks(client: Client, service: Service) -> None:
    await client.post(tasks_url(), dump("taken"))
    service.policy = ControlPolicy(max_tasks=1)
    service.job.findings = [Problem("sink_task.access_key", "is refused", ProblemKind.STORE_CREDENTIALS)]
    service.job.checked.clear()

    field = await client.post(tasks_url(), dump("taken", sink={"store_keys": "yes"}))
    name = await client.post(tasks_url(), dump("taken", sink={"obs_path": "elsewhere"}))
    quota = await client.post(tasks_url(), dump("free"))
    service.policy = ControlPolicy()
    live = await client.post(tasks_url(), dump("free"))

    assert [each.code for each in (field, name, quota, live)] == [
        "DMS.00400062",
        "DMS.00400867",
        "DMS.00404029",
        "DMS.00500960",
    ]
    assert len(service.job.checked) == 1


async def test_a_task_of_another_instance_is_not_found(client: Client) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    answer = await client.get(task_url(task, instance=SECOND_INSTANCE))
    assert (answer.status, answer.code) == (404, "DMS.00404026")
    assert (await client.get(task_url(task.upper()))).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
async def test_allow_names_every_method_of_the_path(client: Client, method: str) -> None:
    answer = await client.send(method, f"/v2/{PROJECT}/instances/x/connector/validate")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_no_redirect_for_a_slash_too_many(client: Client) -> None:
    for url in (tasks_url() + "/", tasks_url().replace("/v2", "/v2/"), "/docs/"):
        assert (await client.get(url)).status == 404
