"""The table of kafka-replication.md §3: every row, and that the first row that fits decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from smartconnect.jobs.kafka_replication.rules import LOG_APPEND_TIME, Fate, Group, Rules, Situation, decide
from smartconnect.kernels import Batch, Codec, Kind

KEEP = Rules()
EASY = Situation(position=0, limit=1 << 20)


def row(first: int = 100, count: int = 10, **changes: object) -> Batch:
    """An ordinary lz4 batch of 500 bytes with so many records from `first` on."""
    values: dict[str, object] = {
        "kind": Kind.DATA,
        "start": first * 10,
        "end": first * 10 + 500,
        "base_offset": first,
        "last_offset": first + count - 1,
        "leader_epoch": 0,
        "codec": Codec.LZ4,
        "count": count,
        "attributes": Codec.LZ4,
        "max_timestamp": 0,
        "producer_id": -1,
        "crc": 0,
        "records_start": first * 10 + 61,
        **changes,
    }
    return Batch(**values)  # type: ignore[arg-type]


def rule_of(
    batch: Batch, rules: Rules = KEEP, now: Situation = EASY, looped: Callable[[int], bool] | None = None
) -> tuple[str, Fate]:
    """The one rule that decided about a batch on its own, and the fate that it gave."""
    hits: Counter[str] = Counter()
    (group,) = decide([batch], rules, now, looped, hits)
    assert group.rows == [batch]
    assert group.next_offset == batch.last_offset + 1
    (name,) = hits
    assert hits[name] == 1
    return name, group.fate


@pytest.mark.parametrize(("kind", "name"), [(Kind.CONTROL, "control"), (Kind.ABORTED, "aborted"), (Kind.EMPTY, "empty")], ids=str)
def test_what_no_reader_sees_is_skipped_whatever_else_it_is(kind: Kind, name: str) -> None:
    batch = row(kind=kind, count=5, attributes=LOG_APPEND_TIME, codec=Codec.GZIP)
    strict = Rules(codec=Codec.ZSTD, provenance=True)
    now = Situation(position=105, limit=10, rewrite=101, rewrite_all=True, coalesce=True)
    assert rule_of(batch, strict, now, lambda producer: True) == (name, Fate.SKIP)


def test_a_batch_that_came_from_where_it_would_go_to_is_skipped() -> None:
    ours = row(producer_id=7)
    assert rule_of(ours, looped=lambda producer: producer == 7) == ("looped", Fate.SKIP)
    assert rule_of(row(producer_id=8), looped=lambda producer: producer == 7) == ("passed", Fate.FORWARD)


def test_a_batch_without_a_producer_id_is_never_a_loop() -> None:
    assert rule_of(row(producer_id=-1), looped=lambda producer: True) == ("passed", Fate.FORWARD)


def test_old_formats_are_decoded() -> None:
    legacy = row(kind=Kind.LEGACY, count=-1, last_offset=100)
    assert rule_of(legacy) == ("legacy", Fate.RECODE)
    assert rule_of(legacy, now=Situation(position=100, limit=1 << 20)) == ("legacy", Fate.RECODE)
    assert rule_of(legacy, now=Situation(position=101, limit=1 << 20)) == ("behind", Fate.SKIP)


def test_a_batch_around_the_position_is_sliced() -> None:
    assert rule_of(row(), now=Situation(position=100, limit=1 << 20)) == ("passed", Fate.FORWARD)
    assert rule_of(row(), now=Situation(position=101, limit=1 << 20)) == ("sliced", Fate.RECODE)
    assert rule_of(row(), now=Situation(position=109, limit=1 << 20)) == ("sliced", Fate.RECODE)
    assert rule_of(row(), now=Situation(position=110, limit=1 << 20)) == ("behind", Fate.SKIP)


@pytest.mark.parametrize("count", [1, 9], ids=str)
def test_a_compacted_batch_is_decoded(count: int) -> None:
    assert rule_of(row(count=10)._replace(count=count)) == ("compacted", Fate.RECODE)


def test_the_provenance_header_goes_into_every_batch() -> None:
    assert rule_of(row(), Rules(provenance=True)) == ("provenance", Fate.RECODE)


def test_a_given_codec_decodes_only_other_codecs() -> None:
    assert rule_of(row(), Rules(codec=Codec.LZ4)) == ("passed", Fate.FORWARD)
    assert rule_of(row(), Rules(codec=Codec.ZSTD)) == ("codec", Fate.RECODE)
    assert rule_of(row(codec=Codec.NONE), Rules(codec=Codec.ZSTD)) == ("codec", Fate.RECODE)
    assert rule_of(row(), Rules(codec=Codec.NONE)) == ("codec", Fate.RECODE)


def test_append_time_becomes_create_time_unless_the_producers_times_are_wanted() -> None:
    batch = row(attributes=Codec.LZ4 | LOG_APPEND_TIME)
    assert rule_of(batch) == ("append_time", Fate.RECODE)
    assert rule_of(batch, Rules(append_time=False)) == ("passed", Fate.FORWARD)


def test_a_batch_is_too_large_from_one_byte_beyond_the_limit_on() -> None:
    assert rule_of(row(), now=Situation(position=0, limit=500)) == ("passed", Fate.FORWARD)
    assert rule_of(row(), now=Situation(position=0, limit=499)) == ("too_large", Fate.RECODE)


def test_the_batch_that_the_target_refused_is_decoded_and_no_other() -> None:
    for first, name in ((90, "passed"), (100, "refused"), (110, "passed")):
        assert rule_of(row(first), now=Situation(position=0, limit=1 << 20, rewrite=104))[0] == name
    assert rule_of(row(), now=Situation(position=0, limit=1 << 20, rewrite_all=True)) == ("refused", Fate.RECODE)


def test_small_batches_of_a_lagging_partition_are_coalesced() -> None:
    assert rule_of(row(), now=Situation(position=0, limit=1 << 20, coalesce=True)) == ("coalesced", Fate.RECODE)


def test_anything_else_passes_whatever_its_attributes_are() -> None:
    odd = row(attributes=Codec.LZ4 | 0x10 | 0x40, producer_id=3)
    assert rule_of(odd) == ("passed", Fate.FORWARD)


def test_the_first_rule_that_fits_decides() -> None:
    """A batch to which every rule applies; each reason is taken away in the table's order, and the next one decides."""
    now = Situation(position=101, limit=10, rewrite=105, coalesce=True)
    rules = Rules(codec=Codec.ZSTD, provenance=True)
    batch = row(producer_id=7, count=10, attributes=Codec.LZ4 | LOG_APPEND_TIME)._replace(count=5, kind=Kind.CONTROL)
    seen = [rule_of(batch, rules, now, lambda producer: True)[0]]
    batch = batch._replace(kind=Kind.DATA)
    seen.append(rule_of(batch, rules, now, lambda producer: True)[0])
    seen.append(rule_of(batch, rules, now)[0])
    now = Situation(position=0, limit=10, rewrite=105, coalesce=True)
    seen.append(rule_of(batch, rules, now)[0])
    batch = batch._replace(count=10)
    seen.append(rule_of(batch, rules, now)[0])
    seen.append(rule_of(batch, Rules(codec=Codec.ZSTD), now)[0])
    seen.append(rule_of(batch, Rules(), now)[0])
    batch = batch._replace(attributes=Codec.LZ4)
    seen.append(rule_of(batch, Rules(), now)[0])
    seen.append(rule_of(batch, Rules(), Situation(position=0, limit=1000, rewrite=105, coalesce=True))[0])
    seen.append(rule_of(batch, Rules(), Situation(position=0, limit=1000, coalesce=True))[0])
    seen.append(rule_of(batch, Rules(), Situation(position=0, limit=1000))[0])
    assert seen == [
        "control",
        "looped",
        "sliced",
        "compacted",
        "provenance",
        "codec",
        "append_time",
        "too_large",
        "refused",
        "coalesced",
        "passed",
    ]


