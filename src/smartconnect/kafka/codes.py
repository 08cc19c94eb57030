"""Kafka's error codes by name, and what each means for a caller. Every answer of a broker is read through `failure`, so
that a code nobody knows yet still has a name and never breaks a decoder.

Source: Kafka's protocol guide, "Error Codes"."""

from __future__ import annotations

from enum import IntEnum


class KafkaCode(IntEnum):
    """A code as brokers send it. Unknown numbers become members named `CODE_<n>`."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    STALE_CONTROLLER_EPOCH = 11
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_COMMIT_OFFSET_SIZE = 28
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    LOG_DIR_NOT_FOUND = 57
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    REASSIGNMENT_IN_PROGRESS = 60
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    LISTENER_NOT_FOUND = 72
    TOPIC_DELETION_DISABLED = 73
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    STALE_BROKER_EPOCH = 77
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    RESOURCE_NOT_FOUND = 91
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    TRANSACTIONAL_ID_NOT_FOUND = 105
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    NEW_LEADER_ELECTED = 108
    OFFSET_MOVED_TO_TIERED_STORAGE = 109
    STALE_MEMBER_EPOCH = 113
    TRANSACTION_ABORTABLE = 120

    @classmethod
    def _missing_(cls, value: object) -> KafkaCode:
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no Kafka error code")
        unknown = int.__new__(cls, value)
        unknown._name_ = f"CODE_{value}"
        unknown._value_ = value
        return unknown


def failure(number: int) -> KafkaCode | None:
    """The code of an answer, None where the broker reports success."""
    return KafkaCode(number) if number else None


COORDINATOR_MOVED = frozenset(
    {
        KafkaCode.NOT_COORDINATOR,
        KafkaCode.COORDINATOR_NOT_AVAILABLE,
        KafkaCode.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""Look the coordinator up again, then the same call: the broker has not acted on it."""

LEADER_MOVED = frozenset(
    {
        KafkaCode.LEADER_NOT_AVAILABLE,
        KafkaCode.NOT_LEADER_OR_FOLLOWER,
        KafkaCode.REPLICA_NOT_AVAILABLE,
        KafkaCode.BROKER_NOT_AVAILABLE,
        KafkaCode.KAFKA_STORAGE_ERROR,
        KafkaCode.LISTENER_NOT_FOUND,
        KafkaCode.FENCED_LEADER_EPOCH,
        KafkaCode.UNKNOWN_LEADER_EPOCH,
        KafkaCode.OFFSET_NOT_AVAILABLE,
        KafkaCode.UNKNOWN_TOPIC_ID,
        KafkaCode.INCONSISTENT_TOPIC_ID,
        KafkaCode.FETCH_SESSION_TOPIC_ID_ERROR,
        KafkaCode.NEW_LEADER_ELECTED,
    }
)
"""Read the metadata again, then ask the new leader."""

TRANSIENT = frozenset(
    {
        KafkaCode.REQUEST_TIMED_OUT,
        KafkaCode.NETWORK_EXCEPTION,
        KafkaCode.NOT_CONTROLLER,
        KafkaCode.NOT_ENOUGH_REPLICAS,
        KafkaCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaCode.THROTTLING_QUOTA_EXCEEDED,
        KafkaCode.STALE_CONTROLLER_EPOCH,
        KafkaCode.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaCode.CONCURRENT_TRANSACTIONS,
        KafkaCode.UNSTABLE_OFFSET_COMMIT,
    }
)

RETRIABLE = COORDINATOR_MOVED | LEADER_MOVED | TRANSIENT
"""Waiting and asking again may cure these."""

UNAUTHORIZED = frozenset(
    {
        KafkaCode.TOPIC_AUTHORIZATION_FAILED,
        KafkaCode.GROUP_AUTHORIZATION_FAILED,
        KafkaCode.CLUSTER_AUTHORIZATION_FAILED,
        KafkaCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)

FENCED = frozenset(
    {
        KafkaCode.PRODUCER_FENCED,
        KafkaCode.INVALID_PRODUCER_EPOCH,
        KafkaCode.INVALID_PRODUCER_ID_MAPPING,
        KafkaCode.UNKNOWN_PRODUCER_ID,
    }
)
"""Somebody newer uses the transactional id, or the coordinator has given our transaction up."""
