"""A dump under fire, against the real Kafka and the real S3 server: processes killed and frozen at every step of the protocol,
answers lost, storms, cuts, while producers write. This is the short form, in which every fault is aimed, so that each row of the crash
table is hit whatever chance does; `test_dump_chaos_long.py` leaves more to chance.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.chaos.crashes import CRASHES
from tests.integration.chaos.run import PARTITIONS, Stage, run
from tests.integration.chaos.trouble import TROUBLE
from tests.integration.chaos.zombies import zombie_at_every_step

_SEED = 1


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_no_record_is_lost_or_twice_whatever_dies_freezes_or_breaks(
    tmp_path: Path, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=PARTITIONS)
    stage = Stage(tmp_path, kafka, s3, topic, bucket, _SEED, print)
    await run(stage, lambda _random: (*CRASHES, zombie_at_every_step, *TROUBLE))
