"""Records of MirrorMaker 2, byte by byte as its classes write them."""

from __future__ import annotations

import pytest

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint, Heartbeat, OffsetSync
from smartconnect.kafka.types import TopicPartition

ORDERS = TopicPartition("orders", 3)


def test_an_offset_sync() -> None:
    sync = OffsetSync(ORDERS, 258, 1)
    assert sync.key() == b"\0\6orders\0\0\0\3"
    assert sync.value() == b"\0\0\0\0\0\0\1\2" + b"\0\0\0\0\0\0\0\1"


def test_a_checkpoint() -> None:
    checkpoint = Checkpoint("bill", TopicPartition("a.orders", 3), 258, 1, "mü")
    assert checkpoint.key() == b"\0\4bill" + b"\0\10a.orders" + b"\0\0\0\3"
    assert checkpoint.value() == b"\0\0" + b"\0\0\0\0\0\0\1\2" + b"\0\0\0\0\0\0\0\1" + b"\0\3m\xc3\xbc"


def test_a_heartbeat() -> None:
    heartbeat = Heartbeat("a", "bc", 258)
    assert heartbeat.key() == b"\0\1a\0\2bc"
    assert heartbeat.value() == b"\0\0" + b"\0\0\0\0\0\0\1\2"


def test_what_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(MalformedData):
        Checkpoint("bill", ORDERS, 1, 1, "m" * 32768).value()
    assert len(Checkpoint("bill", ORDERS, 1, 1, "m" * 32767).value()) == 18 + 2 + 32767
