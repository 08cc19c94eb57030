"""An incarnation lets go of its worker whole, also when it is cancelled in the midst of that."""

from __future__ import annotations

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.support.dump_unit import DumpUnit, caught_up, dump_spec
from tests.support.records import RecordWriter


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8])
async def test_an_incarnation_that_is_cancelled_while_it_ends_keeps_no_memory(
    kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic, turns: int
) -> None:
    """Fenced, and while it lets go the registry says that it belongs to somebody else: so many turns of the loop later."""
    topic = await make_topic(partitions=1)
    await RecordWriter(kafka.bootstrap_servers, topic, 1).write(10)
    unit = DumpUnit(kafka.bootstrap_servers, s3.endpoint, s3.region, dump_spec(s3, bucket, [topic], ObsDumpOptions()))
    async with unit.killed_while_it_ends(turns) as (runner, resources):
        await caught_up(runner, 10)
    resources.budget.join()
    assert (resources.budget.used, resources.budget.guarantee) == (0, resources.budget.total // 2), "it still has a share"
