"""A new task on the topics of one that is being deleted waits until that one is gone."""

from __future__ import annotations

import pytest

from smartconnect.domain.errors import Retryable
from smartconnect.engine.unit import StopSignal
from tests.support.replication_unit import MemoryLedger, UnitUnderTest, spec_of


async def test_a_unit_takes_nothing_over_while_a_deleted_task_cleans_up_on_its_topics() -> None:
    """Nobody listens at these addresses: whoever goes on beyond waiting gets another error, later."""
    unit = UnitUnderTest("127.0.0.1:1", spec_of("127.0.0.1:1", ["orders"]), ledger=MemoryLedger(leaving=["the old copy"]))
    with pytest.raises(Retryable, match="deleted task the old copy has cleaned up on the same topics") as caught:
        await unit.runner().run(StopSignal())
    assert caught.value.code == "waits_for_deletion"
