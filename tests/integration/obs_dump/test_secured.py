"""A dump from a cluster with TLS, logins and ACLs, by a user with exactly the documented permissions; and none of the secrets that the
service was given comes out of it again, whatever it says, logs or stores (obs-dump.md §10, §12; architecture.md §4).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.s3 import Account, S3Server
from tests.integration.cli.running import Cli
from tests.integration.obs_dump.stories import has_read, trouble
from tests.support.bucket import count_bucket, left_uploads
from tests.support.records import RecordWriter, WriterOptions
from tests.support.said import Said
from tests.support.service import TOKEN, Refused, Service, ServiceOptions, running_service
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

USER, PASSWORD = "dumper", f"password-{secrets.token_hex(12)}"


@pytest.fixture(scope="module")
def secured() -> Iterator[KafkaCluster]:
    """SASL_SSL with an authorizer; the user of the dump may do nothing yet."""
    users = {USER: PASSWORD, "admin": secrets.token_hex(8)}
    with shared(kafka_cluster(KafkaOptions(security="SASL_SSL", scram_users=users, authorizer=True))) as cluster:
        yield cluster


@pytest.fixture
async def topic(secured: KafkaCluster, names: Names) -> str:
    """A topic that the user may read."""
    name = names.topic()
    await create_topic(secured.internal_servers, name, partitions=2)
    await _permit(secured, name)
    return name


@pytest.fixture
async def service(tmp_path: Path, secured: KafkaCluster, s3: S3Server) -> AsyncIterator[Service]:
    keys = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "user_name": USER,
        "password": PASSWORD,
        "ca_file": str(secured.ca_file),
    }
    async with running_service(tmp_path, ServiceOptions(secured.bootstrap_servers, s3, instance=keys)) as running:
        yield running


async def test_documented_permissions_suffice_and_no_secret_comes_out_again(
    service: Service, secured: KafkaCluster, s3: S3Server, bucket: str, topic: str
) -> None:
    said, account = Said(), await s3.add_account()
    await s3.give_bucket(bucket, account)
    keys = {"access_key": account.access_key, "secret_key": account.secret_key}
    writer = RecordWriter(secured.internal_servers, topic, 2, WriterOptions(codec="lz4"))
    await writer.write(1000)
    dump = await service.create_dump("secured-dump", bucket, topics=topic, flush_size=300, **keys)
    await has_read(dump, 2000)
    said.note("modify", await dump.modify(task_name="renamed-dump", sink_task={**keys, "flush_size": 200}))
    await _mistakes(service, said, bucket, topic, account)
    await s3.revoke(account)
    await writer.write(400)
    said.note("trouble", await eventually(lambda: trouble(dump), 40, what="the store's refusal is shown"))
    said.note("show", await dump.show())
    said.note("list", await service.api("GET", "/connector/tasks"))
    said.note("progress", await dump.progress())
    said.note("metrics", await _metrics(service))
    await dump.modify(sink_task={"access_key": s3.access_key, "secret_key": s3.secret_key})
    await has_read(dump, 2800)
    await dump.drained()
    for command in (("tasks", "show", "renamed-dump"), ("verify", "renamed-dump", "--deep"), ("doctor",)):
        told = await Cli(service.folder / "smart-connect.toml", in_process=True)(*command)
        said.note(" ".join(command), told)
    said.note_what_stays(service)

    canaries = {"Kafka password": PASSWORD, "token": TOKEN}
    for who, one in (("first", account), ("second", s3.root)):
        canaries |= {f"{who} access key": one.access_key, f"{who} secret key": one.secret_key}
    said.assert_none_of(canaries)
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_a_right_that_is_missing_is_named_at_creation(
    service: Service, secured: KafkaCluster, bucket: str, names: Names
) -> None:
    forbidden = names.topic("forbidden")
    await create_topic(secured.internal_servers, forbidden)
    with pytest.raises(Refused, match=forbidden) as refused:
        await service.create_dump("forbidden-dump", bucket, topics=forbidden)
    assert refused.value.status == 400
    assert (await service.api("GET", "/connector/tasks"))["tasks"] == []


async def _mistakes(service: Service, said: Said, bucket: str, topic: str, account: Account) -> None:
    """Requests with secrets in them that are refused, each for another reason."""
    right = {"access_key": account.access_key, "secret_key": account.secret_key}
    wrong: list[dict[str, Any]] = [
        {**right, "flush_size": "many"},
        {**right, "obs_path": "../up"},
        {**right, "access_key": account.secret_key},
        {**right, "secret_key": account.secret_key[:-1]},
        {"access_key": [account.access_key], "secret_key": {"of": account.secret_key}},
    ]
    for number, sink in enumerate(wrong):
        with pytest.raises(Refused) as refused:
            await service.create_dump(f"wrong-dump-{number}", bucket, topics=topic, **sink)
        assert refused.value.status == 400
        said.note("refusal", refused.value.body)


async def _metrics(service: Service) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{service.port}/metrics") as answer:
        text = await answer.text()
    assert "smartconnect_" in text
    return text


async def _permit(cluster: KafkaCluster, topic: str) -> None:
    """What the documentation asks for, and nothing more."""
    read, describe, delete, write = AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DELETE, AclOperation.WRITE
    literal, prefixed = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
    rights = [(ResourceType.TOPIC, topic, literal, operation) for operation in (read, describe)]
    rights += [(ResourceType.GROUP, "smartconnect.", prefixed, operation) for operation in (read, describe, delete)]
    rights += [(ResourceType.TRANSACTIONAL_ID, "smartconnect.", prefixed, operation) for operation in (write, describe)]
    bindings = [
        AclBinding(kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in rights
    ]
    admin = AdminClient({"bootstrap.servers": cluster.internal_servers})
    for future in admin.create_acls(bindings).values():
        await asyncio.to_thread(future.result, 30)
