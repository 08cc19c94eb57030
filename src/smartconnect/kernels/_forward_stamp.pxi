# `stamp` and `check`: headers patched in place, checksums verified. Bodies are read once, by `check`, and never written.

cdef struct Range:
    Py_ssize_t start, end
    int32_t sequence
    uint32_t crc
    bint legacy

cdef enum:
    # Work below this keeps the interpreter lock: to get it back can take longer.
    WORTH_BYTES = 65536
    WORTH_BATCHES = 64
    # Where the checksum begins, and how much of the header it covers up to the record count.
    SUMMED_FROM = 21
    PATCHED = 36
    LEGACY_SUMMED_FROM = 16
    SMALLEST_LEGACY = 26


cdef class _Ranges:
    """A buffer, held, and a C table of ranges in it."""
    cdef Py_buffer buffer
    cdef bint held
    cdef Range* ranges
    cdef Py_ssize_t count, total, most

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)
        free(self.ranges)

    cdef int hold(self, buffer, Py_ssize_t count, int flags) except -1:
        PyObject_GetBuffer(buffer, &self.buffer, flags)
        self.held = True
        self.ranges = <Range*> malloc((count + 1) * sizeof(Range))
        if self.ranges == NULL:
            raise MemoryError
        self.most = count
        return 0

    cdef Range* next(self) except NULL:
        if self.count == self.most:
            raise ValueError("the list of batches grew while it was read")
        self.count += 1
        return &self.ranges[self.count - 1]

    cdef int add_batch(self, Py_ssize_t start, Py_ssize_t end, int32_t sequence) except -1:
        cdef const uint8_t* p = <const uint8_t*> self.buffer.buf + start
        cdef bint whole = 0 <= start and start <= end - HEADER and end <= self.buffer.len
        if not whole or p[16] != 2 or <int32_t> big(p + 8, 4) != end - start - 12:
            raise ValueError(f"bytes {start} to {end} are not one v2 record batch")
        cdef Range* r = self.next()
        r.start = start
        r.end = end
        r.sequence = sequence
        return 0

    cdef int add_row(self, given) except -1:
        cdef Range* r = self.next()
        cdef tuple row
        if not isinstance(given, _Batch):
            raise TypeError("this is no row of a batch")
        row = <tuple> given
        r.start = row[1]
        r.end = row[2]
        r.crc = row[11]
        r.legacy = row[0] is _KINDS[LEGACY]
        if r.start < 0 or r.start > r.end - SMALLEST_LEGACY or r.end > self.buffer.len:
            raise ValueError("a row does not belong to this buffer")
        self.total += r.end - r.start
        return 0


cdef inline void store(uint8_t* p, uint64_t value, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        p[i] = <uint8_t> (value >> 8 * (size - 1 - i))


cdef void stamp_batch(uint8_t* p, Py_ssize_t size, int32_t sequence, int64_t producer, int epoch, bint transactional) noexcept nogil:
    cdef uint8_t change[PATCHED]
    cdef int i
    memcpy(change, p + SUMMED_FROM, PATCHED)
    store(p, 0, 8)
    store(p + 12, 0xFFFFFFFF, 4)
    store(p + 21, (p[22] & 7) | (0x10 if transactional else 0), 2)
    store(p + 43, <uint64_t> producer, 8)
    store(p + 51, <uint64_t> epoch, 2)
    store(p + 53, <uint64_t> sequence, 4)
    for i in range(PATCHED):
        change[i] ^= p[SUMMED_FROM + i]
    store(p + 17, big(p + 17, 4) ^ sc_append_zeros(sc_crc32c(0, change, PATCHED), <uint32_t> (size - SUMMED_FROM - PATCHED)), 4)


cdef void stamp_all(_Ranges held, int64_t producer, int epoch, bint transactional) noexcept nogil:
    cdef Py_ssize_t i
    cdef Range* r
    for i in range(held.count):
        r = &held.ranges[i]
        stamp_batch(<uint8_t*> held.buffer.buf + r.start, r.end - r.start, r.sequence, producer, epoch, transactional)


def stamp(buffer, batches, stamp):
    """See `twin_stamp.stamp`."""
    cdef _Ranges held = _Ranges()
    cdef int64_t producer = stamp[0]
    cdef int16_t epoch = stamp[1]
    cdef bint transactional = stamp[2]
    cdef Py_ssize_t start, end
    cdef int32_t sequence
    held.hold(buffer, len(batches), PyBUF_WRITABLE)
    for start, end, sequence in batches:
        held.add_batch(start, end, sequence)
    if held.count >= WORTH_BATCHES:
        with nogil:
            stamp_all(held, producer, epoch, transactional)
    else:
        stamp_all(held, producer, epoch, transactional)


cdef Py_ssize_t first_wrong(_Ranges held) noexcept nogil:
    cdef Py_ssize_t i
    cdef Range* r
    cdef const uint8_t* p
    cdef uint32_t crc
    for i in range(held.count):
        r = &held.ranges[i]
        p = <const uint8_t*> held.buffer.buf + r.start
        if r.legacy:
            crc = sc_crc32(0xFFFFFFFF, p + LEGACY_SUMMED_FROM, r.end - r.start - LEGACY_SUMMED_FROM)
        else:
            crc = sc_crc32c(0xFFFFFFFF, p + SUMMED_FROM, r.end - r.start - SUMMED_FROM)
        if ~crc != r.crc:
            return i
    return -1


def check(buffer, batches):
    """See `twin_stamp.check`."""
    cdef _Ranges held = _Ranges()
    cdef Py_ssize_t found
    held.hold(buffer, len(batches), PyBUF_SIMPLE)
    for row in batches:
        held.add_row(row)
    if held.total >= WORTH_BYTES:
        with nogil:
            found = first_wrong(held)
    else:
        found = first_wrong(held)
    return found
