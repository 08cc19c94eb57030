from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.kafka import KafkaOptions, kafka_cluster
from tests.support.ids import count_ids
from tests.support.records import RecordWriter, WriterOptions, read_topic
from tests.support.topics import create_topic
from tests.support.waiting import eventually

SCRAM = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}


def brokers(servers: str) -> int:
    return len(AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=10).brokers)


def in_sync(servers: str, topic: str) -> list[int]:
    found = AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(topic, timeout=10).topics[topic]
    return [len(partition.isrs) for partition in found.partitions.values()]


async def written_and_read(servers: str, topic: str, client: dict[str, str]) -> None:
    writer = RecordWriter(servers, topic, options=WriterOptions(client=client))
    await writer.write(10)
    records = await read_topic(servers, topic, client=client)
    count_ids([[record.value or b"" for record in records[0]]], writer.expected).assert_exactly_once()


async def test_sasl_ssl_with_an_authorizer_lets_in_who_may_and_nobody_else() -> None:
    options = KafkaOptions(
        security="SASL_SSL",
        scram_users={"admin": "admin-secret", "alice": "alice-secret"},
        plain_users={"bob": "bob-secret"},
        authorizer=True,
    )
    async with kafka_cluster(options) as cluster:
        tls = {"ssl.ca.location": str(cluster.ca_file)}
        admin = {**SCRAM, **tls, "sasl.username": "admin", "sasl.password": "admin-secret"}
        await create_topic(cluster.bootstrap_servers, "orders", client=admin)
        await written_and_read(cluster.bootstrap_servers, "orders", admin)

        alice = {**admin, "sasl.username": "alice", "sasl.password": "alice-secret"}
        with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
            await written_and_read(cluster.bootstrap_servers, "orders", alice)
        bob = {**alice, "sasl.mechanism": "PLAIN", "sasl.username": "bob", "sasl.password": "bob-secret"}
        with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
            await written_and_read(cluster.bootstrap_servers, "orders", bob)

        rights = ("--bootstrap-server", cluster.internal_servers, "--add", "--allow-principal", "User:bob")
        await cluster.run_tool("org.apache.kafka.tools.AclCommand", *rights, "--operation", "All", "--topic", "orders")
        await cluster.run_tool("org.apache.kafka.tools.AclCommand", *rights, "--operation", "All", "--cluster")
        await cluster.run_tool("org.apache.kafka.tools.AclCommand", *rights, "--operation", "All", "--group", "*")
        writer = RecordWriter(cluster.bootstrap_servers, "orders", options=WriterOptions(tag="bob", client=bob))
        await writer.write(5)


async def test_a_broker_starts_from_the_archive_of_classes() -> None:
    async with kafka_cluster() as cluster:
        mapped = Path(f"/proc/{cluster.nodes[0].pid}/maps").read_text()
        assert f"kafka-classes/{cluster.options.version}/" in mapped


async def test_mutual_tls_knows_the_client_by_its_certificate() -> None:
    options = KafkaOptions(security="SSL", authorizer=True, properties={"super.users": "User:CN=client;User:ANONYMOUS"})
    async with kafka_cluster(options) as cluster:
        client = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(cluster.ca_file),
            "ssl.certificate.location": str(cluster.client_cert_file),
            "ssl.key.location": str(cluster.client_key_file),
        }
        await create_topic(cluster.bootstrap_servers, "orders", client=client)
        await written_and_read(cluster.bootstrap_servers, "orders", client)


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_three_nodes_lose_one_and_get_it_back() -> None:
    async with kafka_cluster(KafkaOptions(nodes=3, racks=("a", "b", "c"))) as cluster:
        assert brokers(cluster.bootstrap_servers) == 3
        await create_topic(cluster.bootstrap_servers, "orders", partitions=3, replicas=3, config={"min.insync.replicas": "2"})
        writer = RecordWriter(cluster.bootstrap_servers, "orders", partitions=3)
        await writer.write(10)
        await cluster.nodes[2].kill()
        await writer.write(10)
        await cluster.nodes[2].start()
        await eventually(lambda: in_sync(cluster.internal_servers, "orders") == [3, 3, 3], 60)
        await cluster.nodes[1].stop()
        await writer.write(10)
        records = await read_topic(cluster.bootstrap_servers, "orders")
        values = [[record.value or b"" for record in partition] for partition in records.values()]
        count_ids(values, writer.expected).assert_exactly_once()


async def test_frozen_node_answers_again_when_it_is_thawed() -> None:
    async with kafka_cluster() as cluster:
        await create_topic(cluster.bootstrap_servers, "orders")
        writer = RecordWriter(cluster.bootstrap_servers, "orders")
        await writer.write(1)
        cluster.nodes[0].freeze()
        writing = asyncio.create_task(writer.write(1))
        done, _ = await asyncio.wait([writing], timeout=1.0)
        assert not done
        cluster.nodes[0].thaw()
        await writing


@pytest.mark.timeout(240)
@pytest.mark.long
@pytest.mark.parametrize("version", ["3.9.1", "3.3.2"])
async def test_older_kafka_starts_with_its_own_way_of_formatting(version: str) -> None:
    async with kafka_cluster(KafkaOptions(version=version)) as cluster:
        await create_topic(cluster.bootstrap_servers, "orders")
        await written_and_read(cluster.bootstrap_servers, "orders", {})
        await cluster.nodes[0].kill()
        await cluster.nodes[0].start()
        assert len((await read_topic(cluster.bootstrap_servers, "orders"))[0]) == 10


async def test_folder_is_removed_afterwards_unless_it_is_the_callers(tmp_path: Path) -> None:
    async with kafka_cluster(KafkaOptions(folder=tmp_path / "mine")) as mine:
        pid = mine.nodes[0].pid
    assert (tmp_path / "mine" / "node-1" / "server.log").exists()
    assert not Path(f"/proc/{pid}").exists()


async def test_broken_property_is_reported_with_the_end_of_the_log() -> None:
    with pytest.raises(SandboxFailed, match=r"num\.io\.threads"):
        async with kafka_cluster(KafkaOptions(properties={"num.io.threads": "many"})):
            pass
