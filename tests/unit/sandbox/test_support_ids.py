from __future__ import annotations

import pytest

from tests.support.ids import RecordId, count_ids, decode_id, encode_id

EXPECTED = {("id", 0): 3, ("id", 1): 2}


def values(*ids: tuple[int, int]) -> list[bytes]:
    return [encode_id(RecordId("id", partition, sequence)) for partition, sequence in ids]


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 12, 13, 14, 99, 100, 101, 1000])
def test_value_of_any_size_gives_its_id_back(size: int) -> None:
    record = RecordId("orders-1", 3, 1234)
    value = encode_id(record, size)
    assert decode_id(value) == record
    assert len(value) == max(size, len(encode_id(record)))


def test_value_that_was_cut_or_glued_is_torn() -> None:
    first, second = (encode_id(RecordId("id", 0, sequence), 40) for sequence in (0, 1))
    assert decode_id(first[:-1]) is None
    assert decode_id(first + b"x") is None
    assert decode_id(first + second) is None
    assert decode_id(first[1:]) is None


def test_perfect_arrival_is_perfect_in_whatever_order_the_objects_come() -> None:
    count = count_ids([values((0, 2)), values((0, 0), (0, 1)), values((1, 0), (1, 1))], EXPECTED)
    count.assert_exactly_once()
    assert count.arrived == 5


def test_each_trouble_is_told_apart() -> None:
    chunks = [values((0, 0), (0, 0)), values((1, 1), (1, 0)), values((0, 7)), [b"broken"]]
    count = count_ids(chunks, EXPECTED)
    assert count.lost == [RecordId("id", 0, 1), RecordId("id", 0, 2)]
    assert count.duplicate == [RecordId("id", 0, 0)]
    assert count.out_of_order == [RecordId("id", 1, 0)]
    assert count.unexpected == [RecordId("id", 0, 7)]
    assert count.torn == [b"broken"]
    with pytest.raises(AssertionError, match="2 lost"):
        count.assert_exactly_once()


def test_objects_whose_ranges_interleave_are_out_of_order() -> None:
    count = count_ids([values((0, 0), (0, 2)), values((0, 1)), values((1, 0), (1, 1))], EXPECTED)
    assert count.out_of_order == [RecordId("id", 0, 1)]
