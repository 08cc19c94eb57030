"""Logging in to real listeners of every kind, and what the user is told when it does not work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable, PermissionMissing, SmartConnectError
from smartconnect.kafka.batch import headers
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka.conftest import (
    CountingAdmission,
    collect,
    fast_timing,
    offsets_of,
    produce_to,
    reached,
)
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture(scope="module")
def sasl_ssl() -> Iterator[KafkaCluster]:
    """SASL_SSL with ACLs; logins last 2 s."""
    options = KafkaOptions(
        security="SASL_SSL",
        scram_users={"joe": "correct-horse", "admin": "admin-secret"},
        plain_users={"joe": "correct-horse", "admin": "admin-secret"},
        authorizer=True,
        properties={"connections.max.reauth.ms": "2000"},
    )
    with shared(kafka_cluster(options)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mutual() -> Iterator[KafkaCluster]:
    """SSL that wants a client certificate."""
    with shared(kafka_cluster(KafkaOptions(security="SSL", properties={"ssl.client.auth": "required"}))) as cluster:
        yield cluster


def joe(server: KafkaCluster, mechanism: str = "SCRAM-SHA-512", **changes: str) -> KafkaSecurity:
    security = KafkaSecurity("SASL_SSL", mechanism, "joe", "correct-horse", ca_file=str(server.ca_file))
    return replace(security, **changes)


def connect(server: KafkaCluster, security: KafkaSecurity, servers: str | None = None) -> Cluster:
    return Cluster(servers or server.bootstrap_servers, security, client_id="tests", timing=fast_timing())


async def refused(server: KafkaCluster, security: KafkaSecurity, servers: str | None = None) -> SmartConnectError:
    """The error of a connection that must not work; never with the password in it."""
    async with connect(server, security, servers) as cluster:
        with pytest.raises(SmartConnectError) as caught:
            await cluster.metadata([])
    assert security.password == "" or security.password not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_every_mechanism_logs_in_over_tls(sasl_ssl: KafkaCluster, mechanism: str) -> None:
    async with connect(sasl_ssl, joe(sasl_ssl, mechanism)) as cluster:
        found = await cluster.metadata([])
        assert len(found.brokers) == 1
        assert (await cluster.connection(1)).peer == f"Kafka broker 1 ({sasl_ssl.bootstrap_servers})"


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_wrong_password_is_an_authentication_failure_that_names_user_and_broker(
    sasl_ssl: KafkaCluster, mechanism: str
) -> None:
    error = await refused(sasl_ssl, joe(sasl_ssl, mechanism, password="wrong-secret"))
    assert isinstance(error, AuthenticationFailed)
    assert "'joe'" in str(error) and mechanism in str(error) and sasl_ssl.bootstrap_servers in str(error)


async def test_unknown_authority_is_told(sasl_ssl: KafkaCluster) -> None:
    error = await refused(sasl_ssl, joe(sasl_ssl, ca_file=""))
    assert isinstance(error, AuthenticationFailed) and "certificate" in str(error) and "ca_file" in str(error)


async def test_plain_text_to_a_tls_listener_is_told(sasl_ssl: KafkaCluster) -> None:
    error = await refused(sasl_ssl, KafkaSecurity())
    assert isinstance(error, ClusterUnreachable) and "security_protocol PLAINTEXT" in str(error)
    assert error.setting == "security_protocol"


async def test_tls_to_a_plain_text_listener_is_told(sasl_ssl: KafkaCluster) -> None:
    error = await refused(sasl_ssl, joe(sasl_ssl), sasl_ssl.internal_servers)
    assert isinstance(error, AuthenticationFailed) and error.setting == "security_protocol"
    assert "does not speak TLS as security_protocol SASL_SSL needs it: it closed" in str(error)


async def test_login_to_a_listener_without_login_is_told(kafka: KafkaCluster) -> None:
    error = await refused(kafka, KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "joe", "correct-horse"))
    assert isinstance(error, AuthenticationFailed | ClusterUnreachable)


async def test_login_is_renewed_in_place_before_it_expires(sasl_ssl: KafkaCluster) -> None:
    async with connect(sasl_ssl, joe(sasl_ssl)) as cluster:
        await cluster.metadata([])
        connection = await cluster.connection(1)
        until = asyncio.get_running_loop().time() + 5.0
        answers = 0
        while asyncio.get_running_loop().time() < until:
            await asyncio.gather(*(cluster.metadata([]) for _ in range(3)))
            answers += 1
            assert (await cluster.connection(1)) is connection
            await asyncio.sleep(0.02)
        assert answers > 20 and not connection.closed


async def test_mutual_tls_with_a_certificate_works_and_without_is_told(mutual: KafkaCluster) -> None:
    bare = KafkaSecurity("SSL", ca_file=str(mutual.ca_file))
    files = {"cert_file": str(mutual.client_cert_file), "key_file": str(mutual.client_key_file)}
    async with connect(mutual, replace(bare, **files)) as cluster:
        assert len((await cluster.metadata([])).brokers) == 1
    error = await refused(mutual, bare)
    assert "cert_file" in str(error)


async def test_records_pass_through_tls(mutual: KafkaCluster, names: Names, admission: CountingAdmission) -> None:
    topic = names.topic()
    await create_topic(mutual.internal_servers, topic)
    await asyncio.to_thread(produce_to, mutual.internal_servers, topic, 20_000, pad=500)
    security = KafkaSecurity(
        "SSL",
        ca_file=str(mutual.ca_file),
        cert_file=str(mutual.client_cert_file),
        key_file=str(mutual.client_key_file),
    )
    tp = TopicPartition(topic, 0)
    async with connect(mutual, security) as cluster, Fetcher(cluster, FetchOptions(), admission) as fetcher:
        fetcher.assign(tp, 0)
        assert offsets_of(await collect(fetcher, reached({tp: 20_000}))) == list(range(20_000))


async def test_large_batches_go_out_through_tls(mutual: KafkaCluster, names: Names, admission: CountingAdmission) -> None:
    source, target = TopicPartition(names.topic("s"), 0), TopicPartition(names.topic("t"), 0)
    for topic in (source.topic, target.topic):
        await create_topic(mutual.internal_servers, topic)
    settings = {"batch.size": 900_000, "linger.ms": 300}
    await asyncio.to_thread(produce_to, mutual.internal_servers, source.topic, 8000, pad=1000, settings=settings)
    security = KafkaSecurity(
        "SSL",
        ca_file=str(mutual.ca_file),
        cert_file=str(mutual.client_cert_file),
        key_file=str(mutual.client_key_file),
    )
    outcomes: list[Outcome] = []
    async with connect(mutual, security) as cluster, Fetcher(cluster, FetchOptions(), admission) as fetcher:
        channel = ProduceChannel(cluster, 1, ProduceOptions(), outcomes.extend)
        running = asyncio.create_task(channel.run())
        found = await list_offsets(cluster, {target: LATEST}, READ_COMMITTED)
        assert found[target].error is None
        fetcher.assign(source, 0)
        for part in await collect(fetcher, reached({source: 8000})):
            for at, header in headers(part.records):
                batch = bytearray(part.records[at : at + header.size])
                batch[:8] = bytes(8)
                channel.put(target, [OutgoingBatch(batch)])
        await eventually(lambda: channel.unanswered(target) == 0)
        assert all(outcome.stored for outcome in outcomes)
        fetcher.assign(target, 0)
        assert offsets_of(part for part in await collect(fetcher, reached({target: 8000}))) == list(range(8000))
        running.cancel()


async def test_missing_rights_are_named(sasl_ssl: KafkaCluster, names: Names, admission: CountingAdmission) -> None:
    topic = names.topic()
    await create_topic(sasl_ssl.internal_servers, topic)
    async with connect(sasl_ssl, joe(sasl_ssl)) as cluster:
        with pytest.raises(PermissionMissing, match=names.group()):
            await fetch_offsets(cluster, names.group(), require_stable=True)
        with pytest.raises(PermissionMissing, match="transactional id"):
            await TransactionalId(cluster, names.base).initialise()
        async with Fetcher(cluster, FetchOptions(max_wait_ms=100), admission) as fetcher:
            fetcher.assign(TopicPartition(topic, 0), 0)
            (part,) = await collect(fetcher, lambda got: len(got) > 0)
            assert part.error is KafkaCode.TOPIC_AUTHORIZATION_FAILED
    async with connect(sasl_ssl, replace(joe(sasl_ssl), user_name="admin", password="admin-secret")) as cluster:
        assert (await cluster.metadata([topic])).topics[topic].error is None
