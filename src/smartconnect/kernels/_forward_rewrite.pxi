# `rewrite`: records of several batches as the records section of a new one, renumbered from 0.

cdef struct StretchRow:
    int64_t source, count, index


cdef struct Writing:
    # what is read
    Piece* pieces
    Py_ssize_t npieces, piece, at
    int32_t done, delta
    # what is written, up to `room` in `out`
    uint8_t* out
    Py_ssize_t fill, room, need
    StretchRow* stretches
    Py_ssize_t nstretches, most_stretches
    # the plan
    int64_t from_offset, max_records, max_bytes, clamp_low, clamp_high
    bint clamps, hops
    Text loop, hop_begin, hop_end
    int64_t* skips
    Py_ssize_t nskips, skip
    # the result
    int64_t first_time, max_time, written, records_in, looped, far, skipped, next_offset


cdef enum:
    NO_MEMORY = 102
    MOST_HOPS = 8


cdef bint is_skipped(Writing* w, int64_t offset) noexcept nogil:
    while w.skip < w.nskips and w.skips[w.skip] < offset:
        w.skip += 1
    return w.skip < w.nskips and w.skips[w.skip] == offset


cdef int note_stretch(Writing* w, int64_t source) noexcept nogil:
    """Add a record to the last stretch, or begin one. 0 or NO_MEMORY."""
    cdef StretchRow* row
    cdef void* more
    if w.nstretches:
        row = &w.stretches[w.nstretches - 1]
        if row.source + row.count == source:
            row.count += 1
            return 0
    if w.nstretches == w.most_stretches:
        more = realloc(w.stretches, (2 * w.most_stretches + 8) * sizeof(StretchRow))
        if more == NULL:
            return NO_MEMORY
        w.stretches = <StretchRow*> more
        w.most_stretches = 2 * w.most_stretches + 8
    row = &w.stretches[w.nstretches]
    row.source = source
    row.count = 1
    row.index = w.written
    w.nstretches += 1
    return 0


cdef int write_decimal(uint8_t* p, int64_t number) noexcept nogil:
    """A number ≥ 0 in digits; how many."""
    cdef uint8_t digits[20]
    cdef int size = 0, i
    while True:
        digits[size] = <uint8_t> (48 + number % 10)
        size += 1
        number //= 10
        if number == 0:
            break
    for i in range(size):
        p[i] = digits[size - 1 - i]
    return size


cdef inline Py_ssize_t value_with_hop(Writing* w, const Parsed* r, int digits_size) noexcept nogil:
    cdef Py_ssize_t hop = w.hop_begin.size + digits_size + w.hop_end.size
    return r.ours.size + 1 + hop if r.hops else 15 + hop + 2


cdef uint8_t* write_value(uint8_t* p, Writing* w, const Parsed* r, const uint8_t* digits, int digits_size) noexcept nogil:
    """Length and value of the provenance header: what was there with one more hop, or a new one."""
    p = write_number(p, zigzag(value_with_hop(w, r, digits_size)))
    if r.hops:
        p = write_bytes(p, r.ours.data, r.ours.size - 2)
        p = write_bytes(p, b",", 1)
    else:
        p = write_bytes(p, b'{"v":1,"hops":[', 15)
    p = write_bytes(p, w.hop_begin.data, w.hop_begin.size)
    p = write_bytes(p, digits, digits_size)
    p = write_bytes(p, w.hop_end.data, w.hop_end.size)
    return write_bytes(p, b"]}", 2)


cdef uint8_t* write_headers(uint8_t* p, Writing* w, const Parsed* r, const uint8_t* digits, int digits_size) noexcept nogil:
    if not w.hops:
        return write_bytes(p, r.headers, r.end - r.headers)
    if r.nours:
        p = write_bytes(p, r.headers, r.ours_length - r.headers)
        p = write_value(p, w, r, digits, digits_size)
        return write_bytes(p, r.ours_end, r.end - r.ours_end)
    p = write_number(p, zigzag(<int64_t> r.nheaders + 1))
    p = write_bytes(p, r.first, r.end - r.first)
    p = write_number(p, zigzag(15))
    p = write_bytes(p, b"__sc_provenance", 15)
    return write_value(p, w, r, digits, digits_size)


