"""Who may call what: tokens, projects, read-only callers, listeners."""

from __future__ import annotations

import pytest

from smartconnect.api.access import AuthMode
from smartconnect.domain.secret import Secret
from tests.unit.api.kit import (
    FOREIGN_INSTANCE,
    INSTANCE,
    NOW_MS,
    OTHER_PROJECT,
    Client,
    Service,
    Signer,
    access_directory,
    dump,
    task_url,
    tasks_url,
)


@pytest.mark.parametrize(
    ("token", "code", "sentence"),
    [
        (None, "APIGW.0301", "Incorrect IAM authentication information: x-auth-token not found"),
        ("", "DMS.10240103", "Missing token"),
        ("unknown", "DMS.10240101", "Invalid token"),
        ("expired", "DMS.10240102", "Expired token"),
    ],
)
async def test_a_call_without_a_good_token_is_401(service: Service, token: str | None, code: str, sentence: str) -> None:
    answer = await service.client(token).get(tasks_url())
    assert (answer.status, answer.code, answer.json()["error_msg"]) == (401, code, sentence)


async def test_a_token_expires_when_its_time_comes(service: Service) -> None:
    service.clock.now_ms = NOW_MS - 2
    assert (await service.client("expired").get(tasks_url())).status == 200
    service.clock.now_ms = NOW_MS - 1
    assert (await service.client("expired").get(tasks_url())).status == 401


async def test_a_project_that_is_not_the_tokens_is_401_and_not_the_keys_is_403(client: Client, service: Service) -> None:
    url = tasks_url(FOREIGN_INSTANCE, OTHER_PROJECT)

    by_token = await service.client("mine").get(url)
    by_key = await client.get(url, headers=Signer("AK-MINE", Secret("SK-MINE")).headers("GET", url))

    assert (by_token.status, by_token.code) == (401, "DMS.10240104")
    assert (by_key.status, by_key.code) == (403, "DMS.00403003")


async def test_a_read_only_caller_may_only_get(client: Client, service: Service) -> None:
    reader = service.client("reads")
    assert (await reader.get(tasks_url())).status == 200
    for method, url in (("POST", tasks_url()), ("PUT", task_url("x", "pause")), ("DELETE", task_url("x"))):
        answer = await reader.send(method, url, dump())
        assert (answer.status, answer.code) == (403, "DMS.00403002")
    headers = Signer("AK-READS", Secret("SK-READS")).headers("POST", tasks_url(), b"{}")
    assert (await client.post(tasks_url(), b"{}", headers=headers)).code == "DMS.00403002"


async def test_if_both_headers_come_the_signature_decides(client: Client) -> None:
    bad = {**Signer(secret_key=Secret("x")).headers("GET", tasks_url()), "X-Auth-Token": "token"}
    good = {**Signer().headers("GET", tasks_url()), "X-Auth-Token": "unknown"}
    assert (await client.get(tasks_url(), headers=bad)).status == 401
    assert (await client.get(tasks_url(), headers=good)).status == 200


async def test_without_authentication_anybody_may_call(service: Service) -> None:
    service.access = access_directory(AuthMode.NONE)
    assert (await service.client(None).post(tasks_url(), dump())).status == 200


async def test_callers_of_settings_read_again_are_known_at_once(service: Service) -> None:
    old = service.access
    service.access = access_directory()
    service.access = type(old)(old.mode, {}, (), old.decoy)
    assert (await service.client().get(tasks_url())).status == 401


async def test_unsigned_pages_need_no_caller(service: Service) -> None:
    anonymous = service.client(None)
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css"):
        assert (await anonymous.get(path)).status == 200, path


def test_secrets_and_digests_do_not_show_themselves() -> None:
    shown = repr(access_directory())
    for secret in ("SK-EXAMPLE", "SK-MINE", access_directory().tokens[0].digest.hex()):
        assert secret not in shown


async def test_the_instance_is_known_by_its_exact_id(client: Client) -> None:
    assert (await client.get(tasks_url(INSTANCE.upper()))).status == 404
    assert (await client.get(tasks_url("plain-name"))).status == 200
