"""Progress as documented JSON (api.md §7): `null` means "not known", never 0."""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.control.phases import Advance
from smartconnect.control.progress_view import RATE_WINDOW_MS, ProgressView, UnitView
from smartconnect.domain.progress import Event, PartitionProgress
from smartconnect.domain.task import Kind, Reason


def progress_json(view: ProgressView) -> dict[str, object]:
    task = view.task
    return {
        "task_id": task.id,
        "task_name": task.name,
        "kind": task.kind.value,
        "status": view.status.value,
        "health": view.health,
        "run": task.run,
        "run_started_at": task.run_started_at if task.run else None,
        "as_of": view.as_of,
        "reason": _reason(view.reason),
        **_advance(view.advance),
        "counters": dict(view.counters),
        "throughput": _throughput(view.throughput),
        "lag_records": view.lag_records,
        "lag_ms": view.lag_ms,
        "lag_bytes": view.lag_bytes,
        "units": [_unit(unit) for unit in view.units],
        "partitions": [_partition(unit, row, task.kind) for unit, row in view.partitions],
        "partitions_total": view.partitions_total,
        "events": [_event(event) for event in view.events],
    }


def _reason(reason: Reason | None) -> dict[str, object] | None:
    if reason is None:
        return None
    return {
        "code": reason.code,
        "message": reason.message,
        "unit": reason.unit,
        "since": reason.since,
        "attempts": reason.attempts,
        "next_try_at": reason.next_try_at,
    }


def _advance(advance: Advance) -> dict[str, object]:
    return {
        "phase": advance.phase,
        "phase_started_at": advance.phase_started_at,
        "percent": advance.percent,
        "eta_ms": advance.eta_ms,
    }


def _throughput(rates: Mapping[str, float]) -> dict[str, object]:
    return {"window_ms": RATE_WINDOW_MS, **rates}


def _unit(unit: UnitView) -> dict[str, object]:
    progress = unit.progress
    position = progress.position if progress is not None else None
    return {
        "name": unit.name,
        "direction": progress.direction if progress is not None else None,
        "state": unit.state.value,
        "owner": unit.owner,
        "epoch": unit.epoch,
        "position": dict(position) if position is not None else None,
        "reported_at": unit.reported_at,
        "reason": _reason(unit.reason),
        **_advance(unit.advance),
        "counters": dict(progress.counters) if progress is not None else {},
        "throughput": _throughput(unit.throughput),
        "lag_records": progress.lag_records if progress is not None else None,
        "lag_ms": progress.lag_ms if progress is not None else None,
        "lag_bytes": progress.lag_bytes if progress is not None else None,
    }


def _partition(unit: str, row: PartitionProgress, kind: Kind) -> dict[str, object]:
    content: dict[str, object] = {
        "direction": row.direction,
        "topic": row.topic,
        "partition": row.partition,
        "target": row.target,
        "unit": unit,
        "state": row.state.value,
        "start_offset": row.start_offset,
        "position": row.position,
        "target_position": row.target_position,
        "end_offset": row.end_offset,
        "lag_records": row.lag_records,
        "lag_ms": row.lag_ms,
        "records_per_s": row.records_per_s,
        "bytes_per_s": row.bytes_per_s,
        "gaps": row.gaps,
        "reason": _reason(row.reason),
    }
    if kind is Kind.KAFKA_REPLICATION:
        content["held_by_open_transaction"] = row.held_by_open_transaction
    return content


def _event(event: Event) -> dict[str, object]:
    return {"at": event.at, "level": event.level.value, "code": event.code, "message": event.message, "unit": event.unit}
