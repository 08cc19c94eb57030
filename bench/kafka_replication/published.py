"""What the peers reach on a quiet machine with two cores: MB/s of uncompressed data in the steady state. A run in which one falls more than
30 % short says nothing. The targets of the specification stand beside."""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.kafka_replication import bento, mirror_maker
from bench.kafka_replication.cases import Copy
from smartconnect.kernels import Codec


class Known(NamedTuple):
    """MB/s and CPU seconds per GB of a peer."""

    mb_per_s: float
    cpu_s_per_gb: float


_MIRROR_MAKER_ONCE: Final = {(1024, 16, Codec.LZ4): Known(124, 8.6)}
_MIRROR_MAKER: Final = {
    (1024, 16, Codec.LZ4): Known(96, 12.0),
    (1024, 16, Codec.NONE): Known(124, 7.3),
    (1024, 16, Codec.ZSTD): Known(131, 10.6),
    (1024, 256, Codec.LZ4): Known(257, 6.0),
    (1024, 256, Codec.NONE): Known(200, 5.0),
    (1024, 256, Codec.ZSTD): Known(188, 8.3),
    (100, 16, Codec.LZ4): Known(46, 34),
    (100, 256, Codec.LZ4): Known(90, 18),
}
"""At least once."""
_BENTO: Final = {
    (1024, 16, Codec.LZ4): Known(194, 6.4),
    (1024, 256, Codec.LZ4): Known(162, 7.1),
    (100, 16, Codec.LZ4): Known(52, 33),
    (1024, 256, Codec.NONE): Known(158, 4.3),
}
_CPU: Final = {
    (1024, 16, Codec.LZ4): {mirror_maker.NAME: 10.0, bento.NAME: 5.0},
    (1024, 256, Codec.LZ4): {mirror_maker.NAME: 15.0, bento.NAME: 15.0},
    (100, 16, Codec.LZ4): {mirror_maker.NAME: 30.0, bento.NAME: 25.0},
}
_CPU_SECURED: Final = {mirror_maker.NAME: 5.0}
WALL: Final = {mirror_maker.NAME: 3.0, bento.NAME: 2.0}
"""Wanted: our throughput as a multiple of the peer's."""


def known(side: str, case: Copy) -> Known | None:
    """None where nothing was published."""
    if case.secured or case.recode is not None:
        return None
    key = (case.size, case.batch_kib, case.codec)
    if side == bento.NAME:
        return _BENTO.get(key)
    return (_MIRROR_MAKER_ONCE if case.peer_exactly_once else _MIRROR_MAKER).get(key)


def cpu_wanted(case: Copy) -> dict[str, float]:
    """Peer → its CPU as a multiple of ours; empty where the specification says nothing."""
    if not case.exactly_once or case.header or case.recode is not None:
        return {}
    return _CPU_SECURED if case.secured else _CPU.get((case.size, case.batch_kib, case.codec), {})
