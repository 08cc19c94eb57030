# The loop of `join`: C state only, nothing of Python, no lock.

cdef struct Part:
    const uint8_t* data
    Py_ssize_t size
    int64_t base
    int32_t count, last_delta


cdef struct Run:
    # what is read
    Part* parts
    Py_ssize_t nparts, part, at
    int32_t done, delta
    # what is written: `fill` bytes of the blocks from the first one's begin, `room` of them there
    uint8_t** blocks
    Py_ssize_t fill, room, need
    # the plan
    const uint8_t* delimiter
    const uint8_t* kv
    Py_ssize_t delimiter_size, kv_size
    bint keys, count_delimiters
    int64_t skip_before, max_records, max_bytes
    # the result; `crc` is the bare register of all content up to `summed`
    int64_t written, nbytes, nulls, first, last, next_offset, found
    Py_ssize_t summed
    uint32_t crc


cdef struct Record:
    const uint8_t* key
    const uint8_t* value
    Py_ssize_t key_size, value_size
    const uint8_t* end
    int32_t delta
    bint null_value


cdef inline int field(const uint8_t** p, const uint8_t* end, const uint8_t** data, Py_ssize_t* size) noexcept nogil:
    """A nullable byte field: size −1 for null. 0 or a reason."""
    cdef int32_t length
    cdef const uint8_t* at = varint(p[0], end, &length)
    if at == NULL:
        return CUT_NUMBER
    size[0] = length
    data[0] = at
    if length < 0:
        p[0] = at
        return 0 if length == -1 else NEGATIVE_LENGTH
    if length > end - at:
        return LEAVES_SECTION
    p[0] = at + length
    return 0


cdef int headers(const uint8_t** p, const uint8_t* end) noexcept nogil:
    cdef int32_t count, i
    cdef int reason
    cdef const uint8_t* data
    cdef Py_ssize_t size
    cdef const uint8_t* at = varint(p[0], end, &count)
    if at == NULL:
        return CUT_NUMBER
    if count < 0:
        return NEGATIVE_LENGTH
    p[0] = at
    for i in range(count):
        reason = field(p, end, &data, &size)
        if reason:
            return reason
        if size < 0:
            return NEGATIVE_LENGTH
        reason = field(p, end, &data, &size)
        if reason:
            return reason
    return 0


cdef inline int read_record(const uint8_t* p, const uint8_t* end, Record* r) noexcept nogil:
    """Parse and check all of one record. 0 or a reason."""
    cdef int32_t length
    cdef int reason
    p = varint(p, end, &length)
    if p == NULL:
        return CUT_NUMBER
    if length < 0:
        return NEGATIVE_LENGTH
    if length > end - p:
        return LEAVES_SECTION
    end = p + length
    if length == 0:
        return CUT_NUMBER
    p = skip_varlong(p + 1, end)
    if p == NULL:
        return CUT_NUMBER
    p = varint(p, end, &r.delta)
    if p == NULL:
        return CUT_NUMBER
    reason = field(&p, end, &r.key, &r.key_size)
    if reason:
        return reason
    reason = field(&p, end, &r.value, &r.value_size)
    if reason:
        return reason
    if p < end and p[0] == 0:
        p += 1
    else:
        reason = headers(&p, end)
        if reason:
            return reason
    if p != end:
        return BYTES_LEFT
    r.end = end
    r.null_value = r.value_size < 0
    if r.null_value:
        r.value_size = 0
    if r.key_size < 0:
        r.key_size = 0
    return 0


cdef inline Py_ssize_t put(
    uint8_t** blocks, Py_ssize_t fill, const uint8_t* data, Py_ssize_t size, const uint8_t* data_end
) noexcept nogil:
    """Copy to position `fill` of the blocks, where room is; the position behind it. `data_end`: up to where the source may be read."""
    cdef Py_ssize_t inside = fill & (BLOCK - 1), step
    cdef uint8_t* target
    if size == 0:
        return fill
    if size <= SHORT and size + 16 <= BLOCK - inside and size + 16 <= data_end - data:
        target = blocks[fill >> 16] + inside
        step = 0
        while step < size:
            memcpy(target + step, data + step, 16)
            step += 16
        return fill + size
    while size:
        inside = fill & (BLOCK - 1)
        step = min(size, BLOCK - inside)
        memcpy(blocks[fill >> 16] + inside, data, step)
        fill += step
        data += step
        size -= step
    return fill


