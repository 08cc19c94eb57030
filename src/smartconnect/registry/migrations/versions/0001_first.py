"""The first schema. It says again what `tables.py` said then, because that file will move on and this one will not."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_registry()
    _create_tasks()
    _create_plans_and_units()
    _create_what_units_leave()
    _create_trail()


def _task_id() -> sa.Column[str]:
    return sa.Column("task_id", sa.Text(), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False)


def _create_registry() -> None:
    op.create_table(
        "registry_info",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "connectors",
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("connector_id", sa.Text(), nullable=False),
        sa.Column("node_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("live_name", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("desired", sa.Text(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("later_run", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("run_started_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("pending_status", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("current_plan", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("instance_id", "live_name", name="one_live_task_of_a_name"),
    )
    op.create_index("tasks_in_list_order", "tasks", ["instance_id", "create_time", "id"])
    op.create_table(
        "task_waits",
        _task_id(),
        sa.Column("waits_for", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "waits_for"),
    )
    op.create_table(
        "secrets",
        _task_id(),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "field"),
    )


def _create_plans_and_units() -> None:
    op.create_table(
        "plans",
        _task_id(),
        sa.Column("plan", sa.Integer(), nullable=False),
        sa.Column("prefixes", sa.Text(), nullable=False),
        sa.Column("units_each", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "plan"),
    )
    op.create_table(
        "units",
        *_unit_key(),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("kept_alive_at", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("throughput", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "prefix", "plan", "number"),
        sa.UniqueConstraint("slot", name="one_unit_in_a_slot"),
    )


def _unit_key() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int], sa.Column[int]]:
    return (
        _task_id(),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("plan", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
    )


def _create_what_units_leave() -> None:
    op.create_table(
        "unit_partitions",
        *_unit_key(),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "prefix", "plan", "number"),
    )
    op.create_table(
        "fences",
        *_unit_key(),
        sa.Column("fenced_plan", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "fenced_plan", "prefix", "plan", "number"),
    )
    op.create_table(
        "closed_runs",
        *_unit_key(),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "prefix", "run", "plan", "number"),
    )
    op.create_table(
        "starts",
        _task_id(),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition_number", sa.Integer(), nullable=False),
        sa.Column("start_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "run", "prefix", "topic", "partition_number"),
    )
    op.create_table(
        "facts",
        _task_id(),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "run", "revision", "name"),
    )


def _create_trail() -> None:
    op.create_table(
        "events",
        sa.Column("id", ROW_ID, primary_key=True),
        _task_id(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
    )
    op.create_index("events_newest", "events", ["task_id", "at", "id"])
    op.create_table(
        "audit",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("access_key", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
    )
