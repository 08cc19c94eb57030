"""The peer: Bento with the settings that do it good (the same for every run; they are in the result). Built once, into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.obs_dump.data import Case
from bench.obs_dump.stage import Stage
from bench.obs_dump.watching import Measured, Watch
from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import install_once
from smartconnect.sandbox.prerequisites import Tool, ensure
from smartconnect.sandbox.process import ServerCommand, ServerProcess

VERSION: Final = "1.15.0"
OBJECT_BYTES: Final = 16 << 20
OBJECTS_AHEAD: Final = 3
BATCH_PERIOD_S: Final = 2
_SOURCE: Final = Path(__file__).with_name("go")
_BUILD_TIMEOUT_S: Final = 3600


def program() -> Path:
    """Build it if the cache lacks it (minutes of CPU). Blocks; use a thread."""

    def build(staging: Path) -> None:
        go = ensure(Tool.GO)[Tool.GO]
        source = staging / "source"
        source.mkdir()
        shutil.copy(_SOURCE / "main.go", source / "main.go")
        shutil.copy(_SOURCE / "go.mod.in", source / "go.mod")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -p=1 -trimpath"}
        for arguments in (["mod", "tidy"], ["build", "-o", str(staging / "bento"), "."]):
            done = subprocess.run(
                [go, *arguments], cwd=source, env=environment, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
            )
            if done.returncode != 0:
                raise SandboxFailed(f"Go could not build Bento {VERSION}:\n{done.stderr[-2000:]}")

    return install_once(f"bento/v{VERSION}", build) / "bento"


async def dump(stage: Stage, case: Case, bucket: Path, bento: Path) -> Measured:
    """The whole topic into the bucket."""
    folder = stage.folder / f"bento-{bucket.name}"
    folder.mkdir()
    settings = folder / "bento.yaml"
    settings.write_text(
        _SETTINGS.format(
            bootstrap=stage.kafka.bootstrap_servers, topic=case.topic, bucket=bucket.name, region=stage.s3.region,
            endpoint=stage.s3.endpoint, object_bytes=OBJECT_BYTES, checkpoint=OBJECTS_AHEAD * OBJECT_BYTES // case.size,
            period=BATCH_PERIOD_S,
        )
    )  # fmt: skip
    keys = {"BENCH_ACCESS_KEY": stage.s3.access_key, "BENCH_SECRET_KEY": stage.s3.secret_key}
    command = ServerCommand(
        f"Bento {VERSION}", (str(bento), "-c", str(settings)), folder, folder / "server.log", _at_once, environment=keys
    )
    server = ServerProcess(command)
    try:
        await server.start()
        watch = Watch(server.pid, stage.others, from_birth=True)
        measured = await watch.until_visible(bucket, case, last_newline=False)
        await server.stop()
    finally:
        await server.kill()
    return measured


async def _at_once(_log: str) -> bool:
    """The measurement begins with the process."""
    return True


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
