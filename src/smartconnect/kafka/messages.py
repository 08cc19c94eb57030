"""The adapter to kafka-python's message classes: the only module that imports them.

Requests are given as plain keyword fields (nested structures as dicts), answers come back as objects with one attribute
per field; both are named as in Kafka's schemas, in snake case. `Api` says which versions we use (kafka-replication.md §10).
Calls that are hot (Fetch, Produce, the answers to Metadata) have codecs of their own and only take their `Api` from here."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kafka.protocol import admin, consumer, metadata, producer, sasl

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.primitives import plain_string, skip_tags


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its key, the versions that we speak, the first version with compact encoding (KIP-482)."""

    name: str
    key: int
    lowest: int
    highest: int
    flexible_from: int
    request: Any
    response: Any


def _api(module: Any, name: str, lowest: int, highest: int) -> Api:
    request = getattr(module, f"{name}Request")
    flexible = request._flexible_versions
    starts = flexible[0] if flexible and flexible[0] >= 0 else 1 << 15
    return Api(name, request.API_KEY, lowest, highest, starts, request, getattr(module, f"{name}Response"))


API_VERSIONS = _api(metadata, "ApiVersions", 0, 3)
METADATA = _api(metadata, "Metadata", 8, 12)
FIND_COORDINATOR = _api(metadata, "FindCoordinator", 1, 4)
SASL_HANDSHAKE = _api(sasl, "SaslHandshake", 1, 1)
SASL_AUTHENTICATE = _api(sasl, "SaslAuthenticate", 0, 2)
FETCH = _api(consumer, "Fetch", 11, 13)
PRODUCE = _api(producer, "Produce", 7, 11)
LIST_OFFSETS = _api(consumer, "ListOffsets", 4, 7)
OFFSET_FOR_LEADER_EPOCH = _api(consumer, "OffsetForLeaderEpoch", 2, 4)
OFFSET_FETCH = _api(consumer, "OffsetFetch", 7, 9)
OFFSET_COMMIT = _api(consumer, "OffsetCommit", 5, 8)
INIT_PRODUCER_ID = _api(producer, "InitProducerId", 3, 4)
ADD_PARTITIONS_TO_TXN = _api(producer, "AddPartitionsToTxn", 0, 3)
ADD_OFFSETS_TO_TXN = _api(producer, "AddOffsetsToTxn", 0, 3)
TXN_OFFSET_COMMIT = _api(producer, "TxnOffsetCommit", 2, 3)
END_TXN = _api(producer, "EndTxn", 0, 3)
LIST_GROUPS = _api(admin, "ListGroups", 0, 4)
DESCRIBE_GROUPS = _api(admin, "DescribeGroups", 0, 5)
DELETE_GROUPS = _api(admin, "DeleteGroups", 0, 2)
CREATE_TOPICS = _api(admin, "CreateTopics", 2, 7)
DELETE_TOPICS = _api(admin, "DeleteTopics", 1, 5)
CREATE_PARTITIONS = _api(admin, "CreatePartitions", 0, 3)
DELETE_RECORDS = _api(admin, "DeleteRecords", 0, 2)
DESCRIBE_CONFIGS = _api(admin, "DescribeConfigs", 1, 4)
INCREMENTAL_ALTER_CONFIGS = _api(admin, "IncrementalAlterConfigs", 0, 1)
DESCRIBE_CLUSTER = _api(admin, "DescribeCluster", 0, 0)
DESCRIBE_PRODUCERS = _api(admin, "DescribeProducers", 0, 0)


def request_header(api: Api, version: int, correlation: int, client_id: str) -> bytes:
    """Request header v1, or v2 for compact versions (v2 keeps the plain client id, KIP-482)."""
    fixed = struct.pack(">hhi", api.key, version, correlation) + plain_string(client_id)
    return fixed + b"\0" if version >= api.flexible_from else fixed


def answer_body(api: Api, version: int, answer: memoryview) -> memoryview:
    """What follows the response header; `answer` begins behind the correlation id. ApiVersions has a v0 header always."""
    if version < api.flexible_from or api is API_VERSIONS:
        return answer
    return answer[skip_tags(answer, 0) :]


def encode(api: Api, version: int, fields: Mapping[str, object]) -> bytes:
    """The body of a request."""
    request = api.request(version=version, **_structures(api.request, fields))
    return bytes(request.encode(version=version))


def decode(api: Api, version: int, body: memoryview) -> Any:
    """The answer's fields; MalformedData where the bytes do not fit the schema."""
    try:
        return api.response.decode(body, version=version)
    except (struct.error, IndexError, ValueError, OverflowError, TypeError, EOFError) as error:
        raise MalformedData(f"an answer to {api.name} v{version} does not fit its schema: {error}") from error


def operation_names(bits: Collection[int] | None) -> frozenset[str] | None:
    """ACL operations of an answer by name ("READ", "WRITE", …); None where they were not asked for (KIP-430)."""
    return None if bits is None else frozenset(admin.ACLOperation(bit).name for bit in bits if 2 <= bit <= 14)


def _structures(owner: Any, fields: Mapping[str, object]) -> dict[str, object]:
    """Replace dicts by the message classes that the schema names for them."""
    return {name: _structure(owner._struct.fields[name], value) for name, value in fields.items()}


def _structure(field: Any, value: object) -> object:
    if isinstance(value, Mapping):
        return field.data_class(**_structures(field.data_class, value))
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [field.data_class(**_structures(field.data_class, item)) for item in value]
    return value
