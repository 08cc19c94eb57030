"""The tables of the registry. Migrations create them (a test holds both equal); every statement of this package is written against
them. A deleted task keeps its rows until it is cleaned up, but has no `live_name`; a retired unit keeps its rows but has no slot: so
plain unique constraints decide names and slots on any database. Times are epoch ms. Everything of a task goes with its row.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from smartconnect.domain.planning import UnitName
from smartconnect.registry.dialect import ROW_ID

metadata = sa.MetaData()


def _task_id() -> sa.Column[str]:
    return sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)


def _key(name: str, kind: type[TypeEngine[Any]] = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _value(name: str, kind: type[TypeEngine[Any]], *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


registry_info = sa.Table("registry_info", metadata, _key("name", sa.Text), _value("value", sa.Text))

connectors = sa.Table(
    "connectors",
    metadata,
    _key("instance_id", sa.Text),
    _value("enabled", sa.Boolean),
    _value("connector_id", sa.Text),
    _value("node_count", sa.Integer),
)

tasks = sa.Table(
    "tasks",
    metadata,
    _key("id", sa.Text),
    _value("project_id", sa.Text),
    _value("instance_id", sa.Text),
    _value("name", sa.Text),
    _value("live_name", sa.Text, nullable=True),
    _value("kind", sa.Text),
    _value("config", sa.Text),
    _value("desired", sa.Text),
    _value("run", sa.Integer),
    _value("later_run", sa.Integer),
    _value("revision", sa.Integer),
    _value("create_time", sa.BigInteger),
    _value("run_started_at", sa.BigInteger, nullable=True),
    _value("deleted_at", sa.BigInteger, nullable=True),
    _value("pending_status", sa.Text, nullable=True),
    _value("failure", sa.Text, nullable=True),
    _value("planning_failure", sa.Text, nullable=True),
    _value("current_plan", sa.Integer, nullable=True),
    sa.UniqueConstraint("instance_id", "live_name", name="one_live_task_of_a_name"),
    sa.Index("tasks_in_list_order", "instance_id", "create_time", "id"),
)

task_waits = sa.Table("task_waits", metadata, _task_id(), _key("waits_for", sa.Text))

secrets = sa.Table("secrets", metadata, _task_id(), _key("field", sa.Text), _value("sealed", sa.Text))

plans = sa.Table(
    "plans",
    metadata,
    _task_id(),
    _key("plan"),
    _value("prefixes", sa.Text),
    _value("units_each", sa.Integer),
    _value("run", sa.Integer),
    _value("revision", sa.Integer),
    _value("retired", sa.Boolean),
)

units = sa.Table(
    "units",
    metadata,
    _task_id(),
    _key("prefix", sa.Text),
    _key("plan"),
    _key("number"),
    _value("slot", sa.Integer, nullable=True),
    _value("epoch", sa.BigInteger),
    _value("owner", sa.Text),
    _value("state", sa.Text),
    _value("run", sa.Integer),
    _value("revision", sa.Integer),
    _value("retired", sa.Boolean),
    _value("gone", sa.Boolean),
    _value("kept_alive_at", sa.BigInteger),
    _value("reported_at", sa.BigInteger),
    _value("progress", sa.Text, nullable=True),
    _value("reason", sa.Text, nullable=True),
    _value("throughput", sa.Text),
    sa.UniqueConstraint("slot", name="one_unit_in_a_slot"),
)

# Apart from `units`: a summary is written every 2 s, and must not carry this large column along.
unit_partitions = sa.Table(
    "unit_partitions",
    metadata,
    _task_id(),
    _key("prefix", sa.Text),
    _key("plan"),
    _key("number"),
    _value("run", sa.Integer),
    _value("content", sa.LargeBinary),
    _value("before_pause", sa.Boolean),
)

fences = sa.Table("fences", metadata, _task_id(), _key("fenced_plan"), _key("prefix", sa.Text), _key("plan"), _key("number"))

closed_runs = sa.Table("closed_runs", metadata, _task_id(), _key("prefix", sa.Text), _key("run"), _key("plan"), _key("number"))

starts = sa.Table(
    "starts",
    metadata,
    _task_id(),
    _key("run"),
    _key("prefix", sa.Text),
    _key("topic", sa.Text),
    _key("partition_number"),
    _value("start_offset", sa.BigInteger),
)

facts = sa.Table("facts", metadata, _task_id(), _key("run"), _key("revision"), _key("name", sa.Text), _value("value", sa.Text))

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", ROW_ID, primary_key=True),
    sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    _value("at", sa.BigInteger),
    _value("level", sa.Text),
    _value("code", sa.Text),
    _value("message", sa.Text),
    _value("unit", sa.Text, nullable=True),
    sa.Index("events_newest", "task_id", "at", "id"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", ROW_ID, primary_key=True),
    _value("at", sa.BigInteger),
    _value("name", sa.Text),
    _value("outcome", sa.Text),
    _value("access_key", sa.Text),
    _value("request_id", sa.Text),
    _value("instance_id", sa.Text),
    _value("task_id", sa.Text, nullable=True),
    _value("code", sa.Text, nullable=True),
    _value("details", sa.Text),
)


def of_unit(table: sa.Table, task_id: str, unit: UnitName) -> sa.ColumnElement[bool]:
    """The row of one unit in any table keyed by it."""
    return sa.and_(
        table.c.task_id == task_id, table.c.prefix == unit.prefix, table.c.plan == unit.plan, table.c.number == unit.index
    )


def of_its_unit(table: sa.Table) -> sa.ColumnElement[bool]:
    """The same for statements that are built once: which unit it is comes with the values of `its_unit`."""
    names = {"task_id": "its_task", "prefix": "its_prefix", "plan": "its_plan", "number": "its_number"}
    return sa.and_(*(table.c[column] == sa.bindparam(name) for column, name in names.items()))


def its_unit(task_id: str, unit: UnitName) -> dict[str, object]:
    """Values for `of_its_unit`."""
    return {"its_task": task_id, "its_prefix": unit.prefix, "its_plan": unit.plan, "its_number": unit.index}


def unit_key(task_id: str, unit: UnitName) -> dict[str, object]:
    """The same key as values to insert."""
    return {"task_id": task_id, "prefix": unit.prefix, "plan": unit.plan, "number": unit.index}
