"""Why a task's planning does not end, so that progress can show it before the task has any unit."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("planning_failure", sa.Text(), nullable=True))
