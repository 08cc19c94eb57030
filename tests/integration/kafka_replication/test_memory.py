"""What a unit holds of its worker: all that waits for a target counts in the budget, and everything is given back in the end."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.engine.unit import StopSignal
from smartconnect.jobs.kafka_replication.partition import FLIGHT_BYTES
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

_PARTITIONS = 200
_EACH = 200
"""So little in a partition that nothing is coalesced."""


async def test_batches_of_one_record_count_with_what_is_known_of_them(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, servers, total = names.topic("orders"), peer_kafka.bootstrap_servers, _PARTITIONS * _EACH
    await create_topic(servers, topic, partitions=_PARTITIONS)
    await RecordWriter(servers, topic, _PARTITIONS, WriterOptions(client={"batch.num.messages": 1})).write(_EACH)
    unit = UnitUnderTest(proxied_kafka.bootstrap_servers, spec_of(servers, [topic]))
    resources = unit.resources()
    held = proxied_kafka.hold_request(ApiKey.PRODUCE, count=None)
    async with unit.running(resources) as runner:
        await eventually(lambda: runner.progress().counters.get("records_in") == total, 25, what="all are read")
        assert runner.progress().counters["batches_passed"] == total
        assert resources.budget.used >= total * FLIGHT_BYTES
        held.release()
        proxied_kafka.forget_rules()
        await caught_up(runner)
        await eventually(lambda: resources.budget.used < total * FLIGHT_BYTES // 4, what="it is given back")
        await eventually_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))


@pytest.mark.parametrize("turns", [3, 5])
async def test_an_incarnation_that_is_cancelled_while_it_ends_keeps_nothing(
    proxied_kafka: KafkaProxy, peer_kafka: KafkaCluster, names: Names, turns: int
) -> None:
    """Fenced, and while it lets go the registry says that it belongs to somebody else: so many turns of the loop later."""
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic)
    await RecordWriter(servers, topic, 1).write(10)
    unit = UnitUnderTest(proxied_kafka.bootstrap_servers, spec_of(servers, [topic]))
    resources = unit.resources()
    runner = unit.runner(resources)
    life = asyncio.create_task(runner.run(StopSignal()))
    await caught_up(runner)
    assert proxied_kafka.connections
    life.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    resources.budget.join()
    assert (resources.budget.used, resources.budget.guarantee) == (0, resources.budget.total // 2), "it still has a share"
    await eventually(lambda: proxied_kafka.connections == 0, 10, what="its connections are closed")
