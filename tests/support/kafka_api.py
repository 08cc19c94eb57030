"""The API keys of the Kafka protocol, and requests and answers as a proxy sees them: framed, but not decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct(">hhih")


class ApiKey(IntEnum):
    """The keys that tests name; a request with another key has its number."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_ACLS = 29
    CREATE_ACLS = 30
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    INCREMENTAL_ALTER_CONFIGS = 44
    OFFSET_DELETE = 47
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `frame`: all bytes after the length; `node`: index of the broker it went to."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    frame: bytes
    node: int

    @property
    def header_size(self) -> int:
        """Bytes up to the end of the client id; flexible versions have a tagged-fields byte after that."""
        return _HEADER.size + len((self.client_id or "").encode())

    @property
    def body(self) -> bytes:
        """What follows the client id."""
        return self.frame[self.header_size :]


def read_request(frame: bytes, node: int) -> Request:
    """Read the header (versions 1 and 2 begin alike: key, version, correlation id, client id with a 16-bit length)."""
    api_key, api_version, correlation_id, length = _HEADER.unpack_from(frame)
    client_id = frame[_HEADER.size : _HEADER.size + length].decode() if length >= 0 else None
    return Request(api_key, api_version, correlation_id, client_id, frame, node)
