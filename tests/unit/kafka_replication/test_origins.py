"""`i/` records: what is written is read back, and whether copying would close a circle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.origins import Origin, decode_origin, encode_key, encode_origin, parse_producer

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.builds(Origin, _texts, _texts, _texts, _texts), st.integers(0, 2**63 - 1))
def test_an_origin_is_read_back_as_it_was_written(origin: Origin, producer: int) -> None:
    value = encode_origin(origin)
    assert decode_origin(value) == origin
    assert parse_producer(encode_key(producer).encode()) == producer
    for damaged in (value[:-1], value + b"\0", b"\x02" + value[1:], b""):
        with pytest.raises(MalformedData):
            decode_origin(damaged)


@given(st.binary(max_size=40))
def test_no_bytes_crash_the_readers(raw: bytes) -> None:
    for key in (raw, b"i/" + raw):
        producer = parse_producer(key)
        assert producer is None or int(key[2:]) == producer
    try:
        decode_origin(b"\x01" + raw)
    except MalformedData:
        return


@pytest.mark.parametrize("key", [b"i/", b"i/x", b"i/-1", b"i/1/2", b"p/1", b"i/\xd9\xa1", b"i/" + b"9" * 30, b"i/1 "])
def test_keys_of_others_name_no_producer(key: bytes) -> None:
    assert parse_producer(key) is None


@pytest.mark.parametrize(
    ("rule", "topic", "target_topic", "back"),
    [
        ("identity", "orders", "orders", True),
        ("identity", "orders", "b.orders", False),
        ("prefix:a", "a.orders", "orders", True),
        ("prefix:a", "a.orders", "b.a.orders", False),
        ('map:{"orders":"copied"}', "copied", "orders", True),
        ('map:{"orders":"copied"}', "copied", "elsewhere", False),
        ('map:{"orders":"copied"}', "other", "other", True),
    ],
)
def test_a_circle_is_closed_only_where_the_names_lead_back(rule: str, topic: str, target_topic: str, back: bool) -> None:
    origin = Origin("t", "push", "A", rule)
    assert origin.copies_back(topic, "A", target_topic) is back
    assert not origin.copies_back(topic, "C", target_topic), "its records come from another cluster than ours go to"


def test_a_rule_of_a_newer_version_is_refused() -> None:
    with pytest.raises(MalformedData, match="naming rule"):
        Origin("t", "push", "A", "regex:x").copies_back("orders", "A", "orders")
