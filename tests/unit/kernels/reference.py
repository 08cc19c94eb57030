"""What the kernels should do, written for the reader: records in, bytes and numbers out, one record at a time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from fastcrc import crc32
from hypothesis import strategies as st

from smartconnect.kernels import BlockPool, BlockWriter, Codec, JoinPlan, Limits, encode
from smartconnect.kernels.encode import Frame, Record


@dataclass(frozen=True)
class Expected:
    lines: list[bytes]
    offsets: list[int]
    nulls: int
    delimiters: int


def expected(records: Sequence[Record], plan: JoinPlan, limits: Limits) -> Expected:
    """The lines that one call of `join` writes."""
    lines: list[bytes] = []
    offsets: list[int] = []
    nulls = delimiters = 0
    for record in records:
        if record.offset < limits.skip_before:
            continue
        if len(lines) >= limits.max_records:
            break
        data = (record.value or b"") if plan.kv_delimiter is None else (record.key or b"") + (record.value or b"")
        line = line_of(record, plan)
        if lines and sum(map(len, lines)) + len(line) > limits.max_bytes:
            break
        lines.append(line)
        offsets.append(record.offset)
        nulls += record.value is None
        delimiters += data.count(plan.delimiter) if plan.count_delimiters and len(plan.delimiter) == 1 else 0
    return Expected(lines, offsets, nulls, delimiters)


def line_of(record: Record, plan: JoinPlan) -> bytes:
    head = b"" if plan.kv_delimiter is None else (record.key or b"") + plan.kv_delimiter
    return head + (record.value or b"") + plan.delimiter


def content(writer: BlockWriter, pool: BlockPool) -> bytes:
    """All that a writer holds, of which its sum must be; its blocks go back."""
    taken = writer.take()
    data = b"".join(taken.views)
    assert taken.crc32c == crc32.iscsi(data)
    pool.release(taken.views)
    return data


def legacy_message(
    offset: int,
    key: bytes | None,
    value: bytes | None,
    *,
    magic: int = 1,
    timestamp: int = 1000,
    attributes: int = 0,
) -> bytes:
    """One entry of an old message set."""
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", timestamp) if magic else b"")
    for field in (key, value):
        body += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


nullable = st.none() | st.binary(max_size=40) | st.binary(min_size=100, max_size=300)
headers = st.lists(st.tuples(st.binary(max_size=6), st.none() | st.binary(max_size=12)), max_size=3).map(tuple)


@st.composite
def batches(draw: st.DrawFn, max_batches: int = 4, max_records: int = 12) -> list[tuple[Frame, list[Record]]]:
    """Consecutive batches with holes before, in and behind them; some without records."""
    result: list[tuple[Frame, list[Record]]] = []
    offset = draw(st.integers(0, 3) | st.sampled_from([2**31, 2**53, 2**62]))
    for _ in range(draw(st.integers(1, max_batches))):
        offset += draw(st.integers(0, 3))
        base = offset
        records: list[Record] = []
        for _ in range(draw(st.integers(0, max_records))):
            offset += draw(st.sampled_from([0, 0, 0, 1, 200]))
            time = draw(st.integers(-1, 2**45))
            records.append(Record(offset, draw(nullable), draw(nullable), time, draw(headers)))
            offset += 1
        offset = max(offset, base + 1) + draw(st.sampled_from([0, 0, 5]))
        frame = Frame(codec=draw(st.sampled_from(Codec)), base_offset=base, last_offset=offset - 1)
        result.append((frame, records))
    return result


def response(made: Sequence[tuple[Frame, list[Record]]]) -> bytes:
    return b"".join(encode.batch(records, frame) for frame, records in made)


plans = st.builds(
    JoinPlan,
    st.sampled_from([b"\n", b",", b"", b"\x00"]),
    st.none() | st.sampled_from([b":", b"", b"\n", b"=>,\n", b"x" * 16]),
    st.booleans(),
)
