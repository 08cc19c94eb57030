"""A dump's spec with the defaults of a task, for tests that change what they are about."""

from __future__ import annotations

from dataclasses import replace

from smartconnect.domain.obs_dump_spec import ObsDumpOptions, ObsDumpSpec
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.secret import Secret


def a_spec(**changes: object) -> ObsDumpSpec:
    spec = ObsDumpSpec(
        topics=("orders",),
        topics_regex=None,
        access_key=Secret("AK"),
        secret_key=Secret("SK"),
        bucket="lake",
        path="dump",
        strategy=ConsumerStrategy.EARLIEST,
        deliver_time_interval_s=300,
        time_format="yyyy/MM/dd/HH/mm",
        timezone="Asia/Chongqing",
        record_delimiter=b"\n",
        store_keys=False,
        kv_delimiter=b":",
        part_size=5 << 20,
        flush_size=1_000_000,
        task_num=1,
        options=ObsDumpOptions(),
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # names are checked by replace itself
