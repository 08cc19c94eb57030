"""When the connections to a broker share its partitions, and when one of them has all."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from smartconnect.kafka.fetch_bundle import Bundle
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition


class Channel:
    """As a bundle sees it."""

    def __init__(self) -> None:
        self.full, self.calm, self.waits = False, True, False
        self._states: list[PartitionState] = []

    @property
    def members(self) -> list[PartitionState]:
        return self._states.copy()

    def __len__(self) -> int:
        return len(self._states)

    def add(self, state: PartitionState) -> None:
        self._states.append(state)

    def remove(self, state: PartitionState) -> None:
        self._states.remove(state)

    def becomes(self, *, full: bool = False, calm: bool = False) -> None:
        self.full, self.calm = full, calm


def bundle_of(channels: int, partitions: int) -> Bundle[Channel]:
    bundle = Bundle([Channel() for _ in range(channels)])
    for number in range(partitions):
        bundle.place(PartitionState(TopicPartition("orders", number), 0, -1))
    return bundle


def shares(bundle: Bundle[Channel]) -> list[int]:
    return [len(channel) for channel in bundle.channels]


def test_one_connection_has_all_partitions_until_its_answers_are_full() -> None:
    bundle = bundle_of(2, 9)
    first, second = bundle.channels
    assert shares(bundle) == [9, 0]
    first.becomes()
    bundle.regroup(first)
    assert shares(bundle) == [9, 0]
    first.becomes(full=True)
    bundle.regroup(first)
    assert shares(bundle) == [5, 4]
    assert [state.tp.partition for state in second.members] == [1, 3, 5, 7]


def test_a_full_one_shares_with_all_others_and_with_each_once() -> None:
    bundle = bundle_of(4, 10)
    for channel in bundle.channels[:2]:
        channel.becomes(full=True)
        bundle.regroup(channel)
        assert sorted(shares(bundle)) == [2, 2, 3, 3]


def test_nothing_is_given_to_a_connection_that_still_waits_for_an_answer() -> None:
    bundle = bundle_of(2, 8)
    first, second = bundle.channels
    first.becomes(full=True)
    second.waits = True
    bundle.regroup(first)
    assert shares(bundle) == [8, 0]
    second.waits = False
    bundle.regroup(first)
    assert shares(bundle) == [4, 4]


def test_whoever_is_calm_takes_over_from_others_that_are_calm_also_while_they_wait() -> None:
    bundle = bundle_of(2, 8)
    first, second = bundle.channels
    first.becomes(full=True)
    bundle.regroup(first)
    bundle.regroup(second)
    assert shares(bundle) == [4, 4], "the first is not calm"
    first.becomes(calm=True)
    first.waits = True
    bundle.regroup(second)
    assert shares(bundle) == [0, 8]


def test_new_partitions_go_to_the_emptiest_connection_in_use() -> None:
    bundle = bundle_of(2, 4)
    first, second = bundle.channels
    first.becomes(full=True)
    bundle.regroup(first)
    second.remove(second.members[0])
    bundle.place(PartitionState(TopicPartition("more", 0), 0, -1))
    assert shares(bundle) == [2, 2]


def test_a_broker_with_one_connection_is_left_as_it_is() -> None:
    bundle = bundle_of(1, 3)
    (only,) = bundle.channels
    for full in (True, False):
        only.becomes(full=full, calm=not full)
        bundle.regroup(only)
        assert shares(bundle) == [3]


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["full", "calm", "neither"]), st.booleans())))
def test_every_partition_has_one_connection_whatever_comes(channels: int, steps: list[tuple[int, str, bool]]) -> None:
    bundle, numbers = bundle_of(channels, 7), itertools.count(7)
    for at, how, waits in steps:
        channel = bundle.channels[at % channels]
        channel.becomes(full=how == "full", calm=how == "calm")
        channel.waits = False
        bundle.regroup(channel)
        channel.waits = waits
        bundle.place(PartitionState(TopicPartition("orders", next(numbers)), 0, -1))
        owned = Counter(state.tp.partition for one in bundle.channels for state in one.members)
        assert sorted(owned) == list(range(max(owned) + 1)) and set(owned.values()) == {1}
