"""The long form of the chaos run, behind `make chaos`: a hundred rounds, aimed faults and random ones in random order, on a Kafka of its
own whose broker dies as well. The seed is printed; `SMARTCONNECT_CHAOS_SEED` plays it again, `SMARTCONNECT_CHAOS_ROUNDS` shortens it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from random import Random

import pytest

from smartconnect.sandbox.kafka import kafka_cluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.chaos.crashes import CRASHES, Play
from tests.integration.chaos.randomly import RANDOM
from tests.integration.chaos.run import PARTITIONS, Stage, run
from tests.integration.chaos.trouble import TROUBLE, broker_restart, resets
from tests.integration.chaos.zombies import ZOMBIES, zombie_at_every_step
from tests.support.topics import create_topic

_TOPIC = "orders"
_ONCE: tuple[Play, ...] = (*CRASHES, zombie_at_every_step, *TROUBLE, resets, broker_restart)
_AT_LEAST = len(_ONCE) + len(RANDOM)


@pytest.mark.chaos
@pytest.mark.long
@pytest.mark.timeout(7000)
async def test_no_record_is_lost_or_twice_in_a_hundred_rounds(
    tmp_path: Path, s3: S3Server, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    seed = int(os.environ.get("SMARTCONNECT_CHAOS_SEED") or secrets.randbits(32))
    async with kafka_cluster() as cluster:
        await create_topic(cluster.bootstrap_servers, _TOPIC, partitions=PARTITIONS)
        await run(Stage(tmp_path, cluster, s3, _TOPIC, bucket, seed, say), _plays)


def _plays(random: Random) -> list[Play]:
    """Each once, so that no row depends on chance; then, half of the time, deaths and freezes at random moments."""
    rounds = max(_AT_LEAST, int(os.environ.get("SMARTCONNECT_CHAOS_ROUNDS", "100")))
    plays = [*_ONCE, *RANDOM]
    aimed: tuple[Play, ...] = (*_ONCE, *ZOMBIES)
    plays += [random.choice(random.choice((aimed, RANDOM))) for _ in range(rounds - len(plays))]
    random.shuffle(plays)
    return plays
