"""The whole protocol of a dump on the other Kafka versions that we promise."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.domain.errors import Fenced
from smartconnect.kafka.admin import NewTopic, create_topics, describe_cluster
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.groups import OffsetCommit, fetch_offsets
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, epoch_ends, list_offsets
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaOptions, kafka_cluster
from tests.integration.kafka.conftest import CountingAdmission, collect, offsets_of, produce_to, reached
from tests.support.waiting import eventually


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.9.1", "3.3.2"])
async def test_older_kafka_serves_the_whole_protocol(version: str, admission: CountingAdmission) -> None:
    async with (
        kafka_cluster(KafkaOptions(version=version)) as server,
        Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
        Fetcher(cluster, FetchOptions(max_wait_ms=100, session_above=2), admission) as fetcher,
    ):
        assert await create_topics(cluster, [NewTopic("t", 4)]) == {"t": None}
        parts = [TopicPartition("t", number) for number in range(4)]
        for tp in parts:
            fetcher.assign(tp, 0)
            await asyncio.to_thread(produce_to, server.bootstrap_servers, "t", 100, partition=tp.partition)
        got = await collect(fetcher, reached(dict.fromkeys(parts, 100)))
        assert all(offsets_of(part for part in got if part.tp == tp) == list(range(100)) for tp in parts)

        assert (await list_offsets(cluster, {parts[0]: LATEST}, READ_COMMITTED))[parts[0]].offset == 100
        assert (await epoch_ends(cluster, {parts[0]: 0}))[parts[0]].end_offset == 100
        assert (await describe_cluster(cluster)).controller == 1
        await transactions(cluster, parts[0])


async def transactions(cluster: Cluster, tp: TopicPartition) -> None:
    owner = TransactionalId(cluster, "smartconnect.versions")
    await owner.initialise()
    for offset in (1, 2):
        await owner.add_offsets("g")
        await owner.commit_offsets("g", {tp: OffsetCommit(offset, 0, "m")})
        await owner.end(commit=True)
    await owner.renew()
    await owner.add_offsets("g")
    await owner.commit_offsets("g", {tp: OffsetCommit(3)})
    with pytest.raises(Fenced):
        await owner.renew()  # over an open transaction Kafka before 4.0 cannot tell us from a stranger
    await owner.initialise()
    await TransactionalId(cluster, owner.name).initialise()
    with pytest.raises(Fenced):
        await owner.renew()

    async def decided() -> bool:
        found = await fetch_offsets(cluster, "g", require_stable=True, partitions=[tp])
        return tp in found.committed and found.committed[tp].offset == 2

    await eventually(decided)
