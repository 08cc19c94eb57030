"""When a partition goes back to its position: never while what would be forgotten is about to be named by a commit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.partition import Partition, SealedObject
from smartconnect.jobs.obs_dump.rewinds import Rewinds
from tests.unit.obs_dump.givens import HandClock, a_partition


class Bench:
    """A partition that rests for five seconds before it is rewound; `done`: what was done with it."""

    def __init__(self) -> None:
        self.hand, self.partition, self.done = HandClock(), a_partition(), list[str]()
        sealer: Any = SimpleNamespace(rewind=lambda _: self.done.append("rewound"))
        self.rewinds = Rewinds(self.hand.clock(), sealer, self._again)
        self.rewinds.add(self.partition, 5.0)

    def _again(self, partition: Partition) -> None:
        assert not partition.rewinding
        self.done.append("fetched")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def prepared(*, entry: bool) -> SealedObject:
    upload: Any = None
    return SealedObject(0, 10, -1, 10, 100, upload, Entry("lake", "key", "upload", 1, 100, 0, 10) if entry else None)


def test_it_rests_and_is_rewound_once(bench: Bench) -> None:
    bench.rewinds.look(at_once=False)
    assert bench.partition.rewinding and bench.done == []
    bench.hand.now += 5
    for _ in range(2):
        bench.rewinds.look(at_once=False)
    assert bench.done == ["rewound", "fetched"]


def test_a_drain_waits_for_no_rest(bench: Bench) -> None:
    bench.rewinds.look(at_once=True)
    assert bench.done == ["rewound", "fetched"]


def test_not_while_a_transaction_names_it(bench: Bench) -> None:
    bench.partition.in_transaction = True
    bench.rewinds.look(at_once=True)
    assert bench.partition.rewinding and bench.done == []
    bench.partition.in_transaction = False
    bench.rewinds.look(at_once=True)
    assert bench.done == ["rewound", "fetched"]


@pytest.mark.parametrize(("entry", "done"), [(True, []), (False, ["rewound", "fetched"])], ids=["prepared", "on its way"])
def test_not_while_its_first_object_can_be_committed(bench: Bench, entry: bool, done: list[str]) -> None:
    bench.partition.sealed.append(prepared(entry=entry))
    bench.rewinds.look(at_once=True)
    assert bench.done == done
