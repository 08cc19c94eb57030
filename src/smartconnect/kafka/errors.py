"""The errors that only users of `kafka` tell apart; each is a leaf of the service's tree (`domain/errors.py`):

Retryable
├── ConnectionLost         the answer to one request did not come: it may or may not have been carried out
├── BrokerRefused          a broker answered with a code that no rule cures; the code is kept
├── PartitionsNotAdded     these partitions may not be part of the transaction, which is as it was
├── PermissionMissing
│   └── PartitionsDenied       offsets of these partitions may not be committed; their transaction is aborted
└── TransactionAborted     the open transaction is gone, nothing of it counts; begin again
    ├── PartitionRefused       … because these partitions do not exist any more
    └── MetadataTooLarge       … because these partitions' metadata is longer than the broker allows
Fatal
└── ApiUnsupported         broker and we have no version of a needed API in common
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from smartconnect.domain.errors import Fatal, PermissionMissing, Retryable
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.types import TopicPartition


class ConnectionLost(Retryable):
    """The connection ended, or the answer is late. Whether the request was carried out is not known."""

    code = "connection_lost"


class BrokerRefused(Retryable):
    """A broker's answer that nothing cures by itself; `kafka_code` says which."""

    code = "broker_refused"

    def __init__(self, message: str, kafka_code: KafkaCode) -> None:
        super().__init__(message)
        self.kafka_code = kafka_code


class ApiUnsupported(Fatal):
    """No version of an API is known to both sides; the sentence names the API, the broker and both ranges."""

    code = "kafka_api_unsupported"


class PartitionsNotAdded(Retryable):
    """These partitions do not exist (any more), or may not be written. Nothing was added, and the transaction is as it was."""

    code = "partitions_not_added"

    def __init__(self, partitions: Mapping[TopicPartition, KafkaCode]) -> None:
        self.partitions = dict(partitions)
        codes = " and ".join(sorted({code.name for code in self.partitions.values()}))
        super().__init__(f"Kafka refuses to add {_names(self.partitions)} to a transaction: {codes}")


class PartitionsDenied(PermissionMissing):
    """A group's offsets of these partitions may be committed only by who may read them. The transaction is aborted, nothing of it counts;
    the transactional id is still ours."""

    def __init__(self, partitions: Collection[TopicPartition]) -> None:
        self.partitions = frozenset(partitions)
        super().__init__(f"Kafka refuses to commit offsets of {_names(self.partitions)}: grant READ on the topic")


class TransactionAborted(Retryable):
    """The transaction is over and nothing of it counts. The transactional id is still ours: begin another one."""

    code = "transaction_aborted"


class PartitionRefused(TransactionAborted):
    """Partitions that the broker does not know (any more): leave them out of the next transaction."""

    code = "partition_refused"

    def __init__(self, partitions: Mapping[TopicPartition, KafkaCode]) -> None:
        self.partitions = dict(partitions)
        super().__init__(f"the broker refuses {_names(self.partitions)}: the topic or partition does not exist")


class MetadataTooLarge(TransactionAborted):
    """Partitions whose committed metadata exceeds the broker's `offset.metadata.max.bytes`."""

    code = "metadata_too_large"

    def __init__(self, partitions: Collection[TopicPartition]) -> None:
        self.partitions = frozenset(partitions)
        super().__init__(
            f"the metadata committed for {_names(self.partitions)} is longer than the broker's offset.metadata.max.bytes"
        )


def refusal(doing: str, code: KafkaCode, detail: str | None = None) -> PermissionMissing | BrokerRefused:
    """The error for an answer that cannot be cured by asking again. `doing` completes "Kafka refuses to …"."""
    reason = f"{code.name}, {detail}" if detail else code.name
    if code in _RIGHTS:
        return PermissionMissing(f"Kafka refuses to {doing}: {reason}. Grant the user {_RIGHTS[code]}")
    return BrokerRefused(f"Kafka refuses to {doing}: {reason}", code)


_RIGHTS = {
    KafkaCode.TOPIC_AUTHORIZATION_FAILED: "the operation on that topic",
    KafkaCode.GROUP_AUTHORIZATION_FAILED: "the operation on that consumer group",
    KafkaCode.CLUSTER_AUTHORIZATION_FAILED: "the operation on the cluster",
    KafkaCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE and DESCRIBE on that transactional id",
}


def _names(partitions: Collection[TopicPartition]) -> str:
    shown = sorted(partitions)[:5]
    more = len(partitions) - len(shown)
    return ", ".join(map(str, shown)) + (f" and {more} more" if more else "")
