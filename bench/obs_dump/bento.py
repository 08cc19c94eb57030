"""The peer: Bento with the settings that do it good (the same for every run; they are in the result)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from bench.common.bento import running
from bench.common.data import Case
from bench.common.watching import Measured, Watch
from bench.obs_dump.count import visible_bytes
from bench.obs_dump.stage import Stage
from smartconnect.sandbox.process import ServerProcess

OBJECT_BYTES: Final = 16 << 20
OBJECTS_AHEAD: Final = 3
BATCH_PERIOD_S: Final = 2


async def dump(stage: Stage, case: Case, bucket: Path, program: Path) -> Measured:
    """The whole topic into the bucket."""
    ahead = OBJECTS_AHEAD * OBJECT_BYTES // case.size
    async with started(stage, [case.topic], bucket.name, program, period_s=BATCH_PERIOD_S, checkpoint_limit=ahead) as server:
        watch = Watch(server.pid, stage.others, from_birth=True)
        return await watch.until(case.total_bytes, lambda: visible_bytes(bucket, last_newline=False))


@contextlib.asynccontextmanager
async def started(
    stage: Stage, topics: Sequence[str], bucket: str, program: Path, *, period_s: int, checkpoint_limit: int = 1 << 20
) -> AsyncIterator[ServerProcess]:
    """Bento dumping these topics: an object for each batch of OBJECT_BYTES or `period_s` seconds; at most `checkpoint_limit` records of a
    partition without an answer. Raises SandboxFailed."""
    settings = _SETTINGS.format(
        bootstrap=stage.kafka.bootstrap_servers, topics=json.dumps(list(topics)), group=f"bench-bento-{topics[0]}", bucket=bucket,
        region=stage.s3.region, endpoint=stage.s3.endpoint, object_bytes=OBJECT_BYTES, checkpoint=checkpoint_limit, period=period_s,
    )  # fmt: skip
    keys = {"BENCH_ACCESS_KEY": stage.s3.access_key, "BENCH_SECRET_KEY": stage.s3.secret_key}
    async with running(program, stage.folder / f"bento-{bucket}", settings, keys) as server:
        yield server


_SETTINGS: Final = """\
http: {{enabled: false}}
logger: {{level: WARN}}
input:
  kafka_franz:
    seed_brokers: ["{bootstrap}"]
    topics: {topics}
    consumer_group: {group}
    start_from_oldest: true
    checkpoint_limit: {checkpoint}
    commit_period: 1s
    fetch_max_bytes: 50MiB
    fetch_max_partition_bytes: 8MiB
    batching:
      byte_size: {object_bytes}
      period: {period}s
      processors:
        - archive: {{format: lines}}
output:
  aws_s3:
    bucket: "{bucket}"
    path: 'bento/${{! meta("kafka_topic") }}/${{! meta("kafka_partition") }}/${{! meta("kafka_offset") }}'
    endpoint: "{endpoint}"
    region: "{region}"
    force_path_style_urls: true
    max_in_flight: 8
    credentials:
      id: "${{BENCH_ACCESS_KEY}}"
      secret: "${{BENCH_SECRET_KEY}}"
"""
