"""What is copied: the topics of the default run and those that `--full` adds, and what each wants of the sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bench.common.data import Case
from smartconnect.kernels import Codec

_FILL: Final = 0.85
"""A producer that compresses guesses the ratio and closes its batches a little before `batch.size`."""
_OVERHEAD: Final = 10
_GIGABYTES: Final = {100: 1.2, 1024: 3.0}
_PUBLISHED_EXACTLY_ONCE: Final = ((1024, 16, Codec.LZ4),)
"""Of MirrorMaker 2: the rows of the published table. Elsewhere it runs at least once, as published, which asks less of it than of us."""
_GIGABYTES_OF_TINY_BATCHES: Final = 0.6


@dataclass(frozen=True)
class Copy(Case):
    """One topic and how it is copied. `batch_kib`: a producer's `batch.size`; `exactly_once`: ours; `peer_exactly_once`: MirrorMaker 2's
    (Bento can not); `header`: with our provenance header; `recode`: the codec on the target, None: the topic's; `secured`: SASL_SSL on
    both legs."""

    batch_kib: int = 16
    exactly_once: bool = True
    peer_exactly_once: bool = True
    header: bool = False
    recode: Codec | None = None
    secured: bool = False

    @property
    def name(self) -> str:
        size = "1k" if self.size == 1024 else str(self.size)
        marks = (
            ("" if self.exactly_once else "-at-least-once") + ("-header" if self.header else "") + ("-tls" if self.secured else "")
        )
        to = f"-to-{self.recode.name.lower()}" if self.recode is not None else ""
        return f"{size}-{self.batch_kib}k-{self.codec.name.lower()}{to}{marks}"

    @property
    def topic(self) -> str:
        return f"bench-{self.name}"

    @property
    def target_codec(self) -> Codec:
        return self.codec if self.recode is None else self.recode

    @property
    def gigabytes(self) -> float:
        """Of all values."""
        return self.total * self.size / 1e9


def default() -> list[Copy]:
    """The three that the specification's main targets name."""
    return [_copy(1024, 16, Codec.LZ4), _copy(1024, 256, Codec.LZ4), _copy(100, 16, Codec.LZ4)]


def everything() -> list[Copy]:
    """The default ones first."""
    first = default()[0]
    return [
        *default(),
        replace(first, secured=True),
        replace(first, exactly_once=False, peer_exactly_once=False),
        replace(first, header=True),
        replace(first, recode=Codec.ZSTD),
        _copy(1024, 16, Codec.ZSTD),
        _copy(1024, 16, Codec.NONE),
        _copy(1024, 256, Codec.ZSTD),
        _copy(1024, 256, Codec.NONE),
        _copy(1024, 1, Codec.LZ4),
        _copy(100, 256, Codec.LZ4),
    ]


def scaled(copy: Copy, factor: float) -> Copy:
    """So many times its records, in whole partitions."""
    return replace(copy, records=max(8, int(copy.records * factor) // 8 * 8))


def with_peer_exactly_once(copy: Copy) -> Copy:
    """MirrorMaker 2 as we: it is not known then how fast it should be, where only its other delivery was published."""
    return replace(copy, peer_exactly_once=copy.exactly_once)


def sized_before_compression(copy: Copy) -> Copy:
    """With batches of `batch_kib` before compression, so more and smaller ones are stored."""
    return replace(copy, batch_bytes=copy.batch_kib << 10)


def _copy(size: int, batch_kib: int, codec: Codec) -> Copy:
    gigabytes = _GIGABYTES_OF_TINY_BATCHES if batch_kib == 1 else _GIGABYTES[size]
    records, batch_bytes = int(gigabytes * 1e9 / size) // 8 * 8, _before_compression(size, batch_kib << 10, codec)
    return Copy(size, records, codec, batch_bytes, batch_kib, peer_exactly_once=(size, batch_kib, codec) in _PUBLISHED_EXACTLY_ONCE)


def _before_compression(size: int, stored: int, codec: Codec) -> int:
    """Bytes of records in a batch that a producer with `batch.size` = `stored` makes: the limit is on what it stores."""
    if codec is Codec.NONE:
        return stored
    trial = Case(size, 8 * 2 * stored // size, codec, 2 * stored)
    ratio = trial.per_batch * (size + _OVERHEAD) / len(next(trial.batches(0)))
    return int(stored * _FILL * ratio)
