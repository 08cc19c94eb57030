"""What `recode` and `digest` should do, written for the reader, and what the tests look at: the records in a batch, one object each."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from smartconnect.kernels import Codec, Hop, Kind, Place, RecodePlan, decompress, encode, legacy, verify_crc
from smartconnect.kernels.encode import Frame, Record
from smartconnect.kernels.forward import Part
from smartconnect.kernels.forward_parts import LOG_APPEND_TIME
from smartconnect.kernels.twin_forward import parsed
from smartconnect.kernels.twin_walk import walk

NAME = b"__sc_provenance"
HERE = Place("source-cluster", "orders")
THERE = Place("target-cluster", "A.orders")
HOP = Hop(HERE, partition=3, timestamp=1_708_427_753_133, loop=THERE)


def opened(data: bytes | bytearray, *, append_time: bool = True) -> list[Record]:
    """The records of whole batches of any format, as a consumer sees them."""
    found: list[Record] = []
    for row in walk(data, 0, []):
        assert verify_crc(data, row)
        if row.kind is Kind.LEGACY:
            found += [Record(r.offset, r.value, r.key, r.timestamp) for r in legacy.records(data[row.start : row.end])]
            continue
        section = decompress(row.codec, memoryview(data)[row.records_start : row.end])
        (base_time,) = struct.unpack_from(">q", data, row.start + 27)
        appended = row.max_timestamp if append_time and row.attributes & LOG_APPEND_TIME else None
        part = Part(section, row.count, row.base_offset, row.last_offset, base_time, appended)
        found += [Record(r.offset, r.value, r.key, r.timestamp, r.headers) for r in parsed(part, 0)]
    return found


def hop_of(place: Place, partition: int, offset: int, timestamp: int) -> dict[str, Any]:
    return {"c": place.cluster_id, "t": place.topic, "p": partition, "o": offset, "ts": timestamp}


def provenance(*hops: dict[str, Any]) -> bytes:
    """The header's value as §8.3 wants it."""
    return json.dumps({"v": 1, "hops": list(hops)}, separators=(",", ":")).encode()


def hops_in(value: bytes | None) -> list[dict[str, Any]]:
    """The hops of a value that is canonical; else none."""
    try:
        found = json.loads(value or b"")
        hops = found["hops"]
        again = provenance(*(hop_of(Place(hop["c"], hop["t"]), hop["p"], hop["o"], hop["ts"]) for hop in hops))
    except (ValueError, KeyError, TypeError):
        return []
    return list(hops) if again == value else []


def expected(records: Sequence[Record], plan: RecodePlan) -> list[Record]:
    """The records that are written, still with their source offsets."""
    result: list[Record] = []
    for record in records:
        if record.offset < plan.from_offset or record.offset in plan.skip:
            continue
        headers = record.headers
        if plan.hop is not None:
            ours = [hops_in(value) for name, value in headers if name == NAME]
            loop = (plan.hop.loop.cluster_id, plan.hop.loop.topic)
            if any((hop["c"], hop["t"]) == loop for hops in ours for hop in hops) or (ours and len(ours[0]) >= 8):
                continue
            headers = with_hop(headers, plan.hop, record.offset)
        time = record.timestamp
        if plan.clamp is not None and time != -1:
            time = min(max(time, plan.clamp[0]), plan.clamp[1])
        result.append(Record(record.offset, record.value, record.key, time, headers))
    return result


def with_hop(headers: tuple[tuple[bytes, bytes | None], ...], hop: Hop, offset: int) -> tuple[tuple[bytes, bytes | None], ...]:
    mine = hop_of(hop.source, hop.partition, offset, hop.timestamp)
    names = [name for name, _value in headers]
    if NAME not in names:
        return (*headers, (NAME, provenance(mine)))
    at = names.index(NAME)
    return (*headers[:at], (NAME, provenance(*hops_in(headers[at][1]), mine)), *headers[at + 1 :])


def written(result: Any) -> list[Record]:
    """The records of recoded batches, with their source offsets put back from the stretches. Each batch must be one that a broker takes."""
    found: list[Record] = []
    for batch in result.batches:
        (row,) = walk(batch.data, 0, [])
        assert (row.start, row.end, row.base_offset) == (0, len(batch.data), 0)
        assert row.count == batch.count == row.last_offset + 1
        records = opened(batch.data)
        assert [record.offset for record in records] == list(range(batch.count))
        assert row.max_timestamp == max(record.timestamp for record in records)
        assert row.attributes == row.codec and row.producer_id == -1 and row.leader_epoch == -1
        source = [stretch.source + i for stretch in batch.stretches for i in range(stretch.count)]
        at = [stretch.at + i for stretch in batch.stretches for i in range(stretch.count)]
        assert at == list(range(batch.count))
        found += [Record(offset, r.value, r.key, r.timestamp, r.headers) for offset, r in zip(source, records, strict=True)]
    return found


def mostly(batches: Sequence[tuple[Frame, list[Record]]]) -> bytes:
    return b"".join(encode.batch(records, frame) for frame, records in batches)


places = st.sampled_from([HERE, THERE, Place("target-cluster", "orders"), Place('odd "name"\\', "é")])
our_values = st.lists(places, max_size=9).map(
    lambda hops: provenance(*(hop_of(place, 1, 2**62, 3) for place in hops))
) | st.sampled_from([None, b"", b"{}", b'{"v":1,"hops":[]}', b'{"v":2}'])
# Long values are given, not drawn: to draw them takes longer than all that is done with them.
fields = st.sampled_from([None, b"", b"x" * 300, bytes(range(256)) * 2]) | st.binary(max_size=8)
headers = st.lists(
    st.tuples(st.binary(max_size=6), st.none() | st.binary(max_size=12)) | st.tuples(st.just(NAME), our_values), max_size=3
).map(tuple)
plans = st.builds(
    RecodePlan,
    max_bytes=st.sampled_from([100, 400, 1000, 1 << 20]),
    from_offset=st.integers(0, 30),
    codec=st.none() | st.sampled_from(Codec),
    append_time_is_create_time=st.booleans(),
    hop=st.none() | st.just(HOP),
    skip=st.frozensets(st.integers(0, 30), max_size=3),
    clamp=st.none() | st.just((1000, 2**40)),
)


@st.composite
def batches(draw: st.DrawFn, max_batches: int = 4, max_records: int = 6) -> list[tuple[Frame, list[Record]]]:
    """Consecutive batches with holes and provenance headers; some empty, some with LogAppendTime or a delete horizon."""
    result: list[tuple[Frame, list[Record]]] = []
    offset = draw(st.integers(0, 3) | st.sampled_from([2**31, 2**62]))
    for _ in range(draw(st.integers(1, max_batches))):
        base = offset
        records: list[Record] = []
        for _ in range(draw(st.integers(0, max_records))):
            offset += draw(st.sampled_from([0, 0, 0, 1, 90]))
            records.append(Record(offset, draw(fields), draw(fields), draw(st.integers(-1, 2**45)), draw(headers)))
            offset += 1
        offset = max(offset, base + 1) + draw(st.sampled_from([0, 0, 5]))
        attributes = draw(st.sampled_from([0, 0, LOG_APPEND_TIME, 0x40]))
        codec = draw(st.sampled_from([Codec.NONE, *Codec]))
        result.append((Frame(codec=codec, base_offset=base, last_offset=offset - 1, attributes=attributes), records))
    return result
