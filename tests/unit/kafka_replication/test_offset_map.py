"""The offset map against a model that remembers every single record (kafka-replication.md §7, §15.3)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication import offset_map as module
from smartconnect.jobs.kafka_replication.map_budget import MapBudget
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap, moved_map, settle_chunks
from smartconnect.jobs.kafka_replication.position_codec import MapRun, StoredPosition, encode_chunk

Step = tuple[int, int, int]
"""(source offsets skipped, target offsets of others, records copied) of one batch."""

_one_step = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4))
_steps = st.builds(lambda steps, times: steps * times, st.lists(_one_step, max_size=20), st.integers(1, 20))
RUNS_OF_CHUNK = 8


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    """Many chunks out of few records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RUNS_OF_CHUNK", RUNS_OF_CHUNK)
        yield


class Model:
    """Every copied record, one by one, and a map that saw the same batches. `store` is what a positions topic would hold."""

    def __init__(self, source: int = 0, target: int = 0) -> None:
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.source, self.target = source, target
        self.map = OffsetMap(source)
        self.store: dict[int, bytes] = {}
        self.stored_runs: tuple[MapRun, ...] = ()

    def copy(self, step: Step) -> None:
        skipped, others, count = step
        self.map.skip_to(self.source + skipped)
        self.source, self.target = self.source + skipped, self.target + others
        self.map.add(self.source, self.source + count - 1, self.target)
        self.sources += range(self.source, self.source + count)
        self.targets += range(self.target, self.target + count)
        self.source, self.target = self.source + count, self.target + count

    def commit(self) -> None:
        for first, value in self.map.take_changes().items():
            if value is None:
                self.store.pop(first, None)
            else:
                self.store[first] = value
        self.stored_runs = self.map.newest()

    def restored(self) -> OffsetMap:
        return restored(self.map, self.stored_runs, self.store)

    def expected(self, source: int) -> int | None:
        if not self.sources:
            return None
        at = bisect_left(self.sources, source)
        return self.targets[at] if at < len(self.sources) else self.target

    def expected_inverse(self, target: int) -> int:
        at = bisect_left(self.targets, target)
        return self.sources[at] if at < len(self.targets) else self.source


def restored(known: OffsetMap, runs: tuple[MapRun, ...], store: Mapping[int, bytes]) -> OffsetMap:
    """A map made from what is stored."""
    position = StoredPosition(1, None, known.next_source, -1, None, known.next_target, 0, runs)
    return OffsetMap.stored(position, settle_chunks(position, store.items()))


def model_of(steps: list[Step], source: int = 0, target: int = 0) -> Model:
    model = Model(source, target)
    for step in steps:
        model.copy(step)
    return model


def assert_exact(model: Model, found: OffsetMap) -> None:
    for source in range(max(0, model.source + 3)):
        assert found.translate(source) == model.expected(source), source
    for target in range(max(0, model.target + 3)):
        assert found.inverse(target) == model.expected_inverse(target), target


def assert_never_later(model: Model, found: OffsetMap) -> None:
    before = -1
    for source in range(model.source + 3):
        translated, right = found.translate(source), model.expected(source)
        assert translated is not None and right is not None
        assert before <= translated <= right, source
        before = translated
    for target in range(model.target + 3):
        assert found.inverse(target) <= model.expected_inverse(target), target


@settings(max_examples=60, deadline=None)
@given(_steps, st.integers(0, 50), st.integers(0, 50), st.integers(1, 60))
def test_every_offset_is_translated_exactly_also_after_being_stored(
    steps: list[Step], source: int, target: int, commit_every: int
) -> None:
    model = Model(source, target)
    for number, step in enumerate(steps):
        model.copy(step)
        if number % commit_every == 0:
            model.commit()
    model.commit()
    assert_exact(model, model.map)
    assert_exact(model, model.restored())


@settings(max_examples=40, deadline=None)
@given(_steps, st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["thin", "commit", "restart"])), max_size=60))
def test_a_thinned_map_is_never_later_and_never_goes_back(steps: list[Step], acts: list[tuple[int, str]]) -> None:
    """Also what is stored at any moment, with tombstones still to come."""
    model, do = Model(), dict(acts)
    for number, step in enumerate([*steps, *[(1, 1, 1)] * (8 * RUNS_OF_CHUNK)]):
        model.copy(step)
        act = do.get(number)
        if act == "thin" and model.map.can_thin:
            model.map.thin()
        elif act == "commit":
            model.commit()
        elif act == "restart":
            model.commit()
            model.map = model.restored()
    while model.map.can_thin:
        model.map.thin()
    assert_never_later(model, model.map)
    model.commit()
    assert_never_later(model, model.restored())


def test_stored_chunks_whose_tombstones_are_late_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TOMBSTONES", 1)
    model = model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 20))
    model.commit()
    while model.map.can_thin:
        model.map.thin()
    model.commit()
    assert len(model.store) > 10
    late = model.restored()
    assert_never_later(model, late)
    for _ in range(20):
        for first, value in late.take_changes().items():
            assert value is None
            del model.store[first]
    assert_never_later(model, model.restored())
    assert late.nbytes == model.restored().nbytes


