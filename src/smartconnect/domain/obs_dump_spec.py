"""The specification of an OBS dump: what `sink_task` and `options` mean once validated (api.md §4.1, obs-dump.md §5–§7, §11)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.secret import Secret


class OnLostUpload(enum.StrEnum):
    REDELIVER = "redeliver"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class ObsDumpOptions:
    """Settings of `[obs_dump]` that one task may override."""

    commit_interval_ms: int = 100
    refresh_interval_s: float = 10
    max_object_bytes: int = 1 << 30
    jitter: float = 0.1
    drain_timeout_s: float = 30
    part_integrity: Literal["auto", "crc32c", "md5", "none"] = "auto"
    on_lost_upload: OnLostUpload = OnLostUpload.REDELIVER
    on_gap: OnGap = OnGap.CONTINUE
    janitor_min_age_s: int = 3600


@dataclass(frozen=True, slots=True)
class ObsDumpSpec:
    """One validated dump. `time_format` is a prefix of yyyy/MM/dd/HH/mm or "" (no time directory); delimiters are bytes;
    `path` has its outer slashes stripped; exactly one of `topics`, `topics_regex` is given."""

    topics: tuple[str, ...]
    topics_regex: str | None
    access_key: Secret
    secret_key: Secret
    bucket: str
    path: str
    strategy: ConsumerStrategy
    deliver_time_interval_s: int
    time_format: str
    timezone: str
    record_delimiter: bytes
    store_keys: bool
    kv_delimiter: bytes
    part_size: int
    flush_size: int
    task_num: int
    options: ObsDumpOptions = field(default_factory=ObsDumpOptions)
