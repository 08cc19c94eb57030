"""Every row of api.md §8 provoked over HTTP: status, code, sentence, shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartconnect.control import codes
from smartconnect.control.codes import ALL_ERRORS, ApiError
from smartconnect.control.policy import ControlPolicy
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from tests.unit.api.kit import (
    DISABLED_INSTANCE,
    INSTANCE,
    OTHER_PROJECT,
    PROJECT,
    Answer,
    Service,
    Signer,
    dump,
    kafka_url,
    ruin,
    task_url,
    tasks_url,
)

CONNECTOR = f"/v2/{PROJECT}/instances/{INSTANCE}/connector"
Provoke = Callable[[Service], Awaitable[Answer]]


def call(method: str, url: str, body: object = None, token: str | None = "token") -> Provoke:
    async def provoke(service: Service) -> Answer:
        return await service.client(token).send(method, url, body)

    return provoke


def on_task(action: Callable[[Service, str], Awaitable[Answer]], **create: object) -> Provoke:
    async def provoke(service: Service) -> Answer:
        created = await service.client().post(tasks_url(), dump(**create))
        return await action(service, created.json()["id"])

    return provoke


def finding(kind: ProblemKind) -> Provoke:
    async def provoke(service: Service) -> Answer:
        service.job.findings = [Problem("topics", "is wrong", kind)]
        return await service.client().post(tasks_url(), dump())

    return provoke


async def _pause(service: Service, task: str) -> Answer:
    return await service.client().put(task_url(task, "pause"))


async def _resume(service: Service, task: str) -> Answer:
    return await service.client().put(task_url(task, "resume"))


async def _restart_with_another_key(service: Service, task: str) -> Answer:
    await _damage_secrets(service.file)
    return await service.client().put(kafka_url(f"connector/tasks/{task}/restart"))


async def _damage_secrets(file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        tables = [
            row[0]
            for row in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE name LIKE '%secret%' AND type = 'table'"))
        ]
        columns = [row[1] for row in connection.execute(sa.text(f"PRAGMA table_info({tables[0]})"))]
        sealed = next(name for name in columns if name in ("sealed", "value"))
        connection.execute(sa.text(f"UPDATE {tables[0]} SET {sealed} = substr({sealed}, 1, length({sealed}) - 8) || 'AAAAAAA='"))
    engine.dispose()


async def _change_bucket(service: Service, task: str) -> Answer:
    return await service.client().put(task_url(task), {"sink_task": {"obs_bucket_name": "other"}})


async def _disable(service: Service, task: str) -> Answer:
    return await service.client().post(kafka_url("delete-connector"))


async def _beyond_quota(service: Service) -> Answer:
    service.policy = ControlPolicy(max_tasks=0)
    return await service.client().post(tasks_url(), dump())


async def _refused_project(service: Service) -> Answer:
    url = tasks_url(project=OTHER_PROJECT)
    headers = Signer("AK-MINE", Secret("SK-MINE")).headers("GET", url)
    return await service.client().get(url, headers=headers)


async def _wrong_signature(service: Service) -> Answer:
    headers = Signer(secret_key=Secret("x")).headers("GET", tasks_url())
    return await service.client().get(tasks_url(), headers=headers)


async def _bug(service: Service) -> Answer:
    service.job.error = RuntimeError("SK-CANARY in a cause")
    return await service.client().post(tasks_url(), dump())


async def _broken_registry(service: Service) -> Answer:
    ruin(service.file)
    return await service.client().get(tasks_url())


async def _failed_validation(service: Service) -> Answer:
    service.job.findings = [Problem("sink_task.access_key", "is refused", ProblemKind.STORE_CREDENTIALS)]
    return await service.client().post(f"{CONNECTOR}/validate", {"type": "OBS_SINK", "task": dump()["sink_task"]})


PROVOKED: dict[ApiError, Provoke] = {
    codes.PROJECT_ID_FORM: call("GET", tasks_url(project="%7Bproject_id%7D")),
    codes.BODY_EMPTY: call("POST", tasks_url(), b""),
    codes.BODY_FORM: call("POST", tasks_url(), b"{"),
    codes.UNSUPPORTED_TYPE: call("POST", tasks_url(), dump(source_type="OBS_SINK")),
    codes.INSTANCE_ID_FORM: call("GET", tasks_url("abc")),
    codes.INVALID_PARAMETER: call("POST", tasks_url(), dump(task_name="a b")),
    codes.TASK_ID_FORM: call("GET", task_url("abc")),
    codes.BODY_CHARACTERS: call("POST", tasks_url(), b'{"sink_task": {"obs_path": "a\\u0000"}}'),
    codes.REPLICATION_FACTOR: finding(ProblemKind.REPLICATION_FACTOR),
    codes.CREATE_FAILED: finding(ProblemKind.LIVE),
    codes.PAUSE_FAILED: on_task(_pause, start_later=True),
    codes.RESUME_FAILED: on_task(_resume, start_later=True),
    codes.VALIDATE_FAILED: _failed_validation,
    codes.RESTART_FAILED: on_task(_restart_with_another_key),
    codes.MODIFY_FAILED: on_task(_change_bucket),
    codes.TOPIC_IN_USE: finding(ProblemKind.TOPIC_IN_USE),
    codes.REDIS_TYPES: finding(ProblemKind.REDIS_TYPE),
    codes.TOPIC_MISSING: finding(ProblemKind.TOPIC_MISSING),
    codes.KAFKA_CONFIG: finding(ProblemKind.KAFKA_CLUSTER),
    codes.STORE_CREDENTIALS: finding(ProblemKind.STORE_CREDENTIALS),
    codes.PAGE_TOO_LARGE: call("GET", tasks_url() + "?limit=51"),
    codes.OFFSET_TOO_LARGE: call("GET", tasks_url() + "?offset=2147483648"),
    codes.SIGNATURE_WRONG: _wrong_signature,
    codes.CREDENTIALS_MISSING: call("GET", tasks_url(), token=None),
    codes.TOKEN_INVALID: call("GET", tasks_url(), token="unknown"),
    codes.TOKEN_EXPIRED: call("GET", tasks_url(), token="expired"),
    codes.TOKEN_MISSING: call("GET", tasks_url(), token=""),
    codes.TOKEN_PROJECT: call("GET", tasks_url(project=OTHER_PROJECT), token="mine"),
    codes.READ_ONLY: call("POST", tasks_url(), token="reads"),
    codes.PROJECT_NOT_ALLOWED: _refused_project,
    codes.NO_SUCH_URL: call("GET", "/v2"),
    codes.NO_SUCH_INSTANCE: call("GET", tasks_url("3c0ac4d1-8c2e-4a55-9a57-0d8f6b1f2a10")),
    codes.CONNECTOR_MISSING: call("GET", tasks_url(DISABLED_INSTANCE)),
    codes.NO_SUCH_TASK: call("GET", task_url("3c0ac4d1-8c2e-4a55-9a57-0d8f6b1f2a10")),
    codes.CONNECTOR_EXISTS: call("POST", CONNECTOR),
    codes.QUOTA_REACHED: _beyond_quota,
    codes.METHOD_NOT_ALLOWED: call("DELETE", tasks_url()),
    codes.BODY_TOO_LARGE: call("POST", tasks_url(), b" " * ((1 << 20) + 1)),
    codes.INTERNAL: _bug,
    codes.TASKS_EXIST: on_task(_disable),
    codes.REGISTRY_AWAY: _broken_registry,
}


def test_every_row_is_provoked() -> None:
    assert set(PROVOKED) == set(ALL_ERRORS)


@pytest.mark.parametrize("row", ALL_ERRORS, ids=lambda row: row.code)
async def test_row(service: Service, row: ApiError) -> None:
    answer = await PROVOKED[row](service)

    content = answer.json()
    assert (answer.status, content["error_code"]) == (row.status, row.code)
    assert content["error_msg"].startswith(row.sentence.replace("{key}", "sink_task.obs_path"))
    assert content["request_id"] == answer.headers["x-request-id"]
    assert len(content["request_id"]) == 32
    assert answer.headers["content-type"] == "application/json"
    for error in content.get("errors", []):
        assert error["reason"] in content["error_msg"]


async def test_the_message_is_the_sentence_then_fields_and_reasons(service: Service) -> None:
    answer = await service.client().post(tasks_url(), dump(task_name="a b", sink={"store_keys": "yes", "flush_size": 0}))
    assert answer.json()["errors"] == [
        {"field": "task_name", "reason": 'must be 4–64 of letters, digits, "_", "-", not "a b"'},
        {"field": "sink_task.store_keys", "reason": "must be true or false"},
        {"field": "sink_task.flush_size", "reason": "must be an integer from 1 to 2147483647, not 0"},
    ]
    assert answer.json()["error_msg"] == "Invalid request parameter: " + "; ".join(
        f"{error['field']}: {error['reason']}" for error in answer.json()["errors"]
    )


async def test_an_unexpected_error_is_a_500_whose_cause_is_only_in_the_log(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.job.error = RuntimeError("the cause")
    answer = await service.client().post(tasks_url(), dump())
    assert (answer.status, answer.code) == (500, "DMS.00500000")
    assert b"cause" not in answer.body
    assert "the cause" in capsys.readouterr().out
    listed = await service.client().get(tasks_url())
    assert listed.json()["total_number"] == 0
