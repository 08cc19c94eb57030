"""The adapter: headers, nested fields, and answers that do not fit their schema."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka import messages
from smartconnect.kafka.messages import Api

APIS = [value for value in vars(messages).values() if isinstance(value, Api)]
LARGE_ANSWERS = [messages.METADATA, messages.OFFSET_FETCH, messages.API_VERSIONS, messages.DESCRIBE_CONFIGS]


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_versions_in_use_exist_in_the_message_classes(api: Api) -> None:
    assert api.lowest <= api.highest <= api.request.valid_versions[1]
    assert api.request.API_KEY == api.response.API_KEY == api.key


@given(st.integers(0, 2**31 - 1), st.text(max_size=30))
def test_header_is_that_of_the_generated_classes(correlation: int, client_id: str) -> None:
    for api in (messages.METADATA, messages.SASL_HANDSHAKE, messages.FETCH):
        for version in {api.lowest, api.highest}:
            request = api.request(version=version)
            request.with_header(correlation_id=correlation, client_id=client_id)
            ours = messages.request_header(api, version, correlation, client_id)
            assert ours == request.encode_header(flexible=version >= api.flexible_from)


def test_nested_fields_are_given_as_dicts() -> None:
    fields = {"group_id": "g", "topics": [{"name": "t", "partition_indexes": [1, 2]}], "require_stable": True}
    raw = messages.encode(messages.OFFSET_FETCH, 7, fields)
    read = messages.OFFSET_FETCH.request.decode(raw, version=7)
    assert (read.group_id, read.require_stable) == ("g", True)
    assert [(topic.name, topic.partition_indexes) for topic in read.topics] == [("t", [1, 2])]


def test_unknown_field_is_an_error_of_the_program() -> None:
    with pytest.raises((KeyError, ValueError)):
        messages.encode(messages.METADATA, 9, {"no_such_field": 1})


@pytest.mark.parametrize("api", LARGE_ANSWERS, ids=lambda api: api.name)
@given(raw=st.binary(max_size=120))
@settings(max_examples=60)
def test_random_answers_end_in_malformed_data(api: Api, raw: bytes) -> None:
    for version in {api.lowest, api.highest}:
        with contextlib.suppress(MalformedData):
            messages.decode(api, version, memoryview(raw))


@pytest.mark.parametrize("version", [8, 9, 12])
def test_enormous_count_ends_in_malformed_data(version: int) -> None:
    count = b"\xff\xff\xff\xff\x0f" if version >= 9 else struct.pack(">i", 2**31 - 1)
    with pytest.raises(MalformedData):
        messages.decode(messages.METADATA, version, memoryview(bytes(4) + count + bytes(50)))


def test_operation_names() -> None:
    assert messages.operation_names({3, 8, 12}) == {"READ", "DESCRIBE", "IDEMPOTENT_WRITE"}
    assert messages.operation_names(None) is None


def test_answer_body_follows_the_header() -> None:
    behind: Any = memoryview(b"\0body")
    assert messages.answer_body(messages.METADATA, 12, behind) == b"body"
    assert messages.answer_body(messages.METADATA, 8, behind) == b"\0body"
    assert messages.answer_body(messages.API_VERSIONS, 3, behind) == b"\0body"
