"""The inner loops: record batches of Kafka as bytes, without a Python object for each record.

`walk` makes a table of the batches of a fetch response, `verify_crc` and `decompress` prepare one batch, `sections` all of them (runs of
lz4 in one go), and `join` turns sections into delimited bytes in the blocks of a writer; `crc32c` sums up such blocks. For replication
`check` verifies and `stamp` patches fetched batches in place, `recode` writes records anew and `digest` sums them up; `put_batches` and
`quiet_answers` are the inner loops of Produce requests and answers. All but the preparations exist compiled and in Python;
`IMPLEMENTATION` says which one is in use ("compiled" or "python"; the environment's SMARTCONNECT_KERNELS=python forces the twin). All that
takes long lets go of the interpreter lock. Called by `kafka/`, `objectstore/` and the jobs; imports nothing of ours.
"""

from __future__ import annotations

from smartconnect.kernels import twin_crc, twin_digest, twin_join, twin_produce, twin_rewrite, twin_stamp, twin_walk
from smartconnect.kernels.batch import Batch, BytesLike, Codec, Kind
from smartconnect.kernels.blocks import BLOCK_BYTES, BlockPool, BlockWriter, FreeBlocks, Taken, memory_of
from smartconnect.kernels.choice import COMPILED_AVAILABLE, IMPLEMENTATION
from smartconnect.kernels.codecs import DEFAULT_LIMIT, Scratch, decompress
from smartconnect.kernels.crc import verify_crc
from smartconnect.kernels.errors import DecompressionBomb, KernelError, MalformedBatch
from smartconnect.kernels.forward import (
    NO_RECORDS,
    DigestPlan,
    Hop,
    Place,
    RangeDigest,
    Recoded,
    RecodedBatch,
    RecodePlan,
    Stamp,
    Stretch,
)
from smartconnect.kernels.plan import NO_LIMIT, START, JoinPlan, JoinResult, Limits, Resume, Section
from smartconnect.kernels.unpack import sections

if IMPLEMENTATION == "compiled":
    from smartconnect.kernels import _compiled

    walk = _compiled.walk
    join = _compiled.join
    stamp = _compiled.stamp
    check = _compiled.check
    crc32c = _compiled.crc32c
    recode = _compiled.recode
    digest = _compiled.digest
    put_batches = _compiled.put_batches
    quiet_answers = _compiled.quiet_answers
else:
    walk = twin_walk.walk
    join = twin_join.join
    stamp = twin_stamp.stamp
    check = twin_stamp.check
    crc32c = twin_crc.crc32c
    recode = twin_rewrite.recode
    digest = twin_digest.digest
    put_batches = twin_produce.put_batches
    quiet_answers = twin_produce.quiet_answers

__all__ = [
    "BLOCK_BYTES",
    "COMPILED_AVAILABLE",
    "DEFAULT_LIMIT",
    "IMPLEMENTATION",
    "NO_LIMIT",
    "NO_RECORDS",
    "START",
    "Batch",
    "BlockPool",
    "BlockWriter",
    "BytesLike",
    "Codec",
    "DecompressionBomb",
    "DigestPlan",
    "FreeBlocks",
    "Hop",
    "JoinPlan",
    "JoinResult",
    "KernelError",
    "Kind",
    "Limits",
    "MalformedBatch",
    "Place",
    "RangeDigest",
    "RecodePlan",
    "Recoded",
    "RecodedBatch",
    "Resume",
    "Scratch",
    "Section",
    "Stamp",
    "Stretch",
    "Taken",
    "check",
    "crc32c",
    "decompress",
    "digest",
    "join",
    "memory_of",
    "put_batches",
    "quiet_answers",
    "recode",
    "sections",
    "stamp",
    "verify_crc",
    "walk",
]
