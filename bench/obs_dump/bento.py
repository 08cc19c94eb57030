"""The peer: Bento with the settings that do it good (the same for every run; they are in the result)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.common.bento import running
from bench.common.data import Case
from bench.common.watching import Measured, Watch
from bench.obs_dump.count import visible_bytes
from bench.obs_dump.stage import Stage

OBJECT_BYTES: Final = 16 << 20
OBJECTS_AHEAD: Final = 3
BATCH_PERIOD_S: Final = 2


async def dump(stage: Stage, case: Case, bucket: Path, bento: Path) -> Measured:
    """The whole topic into the bucket."""
    settings = _SETTINGS.format(
        bootstrap=stage.kafka.bootstrap_servers, topic=case.topic, bucket=bucket.name, region=stage.s3.region,
        endpoint=stage.s3.endpoint, object_bytes=OBJECT_BYTES, checkpoint=OBJECTS_AHEAD * OBJECT_BYTES // case.size,
        period=BATCH_PERIOD_S,
    )  # fmt: skip
    keys = {"BENCH_ACCESS_KEY": stage.s3.access_key, "BENCH_SECRET_KEY": stage.s3.secret_key}
    async with running(bento, stage.folder / f"bento-{bucket.name}", settings, keys) as server:
        watch = Watch(server.pid, stage.others, from_birth=True)
        return await watch.until(case.total_bytes, lambda: visible_bytes(bucket, last_newline=False))


_SETTINGS: Final = """\
http: {{enabled: false}}
logger: {{level: WARN}}
input:
  kafka_franz:
    seed_brokers: ["{bootstrap}"]
    topics: ["{topic}"]
    consumer_group: bench-bento-{topic}
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
