"""MirrorMaker 2's topics, read by the tools that exist for them: its own classes from the sandbox's jars (kafka-replication.md §15.11)."""

from __future__ import annotations

import asyncio
import shutil
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.jobs.kafka_replication.mm2 import Checkpoints, Mm2Topic, OffsetSyncs, beat, checkpoints_topic, offset_syncs_topic
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint, OffsetSync
from smartconnect.kafka.admin import Resource, ResourceKind, describe_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.records import read_topic
from tests.support.services import Names
from tests.support.topics import delete_topics
from tests.support.waiting import eventually

TOOL = """
import java.time.Duration;
import java.util.Map;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

public class Translate {
    public static void main(String[] args) throws Exception {
        RemoteClusterUtils.translateOffsets(Map.of("bootstrap.servers", args[0]), args[1], args[2], Duration.ofSeconds(30))
            .forEach((tp, offset) -> System.out.println(tp + "=" + offset.offset() + "/" + offset.metadata()));
        System.out.println("hops " + RemoteClusterUtils.replicationHops(Map.of("bootstrap.servers", args[0]), args[1]));
    }
}
"""


@pytest.fixture
async def cluster(kafka: KafkaCluster) -> AsyncIterator[Cluster]:
    async with Cluster(kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        yield cluster


@pytest.fixture
def alias(names: Names) -> str:
    """Of the source cluster; no dots, which separate aliases."""
    return names.base.replace(".", "-")[-20:]


async def test_checkpoints_and_heartbeats_are_read_by_mirrormakers_own_client(
    kafka: KafkaCluster, cluster: Cluster, alias: str, tmp_path: Path
) -> None:
    if shutil.which("java") is None:
        pytest.fail("the sandbox needs java")
    orders, bills = TopicPartition(f"{alias}.orders", 3), TopicPartition(f"{alias}.bills", 0)
    written = Checkpoints(Mm2Topic(cluster, checkpoints_topic(alias), None))
    await written.write([Checkpoint("g", orders, 10, 7, "mine"), Checkpoint("other", orders, 1, 1, "")], 1_700_000_000_000)
    await written.write([Checkpoint("g", orders, 20, 17, "mine"), Checkpoint("g", bills, 5, 5, "")], 1_700_000_000_000)
    await beat(Mm2Topic(cluster, f"{alias}.heartbeats", None), alias, "here", 1_700_000_000_000)
    source = tmp_path / "Translate.java"
    source.write_text(TOOL)
    tool = await asyncio.create_subprocess_exec(
        "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", kafka.classpath, str(source), kafka.bootstrap_servers, alias, "g",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(tool.communicate(), 120)
    assert tool.returncode == 0, err.decode()[-2000:]
    lines = [line for line in out.decode().splitlines() if "=" in line or line.startswith("hops")]
    assert sorted(lines) == sorted([f"{orders}=17/mine", f"{bills}=5/", "hops 1"])
    await delete_topics(kafka.bootstrap_servers, [checkpoints_topic(alias), f"{alias}.heartbeats"])


async def test_only_what_is_new_is_written_and_a_deleted_topic_is_made_again(
    kafka: KafkaCluster, cluster: Cluster, alias: str
) -> None:
    name = checkpoints_topic(alias)
    checkpoint = Checkpoint("g", TopicPartition("orders", 0), 10, 7, "")
    written = Checkpoints(Mm2Topic(cluster, name, 1))
    for _ in range(3):
        await written.write([checkpoint, Checkpoint("g", TopicPartition("orders", 1), 1, 1, "m" * 40_000)], 1)
    assert [record.value for record in (await read_topic(kafka.bootstrap_servers, name))[0]] == [checkpoint.value()]
    resource = Resource(ResourceKind.TOPIC, name)
    configs = (await describe_configs(cluster, [resource]))[resource]
    assert isinstance(configs, dict) and configs["cleanup.policy"].value == "compact"
    await delete_topics(kafka.bootstrap_servers, [name])

    async def is_gone() -> bool:
        return (await cluster.metadata([name])).topics[name].error is not None

    await eventually(is_gone)
    again = Checkpoint("g", TopicPartition("orders", 0), 11, 8, "")
    await written.write([again], 1)
    assert [record.value for record in (await read_topic(kafka.bootstrap_servers, name))[0]] == [again.value()]
    await delete_topics(kafka.bootstrap_servers, [name])


async def test_offset_syncs_go_out_at_most_once_a_second_and_the_newest_wins(
    kafka: KafkaCluster, cluster: Cluster, alias: str
) -> None:
    syncs, name = OffsetSyncs(Mm2Topic(cluster, offset_syncs_topic(alias), None)), offset_syncs_topic(alias)
    orders = TopicPartition("orders", 0)
    for now_ms, upstream in ((10_000, 1), (10_500, 2), (10_900, 3), (11_000, 4), (12_500, 4), (13_000, 5)):
        syncs.noted(OffsetSync(orders, upstream, upstream + 100))
        await syncs.write(now_ms)
    values = [struct.unpack(">qq", record.value or b"") for record in (await read_topic(kafka.bootstrap_servers, name))[0]]
    assert values == [(1, 101), (4, 104), (5, 105)]
    await delete_topics(kafka.bootstrap_servers, [name])
