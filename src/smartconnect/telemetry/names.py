"""Every metric of the service: name, kind, labels, help. One place, so that a name is written once and the reference is generated
from here. All values are in base units (seconds, bytes, records); the label `process` is added where they are rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric, equal to itself alone. A counter's name ends in "_total". `buckets`: the upper bounds of a histogram, in order, without
    the infinite one."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> Mapping[str, tuple[str, ...]]:
        """The names that its samples have, with the labels of each."""
        if self.kind != "histogram":
            return {self.name: self.labels}
        return {f"{self.name}_bucket": (*self.labels, "le"), f"{self.name}_sum": self.labels, f"{self.name}_count": self.labels}


LOOP_LAG: Final = Metric("smartconnect_loop_lag_seconds", "gauge", "Longest time the event loop was held, in the last 10 s.")
REGISTRY_UNREACHABLE: Final = Metric(
    "smartconnect_registry_unreachable_seconds", "gauge", "How long the registry has not answered; 0 when it does."
)
SETTINGS_INFO: Final = Metric("smartconnect_settings_info", "gauge", "Always 1; the hash of the settings in use.", ("hash",))
SETTINGS_REJECTED: Final = Metric(
    "smartconnect_settings_rejected", "gauge", "1 while the settings file is bad and the old ones are used."
)
RESIDENT_BYTES: Final = Metric("smartconnect_resident_bytes", "gauge", "Resident memory of the process.")
CPU_SECONDS: Final = Metric("smartconnect_cpu_seconds_total", "counter", "CPU time of the process, user and system.")
WORKER_UP: Final = Metric("smartconnect_worker_up", "gauge", "1 while the process answers its heartbeat.")
WORKER_STARTS: Final = Metric("smartconnect_process_starts_total", "counter", "How often the parent started this process.")
WORKER_BUCKETS: Final = Metric("smartconnect_worker_buckets", "gauge", "How many shares of the slots the worker holds.")
UNITS: Final = Metric("smartconnect_units", "gauge", "Units of this worker by state.", ("state",))
UNIT_COUNTER: Final = Metric(
    "smartconnect_unit_counter_total", "counter", "Counters of a unit in this run, as in progress.", ("task", "unit", "name")
)
UNIT_LAG_RECORDS: Final = Metric(
    "smartconnect_unit_lag_records",
    "gauge",
    "Records that are not in the target yet: from the position to the log's end.",
    ("task", "unit"),
)
UNIT_LAG_SECONDS: Final = Metric(
    "smartconnect_unit_lag_seconds", "gauge", "Age of the oldest record that is not in the target yet.", ("task", "unit")
)
UNIT_ERRORS: Final = Metric(
    "smartconnect_unit_errors_total", "counter", "Incarnations that ended with an error.", ("task", "unit", "code")
)
INCARNATIONS: Final = Metric("smartconnect_incarnations_total", "counter", "Incarnations begun.", ("task", "unit"))
PLANNING_ERRORS: Final = Metric("smartconnect_planning_errors_total", "counter", "Attempts to plan that failed.", ("task", "code"))
RECONCILE_SECONDS: Final = Metric("smartconnect_reconcile_seconds", "gauge", "Duration of the last look at the registry.")
REPORT_SECONDS: Final = Metric("smartconnect_report_seconds", "gauge", "Duration of the last report to the registry.")

ENGINE_METRICS: Final = (
    LOOP_LAG,
    REGISTRY_UNREACHABLE,
    SETTINGS_INFO,
    SETTINGS_REJECTED,
    RESIDENT_BYTES,
    CPU_SECONDS,
    WORKER_UP,
    WORKER_STARTS,
    WORKER_BUCKETS,
    UNITS,
    UNIT_COUNTER,
    UNIT_LAG_RECORDS,
    UNIT_LAG_SECONDS,
    UNIT_ERRORS,
    INCARNATIONS,
    PLANNING_ERRORS,
    RECONCILE_SECONDS,
    REPORT_SECONDS,
)

SHORT_TIMES: Final = (0.01, 0.1, 1.0, 10.0)
"""Few, because each is a line of every heartbeat."""

MEMORY_USED: Final = Metric(
    "smartconnect_memory_budget_used_bytes", "gauge", "Bytes in use of the worker's budget for this kind of task.", ("kind",)
)
MEMORY_LIMIT: Final = Metric(
    "smartconnect_memory_budget_bytes", "gauge", "The worker's budget for this kind of task, in bytes.", ("kind",)
)
DUMP_CUTS: Final = Metric(
    "smartconnect_dump_objects_total", "counter", "Objects that ended, by the reason of the cut.", ("task", "cause")
)
DUMP_PENDING: Final = Metric(
    "smartconnect_dump_uploads_pending", "gauge", "Uploads that a position names and that are not visible yet.", ("task", "unit")
)
DUMP_OLDEST: Final = Metric(
    "smartconnect_dump_oldest_open_object_seconds", "gauge", "Age of the oldest open object.", ("task", "unit")
)
DUMP_COMMIT: Final = Metric(
    "smartconnect_dump_commit_seconds", "histogram", "From the begin of a commit to its acknowledgement.", ("task",), SHORT_TIMES
)
DUMP_PUBLISH: Final = Metric(
    "smartconnect_dump_publish_seconds",
    "histogram",
    "From the first try to complete a committed upload until its object is visible.",
    ("task",),
    SHORT_TIMES,
)
REPLICATION_LATENCY: Final = Metric(
    "smartconnect_replication_latency_seconds",
    "histogram",
    "From a record's timestamp until readers of the target see it; of one batch at a time.",
    ("task",),
    SHORT_TIMES,
)
REPLICATION_TRANSIT: Final = Metric(
    "smartconnect_replication_transit_seconds",
    "histogram",
    "From receiving a record until readers of the target see it; of the same batches.",
    ("task",),
    SHORT_TIMES,
)
REPLICATION_COMMIT: Final = Metric(
    "smartconnect_replication_commit_seconds",
    "histogram",
    "From the last acknowledgement of a transaction to the end of its commit, positions included.",
    ("task",),
    SHORT_TIMES,
)
REPLICATION_ACK: Final = Metric(
    "smartconnect_replication_ack_seconds", "histogram", "From sending a request to its acknowledgement.", ("task",), SHORT_TIMES
)
STORE_REQUESTS: Final = Metric(
    "smartconnect_store_requests_total",
    "counter",
    "Requests to the store by operation and end: ok, or the store's code.",
    ("task", "operation", "outcome"),
)

OF_A_TASK: Final = (
    DUMP_CUTS,
    DUMP_COMMIT,
    DUMP_PUBLISH,
    STORE_REQUESTS,
    REPLICATION_LATENCY,
    REPLICATION_TRANSIT,
    REPLICATION_COMMIT,
    REPLICATION_ACK,
)
"""Measured by jobs for all units of a task that run in the process together; they go with the last of them."""

OF_A_UNIT: Final = (UNIT_COUNTER, UNIT_LAG_RECORDS, UNIT_LAG_SECONDS, DUMP_PENDING, DUMP_OLDEST)
"""They go with the unit."""

ALL_METRICS: Final = (*ENGINE_METRICS, MEMORY_USED, MEMORY_LIMIT, *OF_A_TASK, DUMP_PENDING, DUMP_OLDEST)
"""What the reference documents and `/metrics` describes."""