cdef inline Py_ssize_t put_small(uint8_t** blocks, Py_ssize_t fill, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """Copy a delimiter, mostly one byte."""
    if size == 1:
        blocks[fill >> 16][fill & (BLOCK - 1)] = data[0]
        return fill + 1
    return put(blocks, fill, data, size, data)


cdef int64_t occurrences(const uint8_t* p, Py_ssize_t size, uint8_t wanted) noexcept nogil:
    """How often a byte occurs. The inner loops have fixed sizes and byte-wide counters, for the compiler to turn into vector code."""
    cdef uint8_t lanes[32]
    cdef int64_t total = 0
    cdef Py_ssize_t i = 0, rounds
    cdef int j
    while size - i >= 32:
        rounds = min((size - i) >> 5, 255)
        for j in range(32):
            lanes[j] = 0
        while rounds:
            for j in range(32):
                lanes[j] += p[i + j] == wanted
            i += 32
            rounds -= 1
        for j in range(32):
            total += lanes[j]
    while i < size:
        total += p[i] == wanted
        i += 1
    return total


cdef void sum_written(Run* run) noexcept nogil:
    """Sum up what was written since the last time, and count the delimiter in it."""
    cdef Py_ssize_t inside, step
    cdef const uint8_t* piece
    while run.summed < run.fill:
        inside = run.summed & (BLOCK - 1)
        step = min(run.fill - run.summed, BLOCK - inside)
        piece = run.blocks[run.summed >> 16] + inside
        run.crc = sc_crc32c(run.crc, piece, step)
        if run.count_delimiters:
            run.found += occurrences(piece, step, run.delimiter[0])
        run.summed += step


cdef int write_part(Run* run, const Part* part) noexcept nogil:
    """Write records of one section; what ended it. Its state is in locals, which stores into the blocks cannot be taken to change."""
    cdef const uint8_t* p = part.data + run.at
    cdef const uint8_t* end = part.data + part.size
    cdef uint8_t** blocks = run.blocks
    cdef Py_ssize_t fill = run.fill, size
    cdef int32_t done = run.done, delta = run.delta
    cdef int64_t offset = -1, written = run.written
    cdef int outcome = FINISHED
    cdef Record r
    while done < part.count:
        if written >= run.max_records:
            outcome = STOPPED
            break
        if p == end:
            outcome = TOO_FEW_RECORDS
            break
        outcome = read_record(p, end, &r)
        if outcome:
            break
        if r.delta <= delta or r.delta > part.last_delta:
            outcome = OFFSETS_NOT_ASCENDING if r.delta <= delta else OUTSIDE_BATCH
            break
        offset = part.base + r.delta
        if offset >= run.skip_before:
            size = r.value_size + run.delimiter_size
            if run.keys:
                size += r.key_size + run.kv_size
            if size > run.max_bytes - run.nbytes and written:
                outcome = STOPPED
                break
            if size > run.room - fill:
                run.need = size
                outcome = NEED_ROOM
                break
            if run.keys:
                fill = put(blocks, fill, r.key, r.key_size, end)
                fill = put_small(blocks, fill, run.kv, run.kv_size)
            fill = put(blocks, fill, r.value, r.value_size, end)
            fill = put_small(blocks, fill, run.delimiter, run.delimiter_size)
            if written == 0:
                run.first = offset
            written += 1
            run.last = offset
            run.nbytes += size
            run.nulls += r.null_value
            if fill - run.summed >= BLOCK:
                run.fill = fill
                sum_written(run)
        p = r.end
        delta = r.delta
        done += 1
    if outcome == FINISHED and p != end:
        outcome = TOO_MANY_BYTES
    run.fill = fill
    run.written = written
    run.at = p - part.data
    run.done = done
    run.delta = delta
    offset = part.base + (part.last_delta if outcome == FINISHED else delta)
    if (outcome == FINISHED or delta >= 0) and offset >= run.next_offset:
        run.next_offset = offset + 1
    return outcome


cdef int go_on(Run* run) noexcept nogil:
    """Write until the end (FINISHED), a limit (STOPPED), a lack of room (NEED_ROOM, `run.need` bytes) or a reason."""
    cdef int outcome
    while run.part < run.nparts:
        outcome = write_part(run, &run.parts[run.part])
        if outcome != FINISHED:
            return outcome
        run.part += 1
        run.at = 0
        run.done = 0
        run.delta = -1
    return FINISHED
