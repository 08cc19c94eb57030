# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled forms of the `twin_…` modules' kernels: same contract, same errors with the same positions.

`join` lets go of the interpreter lock while it runs. It works on plain C state: pointers to the sections (held by buffer views) and to the
blocks that the writer has reserved. When the reserve is used up it comes back, reserves more, and goes on where it was; a record is parsed
whole, checked whole and only then written, so no error ever leaves part of one behind.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from smartconnect.kernels import batch as _batch
from smartconnect.kernels import blocks as _blocks
from smartconnect.kernels import errors as _errors
from smartconnect.kernels import forward as _forward
from smartconnect.kernels import plan as _plan

cdef object _Batch = _batch.Batch
# Past the named tuple's own constructor, which is Python and costs more than all the rest of a row.
cdef object _new_row = tuple.__new__
cdef object _MalformedBatch = _errors.MalformedBatch
cdef tuple _REASONS = _errors.REASONS
cdef object _JoinResult = _plan.JoinResult
cdef object _Resume = _plan.Resume
cdef object _Stretch = _forward.Stretch
cdef object _Rewritten = _forward.Rewritten
cdef object _RangeDigest = _forward.RangeDigest
cdef object _START = _plan.START
cdef object _NO_LIMITS = _plan.Limits()
cdef tuple _KINDS = tuple(_batch.Kind)
cdef tuple _CODECS = tuple(_batch.Codec)

cdef enum:
    # Reasons: the numbers of errors.py.
    CUT_NUMBER = 1
    LEAVES_SECTION = 2
    NEGATIVE_LENGTH = 3
    BYTES_LEFT = 4
    OFFSETS_NOT_ASCENDING = 5
    OUTSIDE_BATCH = 6
    TOO_FEW_RECORDS = 7
    TOO_MANY_BYTES = 8
    BAD_LENGTH = 9
    BAD_MAGIC = 10
    BAD_OFFSETS = 11
    BAD_COUNT = 12
    BAD_CODEC = 13
    BAD_MARKER = 14
    OFFSETS_GO_BACK = 15
    # What else ends a run.
    FINISHED = 0
    STOPPED = 100
    NEED_ROOM = 101

cdef enum:
    DATA = 0
    CONTROL = 1
    ABORTED = 2
    EMPTY = 3
    LEGACY = 4
    LZ4 = 3
    BLOCK = 65536
    HEADER = 61
    # Room reserved at a time: what one stay without the lock writes at most, unless a single record is larger.
    STRETCH = 4194304
    # Values up to this are copied in steps of 16 bytes that may run over their end inside block and section.
    SHORT = 256

assert _blocks.BLOCK_BYTES == BLOCK and _batch.HEADER_BYTES == HEADER

cdef int64_t MAX64 = 0x7FFFFFFFFFFFFFFF

include "_numbers.pxi"
include "_walk.pxi"
include "_forward_crc.pxi"
include "_join_loop.pxi"
include "_join.pxi"
include "_crc_of.pxi"
include "_forward_stamp.pxi"
include "_forward_record.pxi"
include "_forward_rewrite.pxi"
include "_forward_digest.pxi"
include "_produce.pxi"
include "_unfold.pxi"