def test_the_newest_chunks_stay_exact_when_memory_is_short() -> None:
    model = model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 40))
    while model.map.can_thin:
        model.map.thin()
    exact_from = model.sources[-RUNS_OF_CHUNK * 3]
    for source in range(exact_from, model.source + 2):
        assert model.map.translate(source) == model.expected(source)


def test_a_source_full_of_holes_cannot_make_a_commit_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_NEW", 10)
    model = model_of([(1, 0, 1)] * (RUNS_OF_CHUNK * 200))
    changes = model.map.take_changes()
    assert 5 <= len(changes) <= 11 and None not in changes.values()
    model.store = {first: value for first, value in changes.items() if value is not None}
    model.stored_runs = model.map.newest()
    assert_never_later(model, model.restored())


def test_neighbouring_batches_are_one_run_and_a_marker_starts_another() -> None:
    found = OffsetMap(100)
    found.add(100, 109, 7)
    found.add(110, 119, 17)
    found.add(120, 129, 28)
    assert found.newest() == (MapRun(100, 7, 20), MapRun(120, 28, 10))


def test_before_anything_was_copied_nothing_is_known() -> None:
    assert OffsetMap(100).translate(50) is None
    assert OffsetMap(100).inverse(50) == 100


def test_before_the_start_is_the_start_and_beyond_the_end_the_next_offset() -> None:
    found = OffsetMap(100, 40)
    assert found.translate(3) == 40
    found.add(100, 101, 50)
    found.skip_to(110)
    assert [found.translate(offset) for offset in (0, 99, 100, 101, 102, 109, 110, 10**15)] == [50, 50, 50, 51, 52, 52, 52, 52]
    assert [found.inverse(offset) for offset in (0, 50, 51, 52, 10**15)] == [100, 100, 101, 110, 110]


def test_offsets_copied_before_the_map_was_begun_lead_to_the_beginning() -> None:
    found = OffsetMap.stored(StoredPosition(1, None, 1000, -1, None, 900, 0))
    found.add(1000, 1009, 905)
    assert [found.translate(offset) for offset in (0, 1, 500, 999, 1000, 1009, 1010)] == [0, 1, 1, 1, 905, 914, 915]
    store = {first: value for first, value in found.take_changes().items() if value}
    assert restored(found, found.newest(), store).translate(999) == 1
    assert OffsetMap.stored(StoredPosition(1, None, 10, -1, None, -1, 0)).translate(5) is None
    assert OffsetMap.stored(StoredPosition(1, None, 0, -1, None, 900, 0)).translate(5) == 900


def test_what_is_copied_again_counts_where_it_lies_now() -> None:
    found = OffsetMap(100)
    found.add(100, 109, 7)
    found.add(105, 112, 30)
    assert found.newest() == (MapRun(100, 7, 5), MapRun(105, 30, 8))
    assert [found.translate(offset) for offset in (104, 105, 112, 113)] == [11, 30, 37, 38]


def test_a_target_that_lost_its_end_has_only_what_was_copied_since() -> None:
    found = OffsetMap(100)
    found.add(100, 109, 7)
    found.add(110, 119, 20)
    found.add(120, 129, 12)
    assert found.newest() == (MapRun(100, 7, 5), MapRun(120, 12, 10))
    assert [found.translate(offset) for offset in (104, 105, 119, 120, 130)] == [11, 12, 12, 12, 22]


@settings(max_examples=60, deadline=None)
@given(_steps, st.floats(0, 1), _steps, st.booleans())
def test_what_the_source_lost_is_forgotten_by_the_next_commit(
    steps: list[Step], share: float, later: list[Step], thin: bool
) -> None:
    """An unclean election: the extra target records are copies of nothing."""
    model = model_of(steps)
    while thin and model.map.can_thin:
        model.map.thin()
    model.commit()
    cut = int(model.source * share)
    kept = bisect_left(model.sources, cut)
    model.map.cut(cut)
    del model.sources[kept:], model.targets[kept:]
    model.source = cut
    for step in later:
        model.copy(step)
    model.commit()
    if model.sources:
        assert_never_later(model, model.map)
        assert_never_later(model, model.restored())
        if not thin:
            assert_exact_where_copied(model, model.restored())


def assert_exact_where_copied(model: Model, found: OffsetMap) -> None:
    for source, target in zip(model.sources, model.targets, strict=True):
        assert found.translate(source) == target


def test_another_topic_begins_with_an_empty_map() -> None:
    model = model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 3))
    model.commit()
    assert len(model.store) == 2
    model.map.clear(0)
    model.map.add(0, 4, 0)
    model.commit()
    assert model.store == {}
    assert model.restored().translate(3) == 3


