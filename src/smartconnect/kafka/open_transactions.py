"""Where a producer has a transaction open, as the partitions' leaders tell it (ListOffsets; DescribeProducers, KIP-664).

After InitProducerId nothing of a producer should be open anywhere. Kafka 4 leaves it open all the same where a partition had no leader when
the transaction's end was to be written into it: the coordinator takes the partition for deleted (KAFKA-20734, seen with 4.3.1 when the only
broker is killed and comes back)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NamedTuple

from smartconnect.kafka.admin import describe_producers
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import ApiUnsupported
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition


class OpenTransactions(NamedTuple):
    """`since`: the first offset of the producer's open transaction in each partition that has one; `untold`: partitions of which nobody
    tells, and why."""

    since: dict[TopicPartition, int]
    untold: dict[TopicPartition, KafkaCode]


async def open_transactions(cluster: Cluster, partitions: Collection[TopicPartition], producer_id: int) -> OpenTransactions:
    """What is open of this producer. Nobody is waited for (`ask_leaders_now`). DESCRIBE is needed, and READ where anybody's transaction is
    open. Kafka before 2.8 cannot tell whose it is, and does not forget ends as Kafka 4 does: nothing is open there."""
    asked = dict.fromkeys(partitions, LATEST)
    stable, ends = await asyncio.gather(
        list_offsets(cluster, asked, READ_COMMITTED, patient=False), list_offsets(cluster, asked, READ_UNCOMMITTED, patient=False)
    )
    found = OpenTransactions({}, {})
    held_back = []
    for tp in asked:
        code = stable[tp].error or ends[tp].error
        if code is not None:
            found.untold[tp] = code
        elif stable[tp].offset < ends[tp].offset:
            held_back.append(tp)
    if not held_back:
        return found
    try:
        answers = await describe_producers(cluster, held_back, patient=False)
    except ApiUnsupported:
        return found
    for tp, answer in answers.items():
        if isinstance(answer, KafkaCode):
            found.untold[tp] = answer
            continue
        for producer in answer:
            if producer.producer_id == producer_id and producer.transaction_start >= 0:
                found.since[tp] = producer.transaction_start
    return found