cdef inline Py_ssize_t headers_size(Writing* w, const Parsed* r, int digits_size) noexcept nogil:
    cdef Py_ssize_t value
    if not w.hops:
        return r.end - r.headers
    value = value_with_hop(w, r, digits_size)
    value += number_size(zigzag(value))
    if r.nours:
        return r.ours_length - r.headers + value + (r.end - r.ours_end)
    return number_size(zigzag(<int64_t> r.nheaders + 1)) + (r.end - r.first) + 16 + value


cdef inline int write_record(Writing* w, const Parsed* r, int64_t time, int64_t offset) noexcept nogil:
    """Write one record: FINISHED, STOPPED where it exceeds the limit, NEED_ROOM."""
    cdef uint8_t digits[20]
    cdef int digits_size = write_decimal(digits, offset) if w.hops else 0
    cdef uint64_t time_delta = zigzag(<int64_t> (<uint64_t> time - <uint64_t> w.first_time)) if w.written else 0
    cdef uint64_t delta = zigzag(w.written)
    cdef Py_ssize_t length = 1 + number_size(time_delta) + number_size(delta) + (r.headers - r.body)
    cdef Py_ssize_t size
    cdef uint8_t* p = w.out + w.fill
    length += headers_size(w, r, digits_size)
    size = length + number_size(zigzag(length))
    if size > w.max_bytes - (w.fill - HEADER) and w.written:
        return STOPPED
    if size > w.room - w.fill:
        w.need = size
        return NEED_ROOM
    p = write_number(p, zigzag(length))
    p[0] = r.attributes
    p = write_number(p + 1, time_delta)
    p = write_number(p, delta)
    p = write_bytes(p, r.body, r.headers - r.body)
    write_headers(p, w, r, digits, digits_size)
    w.fill += size
    return FINISHED


cdef inline int take(Writing* w, const Piece* piece, const Parsed* r) noexcept nogil:
    """Write the record, or leave it out and count it. FINISHED, STOPPED, NEED_ROOM, NO_MEMORY."""
    cdef int64_t offset = piece.base + r.delta, time
    cdef int outcome
    if offset < w.from_offset:
        return FINISHED
    if is_skipped(w, offset):
        w.skipped += 1
    elif r.looped:
        w.looped += 1
    elif w.hops and r.hops >= MOST_HOPS:
        w.far += 1
    else:
        time = time_of(piece, r)
        if w.clamps and time != -1:
            time = min(max(time, w.clamp_low), w.clamp_high)
        outcome = write_record(w, r, time, offset)
        if outcome == FINISHED:
            outcome = note_stretch(w, offset)
        if outcome != FINISHED:
            return outcome
        if w.written == 0:
            w.first_time = w.max_time = time
        w.max_time = max(w.max_time, time)
        w.written += 1
    w.records_in += 1
    return FINISHED


cdef int rewrite_piece(Writing* w, const Piece* piece) noexcept nogil:
    """Take the records of one part; what ended it."""
    cdef int outcome = FINISHED
    cdef int64_t offset
    cdef const uint8_t* p = piece.data + w.at
    cdef Parsed r
    while w.done < piece.count:
        if w.written >= w.max_records:
            outcome = STOPPED
            break
        outcome = next_record(piece, p, w.delta, w.loop, &r)
        if outcome == FINISHED:
            outcome = take(w, piece, &r)
        if outcome != FINISHED:
            break
        p = r.end
        w.delta = r.delta
        w.done += 1
    w.at = p - piece.data
    if outcome == FINISHED and w.at != piece.size:
        return TOO_MANY_BYTES
    offset = piece.base + (piece.last_delta if outcome == FINISHED else w.delta)
    if offset >= w.next_offset and (outcome == FINISHED or w.delta >= 0):
        w.next_offset = offset + 1
    return outcome


cdef int rewrite_all(Writing* w) noexcept nogil:
    cdef int outcome
    while w.piece < w.npieces:
        outcome = rewrite_piece(w, &w.pieces[w.piece])
        if outcome != FINISHED:
            return outcome
        w.piece += 1
        w.at = 0
        w.done = 0
        w.delta = -1
    return FINISHED


