"""What `join` is told and what it answers. Made by the jobs, read by both implementations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from smartconnect.kernels.batch import BytesLike

NO_LIMIT: Final = (1 << 63) - 1
MAX_DELIMITER_BYTES: Final = 64


class Section(NamedTuple):
    """The decompressed records section of one v2 batch. `data` empty and `count` 0 stands for a batch without records for the reader
    (control, aborted, empty): joining it writes nothing and moves the position behind it."""

    data: BytesLike
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a section
    base_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """How one record becomes bytes: value, `delimiter`; or, with `kv_delimiter` not None, key, `kv_delimiter`, value, `delimiter`.
    Both may be empty, and have at most 64 bytes. `count_delimiters` asks for `JoinResult.delimiters_in_data`."""

    delimiter: bytes = b"\n"
    kv_delimiter: bytes | None = None
    count_delimiters: bool = True

    def __post_init__(self) -> None:
        if max(len(self.delimiter), len(self.kv_delimiter or b"")) > MAX_DELIMITER_BYTES:
            raise ValueError(f"a delimiter has at most {MAX_DELIMITER_BYTES} bytes")


class Limits(NamedTuple):
    """Records with an offset below `skip_before` are not written. At most `max_records` are, exactly; the record that would exceed
    `max_bytes` is not, unless it is the first of the call."""

    skip_before: int = 0
    max_records: int = NO_LIMIT
    max_bytes: int = NO_LIMIT


class Resume(NamedTuple):
    """Where a stopped `join` goes on in the same list of sections: section, byte position in it, records of it that are done, and the
    offset of the last of those relative to the section's base (−1: none)."""

    section: int
    position: int
    done: int
    delta: int


START: Final = Resume(0, 0, 0, -1)


class JoinResult(NamedTuple):
    """`next_offset`: everything below it is written or skipped; never less than `skip_before`. `first_record_offset` and
    `last_record_offset` are of records written in this call, −1 if there were none. `delimiters_in_data`: how often the one-byte
    delimiter occurs inside keys and values written (0 if not asked for, or the delimiter is not one byte).
    `consumed_all`: every section is finished; else `resume` says where the next call goes on."""

    records_written: int
    bytes_written: int
    next_offset: int
    first_record_offset: int
    last_record_offset: int
    null_values: int
    delimiters_in_data: int
    consumed_all: bool
    resume: Resume