@settings(max_examples=40, deadline=None)
@given(_steps, st.floats(0, 1))
def test_chunks_about_records_that_the_target_no_longer_has_are_forgotten(steps: list[Step], share: float) -> None:
    model = model_of([*steps, *[(1, 1, 1)] * (4 * RUNS_OF_CHUNK)])
    model.commit()
    start = int(model.target * share)
    model.map.forget_before(start)
    model.commit()
    after = model.restored()
    assert after.nbytes == model.map.nbytes
    for source in range(model.source + 2):
        right = max(model.expected(source) or 0, start)
        assert max(after.translate(source) or 0, start) == max(model.map.translate(source) or 0, start) == right


def test_chunks_that_are_not_ours_are_refused() -> None:
    run = MapRun(10, 10, 5)
    for chunks in ([(9, encode_chunk([run], thinned=False))], [(10, b"")], [(10, b"\x01\x00\x00")]):
        with pytest.raises(MalformedData):
            settle_chunks(StoredPosition(1, None, 100, -1, None, 100, 0), chunks)
    for next_source, next_target in ((14, 100), (100, 14)):
        with pytest.raises(MalformedData, match="not part of it"):
            settle_chunks(
                StoredPosition(1, None, next_source, -1, None, next_target, 0), [(10, encode_chunk([run], thinned=False))]
            )


def test_the_budget_thins_the_longest_map_step_by_step() -> None:
    long, short = model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 100)), model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 10))
    budget = MapBudget(limit=(long.map.nbytes + short.map.nbytes) * 2 // 3)
    budget.keep(long.map)
    budget.keep(short.map)
    kept = short.map.nbytes
    budget.enforce(most=5)
    assert long.map.nbytes + short.map.nbytes > budget.limit
    for _ in range(100):
        budget.enforce(most=5)
    assert budget.nbytes <= budget.limit and short.map.nbytes == kept
    assert_never_later(long, long.map)
    budget.forget(long.map)
    assert budget.nbytes == kept


def test_many_maps_of_one_length_are_thinned_side_by_side() -> None:
    models = [model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 12)) for _ in range(50)]
    budget = MapBudget(limit=sum(model.map.nbytes for model in models) * 3 // 4)
    for model in models:
        budget.keep(model.map)
    for _ in range(3):
        budget.enforce()
    assert budget.nbytes <= budget.limit
    sizes = [model.map.nbytes for model in models]
    assert max(sizes) < 1.5 * min(sizes)
    for model in models[::10]:
        assert_never_later(model, model.map)


def test_a_budget_that_cannot_be_kept_ends() -> None:
    model = model_of([(1, 1, 1)] * (RUNS_OF_CHUNK * 12))
    budget = MapBudget(limit=1)
    budget.keep(model.map)
    budget.enforce(most=10_000)
    assert not model.map.can_thin and budget.nbytes > budget.limit


def test_with_many_maps_few_runs_are_open_and_nothing_is_less_exact() -> None:
    budget, model = MapBudget(limit=1000 * 160 * 4 * 5), model_of([(1, 1, 1)] * RUNS_OF_CHUNK)
    for other in (OffsetMap(0) for _ in range(999)):
        budget.keep(other)
    budget.keep(model.map)
    budget.enforce()
    for _ in range(RUNS_OF_CHUNK * 10):
        model.copy((1, 1, 1))
        assert len(model.map.newest()) <= 5
    model.commit()
    assert_exact(model, model.map)
    assert_exact(model, model.restored())


def test_a_sealed_run_costs_less_than_twelve_bytes_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a quiet partition adds with each commit."""
    monkeypatch.setattr(module, "RUNS_OF_CHUNK", 64)
    model = model_of([(0, 1, 300)] * 6400)
    assert model.map.nbytes / (64 * 99) < 12


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0, 1.5])
def test_a_position_moved_by_hand_keeps_a_map_that_is_never_later(share: float) -> None:
    model = model_of([(1, 1, 2)] * (RUNS_OF_CHUNK * 5))
    model.commit()
    position = StoredPosition(1, None, model.source, -1, None, model.target, 0, model.stored_runs)
    offset = int(model.source * share)
    runs, changes = moved_map(position, settle_chunks(position, model.store.items()), offset)
    store = {**model.store, **changes}
    moved = StoredPosition(1, None, offset, -1, None, model.target, 0, runs)
    left = {first: value for first, value in store.items() if value is not None}
    found = OffsetMap.stored(moved, settle_chunks(moved, left.items()))
    for source in range(min(offset, model.source)):
        translated, right = found.translate(source), model.expected(source)
        assert translated is not None and right is not None and (translated == right or right >= (model.expected(offset) or 0))
    found.add(offset, offset + 9, model.target + 5)
    assert found.translate(offset) == model.target + 5


def test_a_position_moved_by_hand_stays_without_a_map() -> None:
    assert moved_map(StoredPosition(1, None, 50, -1, None, 60, 0), [], 10) == ((), {})