def test_neighbours_with_one_fate_go_together_and_nothing_is_lost_or_reordered() -> None:
    rows = [
        row(0, kind=Kind.CONTROL, count=1),
        row(1, kind=Kind.ABORTED, count=9),
        row(10),
        row(20),
        row(30)._replace(count=3),
        row(40, attributes=LOG_APPEND_TIME),
        row(50, kind=Kind.EMPTY, count=1)._replace(count=0, last_offset=59),
        row(60),
    ]
    hits: Counter[str] = Counter()
    groups = decide(rows, KEEP, EASY, None, hits)
    assert [(group.fate, len(group.rows), group.next_offset) for group in groups] == [
        (Fate.SKIP, 2, 10),
        (Fate.FORWARD, 2, 30),
        (Fate.RECODE, 2, 50),
        (Fate.SKIP, 1, 60),
        (Fate.FORWARD, 1, 70),
    ]
    assert [its for group in groups for its in group.rows] == rows
    assert all(one.fate is not other.fate for one, other in pairwise(groups))
    assert hits == Counter(control=1, aborted=1, passed=3, compacted=1, append_time=1, empty=1)


def test_no_rows_make_no_groups() -> None:
    empty: list[Group] = decide([], KEEP, EASY, None, Counter())
    assert empty == []
