"""The independent record reader sees what a read_committed consumer sees, whatever the codec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.obs_dump.verify.records import SeenRecord, visible_records
from smartconnect.kernels import Codec
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, batch, marker

maybe = st.one_of(st.none(), st.binary(max_size=300))


def seen(data: bytes, aborted: list[tuple[int, int]] | None = None) -> list[SeenRecord]:
    return list(visible_records(memoryview(data), aborted or []))


@given(
    codec=st.sampled_from(list(Codec)),
    pairs=st.lists(st.tuples(maybe, maybe), min_size=1, max_size=20),
    base=st.integers(0, 1 << 40),
)
def test_every_record_comes_back(codec: Codec, pairs: list[tuple[bytes | None, bytes | None]], base: int) -> None:
    records = [Record(base + n, value, key, headers=((b"h", None),)) for n, (key, value) in enumerate(pairs)]
    expected = [SeenRecord(base + n, key, value) for n, (key, value) in enumerate(pairs)]
    assert seen(batch(records, Frame(codec=codec))) == expected


def test_aborted_transactions_and_markers_are_not_seen() -> None:
    def of(producer: int, offset: int) -> bytes:
        return batch([Record(offset, b"%d" % offset)], Frame(producer_id=producer, producer_epoch=0, attributes=TRANSACTIONAL))

    log = (
        of(1, 0) + of(2, 1) + marker(2, 1, commit=False) + of(1, 3) + marker(4, 2, commit=True) + marker(5, 1, commit=True)
    )  # producer 1 aborts its first transaction and commits its second; producer 2 commits
    assert [record.offset for record in seen(log, [(1, 0)])] == [1, 3]
    assert [record.offset for record in seen(log)] == [0, 1, 3]


def test_a_damaged_batch_is_an_error() -> None:
    data = bytearray(batch([Record(0, b"value")]))
    data[-1] ^= 1
    with pytest.raises(MalformedData, match="checksum"):
        seen(bytes(data))
    with pytest.raises(MalformedData, match="cut off"):
        seen(bytes(data[:-3]))
