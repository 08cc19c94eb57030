"""The shape of the progress answer for the OpenAPI document (api.md §7). Times: epoch ms; null: not known."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from smartconnect.api.schemas_common import Answer, Status


class Reason(Answer):
    code: str
    message: str
    unit: str | None
    since: int
    attempts: int
    next_try_at: int | None


class Throughput(Answer):
    window_ms: int
    records_per_s: float
    bytes_in_per_s: float
    bytes_out_per_s: float


class Advancing(Answer):
    phase: str | None
    phase_started_at: int | None
    percent: Annotated[float, Field(ge=0, le=100)] | None
    eta_ms: int | None


class Unit(Advancing):
    name: str
    direction: Literal["pull", "push"] | None
    state: Literal["unassigned", "starting", "running", "retrying", "draining", "stopped", "failed"]
    owner: str
    epoch: int
    position: dict[str, Any] | None
    reported_at: int | None
    reason: Reason | None
    counters: dict[str, int]
    throughput: Throughput
    lag_records: int | None
    lag_ms: int | None
    lag_bytes: int | None


class Partition(Answer):
    """`held_by_open_transaction`: of Kafka replication only."""

    direction: Literal["pull", "push"] | None
    topic: str
    partition: int
    target: str
    unit: str
    state: Literal["moving", "idle", "blocked", "unassigned"]
    start_offset: int | None
    position: int | None
    target_position: int | None
    end_offset: int | None
    lag_records: int | None
    lag_ms: int | None
    records_per_s: float | None
    bytes_per_s: float | None
    gaps: int
    reason: Reason | None
    held_by_open_transaction: Annotated[int | None, Field(default=None)]


class Event(Answer):
    at: int
    level: Literal["info", "warning", "error"]
    code: str
    message: str
    unit: str | None


class Progress(Advancing):
    """Made from the units' last reports."""

    task_id: str
    task_name: str
    kind: Literal["obs_dump", "kafka_replication", "redis_replication"]
    status: Status
    health: Literal["ok", "retrying", "blocked", "unowned", "failed", "stopped"]
    run: int
    run_started_at: int | None
    as_of: int
    reason: Reason | None
    counters: dict[str, int]
    throughput: Throughput
    lag_records: int | None
    lag_ms: int | None
    lag_bytes: int | None
    units: list[Unit]
    partitions: list[Partition]
    partitions_total: int
    events: Annotated[list[Event], Field(max_length=50)]
