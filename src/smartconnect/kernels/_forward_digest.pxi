# `digest`: sums over what a reader sees of records, range by range.

cdef struct DigestRow:
    int64_t first, last, count
    uint32_t crc


cdef struct Digesting:
    Piece* pieces
    Py_ssize_t npieces, piece, at
    int64_t from_offset, until_offset, every
    Text loop
    # Finished ranges, and the one that is still open.
    DigestRow* rows
    Py_ssize_t nrows, most_rows
    DigestRow open


cdef inline uint32_t sum_field(uint32_t crc, Text data) noexcept nogil:
    cdef uint8_t length[4]
    store(length, <uint64_t> (data.size if data.size >= 0 else -1), 4)
    crc = sc_crc32c(crc, length, 4)
    return sc_crc32c(crc, data.data, data.size) if data.size > 0 else crc


cdef uint32_t sum_headers(uint32_t crc, const Parsed* r) noexcept nogil:
    """The count and the headers but ours, of a record that has been checked."""
    cdef const uint8_t* p = r.first
    cdef uint8_t count[4]
    cdef Text name, value
    cdef int32_t i
    store(count, <uint64_t> (r.nheaders - r.nours), 4)
    crc = sc_crc32c(crc, count, 4)
    for i in range(r.nheaders):
        field(&p, r.end, &name.data, &name.size)
        field(&p, r.end, &value.data, &value.size)
        if name.size != 15 or memcmp(name.data, b"__sc_provenance", 15) != 0:
            crc = sum_field(sum_field(crc, name), value)
    return crc


cdef uint32_t sum_record(uint32_t crc, const Parsed* r, int64_t time) noexcept nogil:
    cdef uint8_t stored[8]
    store(stored, <uint64_t> time, 8)
    crc = sc_crc32c(crc, stored, 8)
    crc = sum_field(sum_field(crc, r.key), r.value)
    return sum_headers(crc, r)


cdef int close_range(Digesting* d) noexcept nogil:
    """Put the open range to the finished ones. 0 or NO_MEMORY."""
    cdef void* more
    if d.nrows == d.most_rows:
        more = realloc(d.rows, (2 * d.most_rows + 8) * sizeof(DigestRow))
        if more == NULL:
            return NO_MEMORY
        d.rows = <DigestRow*> more
        d.most_rows = 2 * d.most_rows + 8
    d.rows[d.nrows] = d.open
    d.nrows += 1
    d.open.first = d.open.last = -1
    d.open.count = 0
    d.open.crc = 0
    return 0


cdef int add_record(Digesting* d, const Piece* piece, const Parsed* r) noexcept nogil:
    cdef int64_t offset = piece.base + r.delta
    if offset < d.from_offset or offset >= d.until_offset or r.looped or (d.loop.size and r.hops >= MOST_HOPS):
        return 0
    if d.open.count == 0:
        d.open.first = offset
    d.open.last = offset
    d.open.count += 1
    d.open.crc = ~sum_record(~d.open.crc, r, time_of(piece, r))
    return close_range(d) if d.open.count >= d.every else 0


cdef int digest_all(Digesting* d) noexcept nogil:
    cdef Piece* piece
    cdef const uint8_t* p
    cdef int32_t done, delta
    cdef int reason
    cdef Parsed r
    while d.piece < d.npieces:
        piece = &d.pieces[d.piece]
        p = piece.data
        delta = -1
        for done in range(piece.count):
            d.at = p - piece.data
            reason = next_record(piece, p, delta, d.loop, &r)
            if reason == 0:
                reason = add_record(d, piece, &r)
            if reason:
                return reason
            p = r.end
            delta = r.delta
        d.at = p - piece.data
        if d.at != piece.size:
            return TOO_MANY_BYTES
        d.piece += 1
    return 0


cdef class _Digesting:
    """The state of one call with all that it holds."""
    cdef Digesting d
    cdef _Pieces held

    def __dealloc__(self):
        free(self.d.rows)

    cdef int prepare(self, parts, plan, unfinished) except -1:
        cdef Digesting* d = &self.d
        memset(d, 0, sizeof(Digesting))
        self.held = _Pieces()
        self.held.hold(parts)
        d.pieces = self.held.pieces
        d.npieces = self.held.count
        d.from_offset = plan.from_offset
        d.until_offset = plan.until_offset
        d.every = plan.every
        if plan.loop is not None:
            d.loop = self.held.text(plan.loop.hop_begin())
        d.open.first, d.open.last, d.open.count, d.open.crc = unfinished
        return 0

    cdef tuple result(self):
        cdef Py_ssize_t i
        cdef list finished = [
            _RangeDigest(self.d.rows[i].first, self.d.rows[i].last, self.d.rows[i].count, self.d.rows[i].crc)
            for i in range(self.d.nrows)
        ]
        return finished, _RangeDigest(self.d.open.first, self.d.open.last, self.d.open.count, self.d.open.crc)


def sum_up(parts, plan, unfinished):
    """See `twin_digest.sum_up`."""
    cdef _Digesting run = _Digesting()
    cdef int reason
    run.prepare(parts, plan, unfinished)
    with nogil:
        reason = digest_all(&run.d)
    if reason == NO_MEMORY:
        raise MemoryError
    if reason:
        raise _MalformedBatch(run.d.at, _REASONS[reason], run.d.piece)
    return run.result()


def digest(records, batches, plan, scratch, unfinished=_forward.NO_RECORDS):
    """See `twin_digest.digest`."""
    from smartconnect.kernels import forward_digest  # not at the top: it stands on `unfold`, which is ours

    return forward_digest.digest(sum_up, records, batches, plan, scratch, unfinished)
