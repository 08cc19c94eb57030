"""Who holds which bucket, through every order of deaths and returns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smartconnect.coordination.board import BucketBoard

SETTLED = 100.0


def _both_home() -> BucketBoard:
    board = BucketBoard(2)
    board.joined(0, 0.0)
    board.joined(1, 0.0)
    board.changes(0.0)
    return board


def test_each_worker_gets_its_home_bucket() -> None:
    board = BucketBoard(2)
    board.changes(0.0)
    board.joined(0, 0.1)
    assert board.changes(0.1) == {0: frozenset({0})}
    board.joined(1, 0.2)
    assert board.changes(0.2) == {1: frozenset({1})}


def test_first_worker_does_not_get_the_bucket_of_one_that_is_still_starting() -> None:
    board = BucketBoard(2, first_wait_s=30)
    board.changes(0.0)
    board.joined(0, 1.0)
    assert board.changes(29.0) == {0: frozenset({0})}
    assert board.changes(31.0) == {0: frozenset({0, 1})}


def test_dead_workers_bucket_moves_at_once() -> None:
    board = _both_home()
    board.gone(0)
    assert board.changes(1.0) == {1: frozenset({0, 1})}


def test_returning_home_waits_for_the_release_and_is_then_handed_back() -> None:
    board = _both_home()
    board.gone(0)
    board.changes(1.0)
    board.joined(0, 2.0)
    assert board.changes(2.0) == {0: frozenset()}
    assert board.changes(3.0) == {}
    assert board.changes(SETTLED) == {1: frozenset({1})}
    assert board.changes(SETTLED + 50) == {}
    board.released(1, [0])
    assert board.changes(SETTLED + 50) == {0: frozenset({0})}


def test_worker_that_dies_again_and_again_does_not_get_its_bucket_back() -> None:
    board = _both_home()
    board.gone(0)
    board.changes(1.0)
    for second in range(2, 20, 2):
        board.joined(0, float(second))
        board.changes(second + 1.0)
        board.gone(0)
        assert board.share(1) == {0, 1}


def test_holder_that_dies_while_it_lets_go_frees_the_bucket() -> None:
    board = _both_home()
    board.gone(0)
    board.changes(1.0)
    board.joined(0, 2.0)
    board.changes(SETTLED)
    board.gone(1)
    assert board.changes(SETTLED + 1) == {0: frozenset({0, 1})}


def test_release_of_something_never_taken_away_changes_nothing() -> None:
    board = _both_home()
    board.released(0, [0, 1, 7, -1])
    assert board.changes(SETTLED) == {}


EVENTS = st.lists(st.tuples(st.sampled_from(["joined", "gone", "released", "time"]), st.integers(0, 2)), max_size=40)


@given(EVENTS)
def test_no_bucket_ever_has_two_holders_and_all_are_held_when_somebody_lives(events: list[tuple[str, int]]) -> None:
    board, now, alive = BucketBoard(3, settle_s=5, first_wait_s=0), 0.0, set[int]()
    told: dict[int, frozenset[int]] = {}
    running: dict[int, set[int]] = {}
    for kind, worker in events:
        now += 4.0
        match kind:
            case "joined" if worker not in alive:
                alive.add(worker)
                running[worker] = set()
                board.joined(worker, now)
            case "gone" if worker in alive:
                alive.discard(worker)
                told.pop(worker, None)
                del running[worker]
                board.gone(worker)
            case "released" if worker in alive:
                free = running[worker] - told.get(worker, frozenset())
                running[worker] -= free
                board.released(worker, free)
        for changed, share in board.changes(now).items():
            assert changed in alive
            told[changed] = share
            running[changed] |= share
        held = [bucket for buckets in running.values() for bucket in buckets]
        assert len(held) == len(set(held)), "two workers may run units of one bucket"
        assert not alive or set(held) == {0, 1, 2}