cdef class _Rewriting:
    """The state of one call with all that it holds."""
    cdef Writing w
    cdef _Pieces held

    def __dealloc__(self):
        free(self.w.stretches)
        free(self.w.skips)

    cdef int prepare(self, parts, plan, room, resume) except -1:
        cdef Writing* w = &self.w
        cdef Piece* piece
        cdef bint fits
        memset(w, 0, sizeof(Writing))
        self.held = _Pieces()
        self.held.hold(parts)
        w.pieces = self.held.pieces
        w.npieces = self.held.count
        w.piece, w.at, w.done, w.delta = resume
        fits = 0 <= w.piece <= w.npieces and w.at >= 0 and w.done >= 0
        if fits and w.piece == w.npieces:
            fits = w.at == 0 and w.done == 0
        elif fits:
            piece = &w.pieces[w.piece]
            fits = w.at <= piece.size and w.done <= max(piece.count, 0)
        if not fits:
            raise ValueError("this resume point does not belong to these parts")
        w.max_records, w.max_bytes = room
        w.from_offset = w.next_offset = plan.from_offset
        w.fill = HEADER
        w.clamps = plan.clamp is not None
        if w.clamps:
            w.clamp_low, w.clamp_high = plan.clamp
        return self.prepare_hop(plan.hop, plan.skip)

    cdef int prepare_hop(self, hop, skip) except -1:
        cdef Writing* w = &self.w
        cdef list offsets = sorted(skip)
        cdef Py_ssize_t i
        w.hops = hop is not None
        if w.hops:
            w.loop = self.held.text(hop.loop.hop_begin())
            w.hop_begin = self.held.text(hop.before_offset())
            w.hop_end = self.held.text(hop.after_offset())
        w.skips = <int64_t*> malloc((len(offsets) + 1) * sizeof(int64_t))
        if w.skips == NULL:
            raise MemoryError
        for i in range(len(offsets)):
            w.skips[i] = offsets[i]
            w.nskips += 1
        return 0

    cdef int grow(self, bytearray out) except -1:
        """Make room for `need` more bytes; never less than half as much again."""
        cdef Py_ssize_t least = self.w.fill + self.w.need
        if PyByteArray_GET_SIZE(out) < least:
            PyByteArray_Resize(out, least + (least >> 1))
        self.w.out = <uint8_t*> PyByteArray_AS_STRING(out)
        self.w.room = PyByteArray_GET_SIZE(out)
        return 0

    cdef object result(self, bint finished):
        cdef Writing* w = &self.w
        cdef Py_ssize_t i
        cdef tuple stretches = tuple(
            [
                _new_row(_Stretch, (w.stretches[i].source, w.stretches[i].count, w.stretches[i].index))
                for i in range(w.nstretches)
            ]
        )
        return _Rewritten(
            w.fill - HEADER,
            w.written,
            w.first_time,
            w.max_time,
            stretches,
            w.records_in,
            w.looped,
            w.far,
            w.skipped,
            w.next_offset,
            finished,
            _Resume(w.piece, w.at, w.done, w.delta),
        )


def rewrite(parts, plan, room, resume, bytearray out not None):
    """See `twin_rewrite.rewrite`."""
    cdef _Rewriting run = _Rewriting()
    cdef int outcome = NEED_ROOM
    run.prepare(parts, plan, room, resume)
    while outcome == NEED_ROOM:
        run.grow(out)
        with nogil:
            outcome = rewrite_all(&run.w)
    if outcome == NO_MEMORY:
        raise MemoryError
    if outcome != FINISHED and outcome != STOPPED:
        raise _MalformedBatch(run.w.at, _REASONS[outcome], run.w.piece)
    return run.result(outcome == FINISHED)


def recode(records, batches, plan, scratch):
    """See `twin_rewrite.recode`."""
    from smartconnect.kernels import forward_recode  # not at the top: it stands on `unfold`, which is ours

    return forward_recode.recode(rewrite, records, batches, plan, scratch)
