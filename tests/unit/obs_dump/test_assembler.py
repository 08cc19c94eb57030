"""Objects end where the task's limits say, also in the middle of a batch, and nothing is joined twice or skipped."""

from __future__ import annotations

from smartconnect.jobs.obs_dump.assembler import CutCause, Verdict
from smartconnect.kernels.encode import Record, marker
from tests.unit.obs_dump.givens import Bench, one_batch, values


def test_values_are_joined_with_the_delimiter_after_each() -> None:
    bench = Bench()
    assert bench.assembler.append(bench.intake(one_batch(values(0, 3)))) is Verdict.DONE
    assert bench.partition.read == 3
    assert bench.content() == b"0000\n0001\n0002\n"


def test_keys_come_first_and_nulls_are_empty() -> None:
    bench = Bench(store_keys=True, kv_delimiter=b"=", record_delimiter=b";")
    records = [Record(0, b"v", b"k"), Record(1, None, b"k"), Record(2, b"v", None)]
    bench.assembler.append(bench.intake(one_batch(records)))
    assert bench.content() == b"k=v;k=;=v;"
    assert bench.assembler.tally.null_values == 1


def test_flush_size_ends_an_object_exactly_inside_a_batch() -> None:
    bench = Bench(flush_size=5)
    intake = bench.intake(one_batch(values(0, 3)), one_batch(values(3, 9)))
    ends, contents = [], []
    while (verdict := bench.assembler.append(intake)) is Verdict.CUT:
        assert intake.cut is CutCause.COUNT
        intake.cut = None
        assert bench.partition.open is not None
        ends.append((bench.partition.open.first_offset, bench.partition.open.end, bench.partition.open.records))
        contents.append(bench.content())
        bench.partition.next_start, bench.partition.open = bench.partition.open.end, None
    assert verdict is Verdict.DONE
    assert ends == [(0, 5, 5), (5, 10, 5)]
    assert contents[1] == b"0005\n0006\n0007\n0008\n0009\n"
    assert bench.partition.open is not None
    assert (bench.partition.open.start, bench.partition.open.end) == (10, 12)


def test_an_object_of_exactly_flush_size_is_cut_without_waiting_for_more() -> None:
    bench = Bench(flush_size=4)
    assert bench.assembler.append(bench.intake(one_batch(values(0, 4)))) is Verdict.CUT


def test_size_ends_an_object_at_a_records_end() -> None:
    bench = Bench(options=Bench().spec.options.__class__(max_object_bytes=12))
    intake = bench.intake(one_batch(values(0, 4)))
    assert bench.assembler.append(intake) is Verdict.CUT
    assert intake.cut is CutCause.SIZE
    assert bench.content() == b"0000\n0001\n"


def test_a_record_larger_than_the_size_is_an_object_of_its_own() -> None:
    bench = Bench(options=Bench().spec.options.__class__(max_object_bytes=8))
    intake = bench.intake(one_batch([Record(0, b"x" * 50), Record(1, b"y")]))
    assert bench.assembler.append(intake) is Verdict.CUT
    assert bench.content() == b"x" * 50 + b"\n"


def test_full_memory_stops_between_batches_and_goes_on_where_it_stopped() -> None:
    answers = iter([True, True, False])
    bench = Bench(full=lambda: next(answers))
    intake = bench.intake(one_batch(values(0, 3)))
    assert bench.assembler.append(intake) is Verdict.FULL
    assert bench.partition.open is None
    assert bench.assembler.append(intake) is Verdict.FULL
    assert bench.assembler.append(intake) is Verdict.DONE
    assert bench.content() == b"0000\n0001\n0002\n"


def test_a_wrong_checksum_is_damage_and_what_came_before_counts() -> None:
    bench = Bench()
    damaged = bytearray(one_batch(values(3, 3)))
    damaged[-1] ^= 1
    intake = bench.intake(one_batch(values(0, 3)), bytes(damaged))
    assert bench.assembler.append(intake) is Verdict.DAMAGED
    assert "checksum" in intake.damage
    assert bench.partition.read == 3
    assert bench.content() == b"0000\n0001\n0002\n"


def test_markers_move_the_reading_point_and_open_nothing() -> None:
    bench = Bench()
    assert bench.assembler.append(bench.intake(marker(0, 7, commit=True), marker(1, 7, commit=False))) is Verdict.DONE
    assert bench.partition.read == 2
    assert bench.partition.open is None


def test_a_position_inside_a_batch_skips_what_was_dumped() -> None:
    bench = Bench()
    bench.partition.read = 2
    bench.assembler.append(bench.intake(one_batch(values(0, 4))))
    assert bench.content() == b"0002\n0003\n"


def test_the_leader_epoch_is_that_of_the_batch_that_holds_the_last_record() -> None:
    bench = Bench(flush_size=4)
    intake = bench.intake(one_batch(values(0, 3), leader_epoch=1), one_batch(values(3, 3), leader_epoch=2))
    assert bench.assembler.append(intake) is Verdict.CUT
    assert bench.partition.open is not None
    assert bench.partition.open.leader_epoch == 2
