"""What the coordinator of a transaction says of it (DescribeTransactions, KIP-664)."""

from __future__ import annotations

from typing import Final

from kafka.protocol import admin

from smartconnect.jobs.clusters import open_cluster
from smartconnect.kafka.cluster import TRANSACTION
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.messages import Api
from smartconnect.settings import KafkaConnectionSettings
from tests.support.waiting import eventually

_DESCRIBE: Final = Api("DescribeTransactions", 65, 0, 0, 0, admin.DescribeTransactionsRequest, admin.DescribeTransactionsResponse)
_ENDING: Final = {"PrepareCommit", "PrepareAbort", "PrepareEpochFence"}
_MOVING: Final = {KafkaCode.NOT_COORDINATOR, KafkaCode.COORDINATOR_NOT_AVAILABLE, KafkaCode.COORDINATOR_LOAD_IN_PROGRESS}


async def markers_written(connection: KafkaConnectionSettings, transactional_id: str) -> None:
    """Until the last transaction of that name is open or over, not on its way from the one to the other; at once if there was none."""
    async with open_cluster(connection, client_id="tests") as cluster:

        async def written() -> bool:
            fields = {"transactional_ids": [transactional_id]}
            answer = await cluster.call_coordinator(TRANSACTION, transactional_id, _DESCRIBE, fields)
            (found,) = answer.transaction_states
            code = KafkaCode(found.error_code)
            if code in _MOVING:
                cluster.forget_coordinator(TRANSACTION, transactional_id)
                return False
            assert code in {KafkaCode.NONE, KafkaCode.TRANSACTIONAL_ID_NOT_FOUND}, code
            return found.transaction_state not in _ENDING

        await eventually(written, what=f"the markers of {transactional_id} are written", poll_s=0.02)
