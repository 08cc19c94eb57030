"""Which reported positions are of before the task was paused: a position set back by hand meanwhile is obeyed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("unit_partitions", sa.Column("before_pause", sa.Boolean(), nullable=False, server_default=sa.false()))
