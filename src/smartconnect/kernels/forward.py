"""What the forwarding kernels are told and what they answer. Made by the replication job and by `verify`, read by both implementations.

`stamp` turns a fetched batch into one that can be produced, in place; `check` verifies checksums; `recode` writes records anew where a
batch cannot go as it is; `digest` sums records up for comparison. Rules: kafka-replication.md §3, §6.1, §8.3, §12."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smartconnect.kernels.batch import BytesLike, Codec
from smartconnect.kernels.plan import NO_LIMIT, Resume

PROVENANCE: Final = b"__sc_provenance"
MAX_HOPS: Final = 8
HOPS_BEGIN: Final = b'{"v":1,"hops":['
HOPS_END: Final = b"]}"


class Stamp(NamedTuple):
    """Whose batches they become. `producer_id` −1 with epoch −1 and base sequences −1 stands for no producer."""

    producer_id: int
    producer_epoch: int
    transactional: bool


class Place(NamedTuple):
    """A topic of one cluster, as a hop of the provenance header names it."""

    cluster_id: str
    topic: str

    def hop_begin(self) -> bytes:
        """What every hop of this place begins with: canonical JSON up to the partition's number."""
        return b'{"c":%s,"t":%s,"p":' % (json.dumps(self.cluster_id).encode(), json.dumps(self.topic).encode())


@dataclass(frozen=True, slots=True)
class Hop:
    """What is added to the provenance header of each record: where it was read, and `timestamp`, the time of copying in ms. A record that
    has been at `loop` before, which is where it would go now, is left out; so is one that would get more than 8 hops."""

    source: Place
    partition: int
    timestamp: int
    loop: Place

    def before_offset(self) -> bytes:
        return self.source.hop_begin() + b'%d,"o":' % self.partition

    def after_offset(self) -> bytes:
        return b',"ts":%d}' % self.timestamp


@dataclass(frozen=True, slots=True)
class RecodePlan:
    """How records become new batches.

    `from_offset`: records below it are left out. `codec` None: each batch keeps its own. `max_bytes`: of a whole batch with its header.
    `append_time_is_create_time`: records of a LogAppendTime batch get the time that the source's readers see; else the producers' times,
    which stand in the records all the same (an old wrapper message always gives the seen one). `skip`: source offsets to leave out.
    `clamp`: timestamps are moved into this range, both ends included; "no timestamp" (−1) stays. `enough_bytes`: stop once the new batches
    have so many; the rest of the rows is for the next call, with `from_offset` the `next_offset` of this one."""

    max_bytes: int
    from_offset: int = 0
    codec: Codec | None = None
    append_time_is_create_time: bool = True
    hop: Hop | None = None
    skip: frozenset[int] = frozenset()
    clamp: tuple[int, int] | None = None
    enough_bytes: int = NO_LIMIT


class Stretch(NamedTuple):
    """Records of one batch whose source offsets follow each other: `count` from `source` on, the first of them number `at` in the batch."""

    source: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a stretch
    at: int


class RecodedBatch(NamedTuple):
    """One whole v2 batch with offsets 0…count − 1, CreateTime, no producer, right checksum: `stamp` makes it ours."""

    data: bytearray
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a batch
    stretches: tuple[Stretch, ...]


@dataclass(slots=True)
class Recoded:
    """What became of the records. `next_offset`: everything below it is in a batch or left out on purpose; it lies behind all rows unless
    `enough_bytes` ended the call. `records_in`: all at or after `from_offset`; `looped` of them had been at the target before, `far` would
    have had more than 8 hops, `skipped` were named in the plan. `oversized`: source offsets of records that exceed `max_bytes` alone; they
    are in no batch, and no batch reaches across one."""

    next_offset: int
    batches: list[RecodedBatch] = field(default_factory=list)
    records_in: int = 0
    looped: int = 0
    far: int = 0
    skipped: int = 0
    oversized: list[int] = field(default_factory=list)


class Part(NamedTuple):
    """The decompressed records of one batch with what their times refer to. `append_time` not None: it is the time of all of them."""

    data: BytesLike
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a part
    base_offset: int
    last_offset: int
    base_timestamp: int
    append_time: int | None


class Room(NamedTuple):
    """At most `records`, and `nbytes` of them uncompressed unless the first alone has more."""

    records: int
    nbytes: int


class Rewritten(NamedTuple):
    """What one call of `rewrite` put into its buffer and what it left out: the numbers of `Recoded` for it. `nbytes` uncompressed;
    `finished`: nothing of the parts is left, else `resume` says where the next call goes on."""

    nbytes: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense here
    base_timestamp: int
    max_timestamp: int
    stretches: tuple[Stretch, ...]
    records_in: int
    looped: int
    far: int
    skipped: int
    next_offset: int
    finished: bool
    resume: Resume


@dataclass(frozen=True, slots=True)
class DigestPlan:
    """Records from `from_offset` to below `until_offset` are summed up, `every` so many in a range. `loop`: records that have been there,
    or have 8 hops already, are left out, as `recode` leaves them out with a `Hop`."""

    from_offset: int
    until_offset: int
    every: int = 10_000
    append_time_is_create_time: bool = True
    loop: Place | None = None


class RangeDigest(NamedTuple):
    """`count` records between two offsets, both included, and the CRC32C of what a reader sees of them: for each, big-endian, timestamp
    i64, key, value, number of headers i32, name and value of each; a field is its length i32 (−1 for null) and its bytes. Headers of
    ours do not count. Equal records give equal ranges wherever they lie and however they are batched."""

    first_offset: int
    last_offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a range
    crc: int


NO_RECORDS: Final = RangeDigest(-1, -1, 0, 0)
