"""A peer by its addresses, with TLS and logins: copied with every mechanism, refused with a wrong password, and waited for when it changes
its password; no password comes out of the service again (kafka-replication.md §10, §11, §15.8)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.test_checks import Control, told
from tests.integration.kafka_replication.under_load import Scene, Story, load
from tests.support.mirror import Side
from tests.support.said import Said
from tests.support.service import Refused, Service, ServiceOptions, running_service
from tests.support.services import Names, shared
from tests.support.waiting import eventually

USER = "joe"
PASSWORD, NEXT_PASSWORD, WRONG_PASSWORD = (f"{which}-{secrets.token_hex(12)}" for which in ("first", "second", "never"))
CANARIES = {"password": PASSWORD, "next password": NEXT_PASSWORD, "wrong password": WRONG_PASSWORD}
SCRAM_512, SCRAM_256, PLAIN = "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"
LOGIN_LASTS_MS = 2000


@pytest.fixture(scope="module")
def secured() -> Iterator[KafkaCluster]:
    """SASL_SSL; logins must be renewed, so that a changed password is noticed by whoever is connected."""
    users = {USER: PASSWORD}
    options = KafkaOptions(
        security="SASL_SSL",
        scram_users=users,
        plain_users=users,
        properties={"connections.max.reauth.ms": str(LOGIN_LASTS_MS)},
    )
    with shared(kafka_cluster(options)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, secured: KafkaCluster) -> Iterator[Service]:
    options = ServiceOptions(kafka.bootstrap_servers, replication={"peer_ca_file": str(secured.ca_file)})
    with shared(running_service(tmp_path_factory.mktemp("secure-peer"), options)) as running:
        yield running


@pytest.fixture
def said(service: Service, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Notes every answer of the API."""
    said, call = Said(), service.call

    async def noted(method: str, url: str, body: object = None) -> tuple[int, dict[str, Any]]:
        status, answer = await call(method, url, body)
        said.note(f"{method} {url}", answer)
        return status, answer

    monkeypatch.setattr(service, "call", noted)
    return said


def as_joe(secured: KafkaCluster, mechanism: str = SCRAM_512, password: str = PASSWORD, **more: object) -> dict[str, object]:
    login = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism, "user_name": USER, "password": password}
    return {"bootstrap_servers": secured.bootstrap_servers, "direction": "pull", **login, **more}


def story_of(service: Service, secured: KafkaCluster, topic: str, how: Mapping[str, object]) -> Story:
    """We write and read past the logins of the peer."""
    current, peer = Side(service.options.bootstrap_servers, topic), Side(secured.internal_servers, topic)
    source, target = (peer, current) if how["direction"] == "pull" else (current, peer)
    return Story(Scene(service, source, target, how=how))


async def set_password(secured: KafkaCluster, password: str) -> None:
    """Of Joe, for both SCRAM mechanisms."""
    admin = AdminClient({"bootstrap.servers": secured.internal_servers, "log_level": 0})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        change = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), password.encode())
        for future in admin.alter_user_scram_credentials([change]).values():
            await asyncio.to_thread(future.result, 30)


def note_everybody(said: Said) -> None:
    """What every user of the machine can see of all processes."""
    said.note_command_lines(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


@pytest.mark.parametrize(
    ("mechanism", "direction"),
    [
        (SCRAM_512, "pull"),
        pytest.param(SCRAM_512, "push", marks=pytest.mark.long),
        pytest.param(SCRAM_256, "pull", marks=pytest.mark.long),
        pytest.param(SCRAM_256, "push", marks=pytest.mark.long),
        pytest.param(PLAIN, "pull", marks=pytest.mark.long),
        pytest.param(PLAIN, "push", marks=pytest.mark.long),
    ],
)
async def test_topics_are_mirrored_through_tls_and_a_login(
    service: Service, secured: KafkaCluster, names: Names, said: Said, mechanism: str, direction: str
) -> None:
    story = story_of(service, secured, names.topic("orders"), as_joe(secured, mechanism, direction=direction))
    await story.begin()
    async with load(story.writer):
        await story.task.moves_on()  # reported every 15 s: logins are renewed meanwhile
    await story.end()
    await story.task.show()
    await service.api("GET", "/connector/tasks")
    said.note_what_stays(service)
    note_everybody(said)
    said.assert_none_of(CANARIES)
    await story.task.delete()


async def test_a_wrong_password_is_refused_at_creation_with_its_field(
    service: Service, secured: KafkaCluster, names: Names, said: Said
) -> None:
    before = len((await service.api("GET", "/connector/tasks"))["tasks"])
    story = story_of(service, secured, names.topic("orders"), as_joe(secured, password=WRONG_PASSWORD))
    with pytest.raises(Refused) as refused:
        await story.begin()
    assert (refused.value.status, refused.value.body["error_code"]) == (400, "DMS.40001016")
    (error,) = refused.value.body["errors"]
    assert error["field"] == "source_task.user_name"
    assert f"refuses user '{USER}'" in error["reason"] and secured.bootstrap_servers in error["reason"]
    assert len((await service.api("GET", "/connector/tasks"))["tasks"]) == before
    said.note_what_stays(service)
    said.assert_none_of(CANARIES)


async def test_a_peer_whose_certificate_nobody_vouches_for_is_not_trusted(
    secured: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    problems = told(await Control(kafka).check(as_joe(secured), topics=names.topic()))
    assert "not to be trusted" in problems["bootstrap_servers"] and "ca_file" in problems["bootstrap_servers"]


@pytest.mark.parametrize("direction", ["pull", pytest.param("push", marks=pytest.mark.long)])
async def test_a_changed_password_is_told_and_corrected_by_modifying_the_task(
    service: Service, secured: KafkaCluster, names: Names, said: Said, direction: str
) -> None:
    story = story_of(service, secured, names.topic("orders"), as_joe(secured, direction=direction))
    await set_password(secured, PASSWORD)
    await story.begin()
    pids = sorted(service.pids())

    async def shows(health: str) -> dict[str, Any] | None:
        progress = await story.task.progress()
        return progress if progress["health"] == health else None

    async with load(story.writer):
        await set_password(secured, NEXT_PASSWORD)
        progress = await eventually(lambda: shows("retrying"), 40, what="the refused login is told")
        assert progress["status"] == "RUNNING"
        assert progress["reason"]["code"] == "authentication_failed"
        assert f"refuses user '{USER}'" in progress["reason"]["message"]
        with pytest.raises(Refused, match=r"DMS\.40001016.*user_name"):
            await story.task.modify(source_task={"password": WRONG_PASSWORD})
        await story.task.modify(source_task={"password": NEXT_PASSWORD})
        await eventually(lambda: shows("ok"), 20, what="the unit goes on at once")
    await story.end()
    assert sorted(service.pids()) == pids
    after = await story.task.progress()
    assert (after["run"], after["health"], after["reason"]) == (progress["run"], "ok", None)
    said.note_what_stays(service)
    note_everybody(said)
    said.assert_none_of(CANARIES)
    await story.task.delete()
