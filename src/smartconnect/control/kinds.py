"""Which kind of task a pair of types means, and whether this service runs it (api.md §4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from smartconnect.domain.fields import Text, quoted, read_object
from smartconnect.domain.problems import Problem
from smartconnect.domain.task import NO_TYPE, Kind

PAIRS: Mapping[tuple[str, str], Kind] = {
    (NO_TYPE, "OBS_SINK"): Kind.OBS_DUMP,
    ("KAFKA_REPLICATOR_SOURCE", NO_TYPE): Kind.KAFKA_REPLICATION,
    ("REDIS_REPLICATOR_SOURCE", "REDIS_REPLICATOR_SINK"): Kind.REDIS_REPLICATION,
}

SIDES: Mapping[str, tuple[Kind, str]] = {
    "OBS_SINK": (Kind.OBS_DUMP, "sink_task"),
    "KAFKA_REPLICATOR_SOURCE": (Kind.KAFKA_REPLICATION, "source_task"),
    "REDIS_REPLICATOR_SOURCE": (Kind.REDIS_REPLICATION, "source_task"),
    "REDIS_REPLICATOR_SINK": (Kind.REDIS_REPLICATION, "sink_task"),
}
"""By a type that is not NONE: its kind, and the side that has its fields."""

TYPE_FIELDS = (Text("source_type"), Text("sink_type"))


def read_types(body: Mapping[str, object]) -> tuple[tuple[str, str], list[Problem]]:
    """(source_type, sink_type), absent ones NONE, and what is wrong with the two fields in themselves."""
    reading = read_object("", {field.name: body.get(field.name) for field in TYPE_FIELDS}, TYPE_FIELDS)
    return (reading.text("source_type") or NO_TYPE, reading.text("sink_type") or NO_TYPE), reading.problems


def kind_problem(pair: tuple[str, str], runnable: Collection[Kind]) -> Problem | None:
    """Why a pair cannot be created here; None if it can."""
    kind = PAIRS.get(pair)
    if kind in runnable:
        return None
    field = "source_type" if pair[0] != NO_TYPE else "sink_type"
    if kind is None:
        what = f"{quoted(pair[0])} to {quoted(pair[1])} is no kind of task"
    else:
        what = f"{kind.value.replace('_', ' ')} is not available in this version"
    return Problem(field, f"{what}; {_available(runnable)}")


def side_problem(type_name: str | None, runnable: Collection[Kind]) -> Problem | None:
    """Why the side of this type cannot be validated here; None if it can."""
    kind, _ = SIDES.get(type_name or "", (None, ""))
    if kind in runnable:
        return None
    if kind is None:
        what = "is required" if type_name is None else f"{quoted(type_name)} is no type that can be validated"
    else:
        what = f"{kind.value.replace('_', ' ')} is not available in this version"
    return Problem("type", f"{what}; {_available(runnable)}")


def _available(runnable: Collection[Kind]) -> str:
    pairs = [f"{source} to {sink}" for (source, sink), kind in PAIRS.items() if kind in runnable]
    return f"available: {', '.join(pairs)}"
