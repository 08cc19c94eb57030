"""The demo's count must not be able to miss: each kind of fault in the bucket shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from smartconnect.cli.demo.bucket import BucketCheck, BucketTally
from smartconnect.cli.demo.source import PARTITIONS, Written, value
from smartconnect.objectstore import ObjectStore, ObjectSummary

TP = PARTITIONS[0]


class Bucket:
    """As much of a store as the check reads."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectSummary]:
        for key, body in sorted(self.objects.items()):
            yield ObjectSummary(key, len(body), 0)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        body = self.objects[key]
        for at in range(0, len(body), 100):
            yield body[at : at + 100]


def lines(*sequences: int) -> bytes:
    return b"".join(value(TP, n) + b"\n" for n in sequences)


def key(offset: int, folder: str = "2026") -> str:
    return f"dump/{TP.topic}/{folder}/{TP.topic}+{TP.partition}+{offset:010d}"


async def counted(objects: dict[str, bytes], records: int = 10) -> BucketTally:
    check = BucketCheck(cast(ObjectStore, Bucket(objects)), "dump/")
    written = Written()
    written.by_partition[TP] = records
    return await check.conclude(written)


async def test_all_records_once_are_perfect() -> None:
    tally = await counted({key(0): lines(*range(6)), key(6): lines(*range(6, 10))})
    assert tally.perfect
    assert (tally.once, tally.objects) == (10, 2)


async def test_a_missing_object_is_lost_records() -> None:
    tally = await counted({key(0): lines(*range(4)), key(8): lines(8, 9)})
    assert (tally.once, tally.lost, tally.twice) == (6, 4, 0)


async def test_a_missing_end_is_lost_records() -> None:
    assert (await counted({key(0): lines(*range(4))})).lost == 6


async def test_the_same_object_in_two_folders_is_twice() -> None:
    tally = await counted({key(0): lines(*range(10)), key(0, "2027"): lines(*range(10))})
    assert (tally.once, tally.twice, tally.perfect) == (10, 10, False)


async def test_torn_aborted_and_foreign_lines_are_strange() -> None:
    body = lines(*range(10)) + b'{"id":"aborted-1"}\n' + value(PARTITIONS[1], 3) + b"\n" + value(TP, 10)[:20]
    tally = await counted({key(0): body})
    assert (tally.once, tally.strange) == (10, 3)


async def test_a_foreign_object_is_strange() -> None:
    assert (await counted({key(0): lines(*range(10)), "dump/x": b""})).strange == 1


async def test_an_object_that_overtook_its_elder_in_the_listing_waits_for_it() -> None:
    bucket = Bucket({key(5): lines(*range(5, 10))})
    check = BucketCheck(cast(ObjectStore, bucket), "dump/")
    await check.look()
    bucket.objects[key(0)] = lines(*range(5))
    await check.look()
    assert (check.tally.once, check.tally.lost) == (10, 0)
