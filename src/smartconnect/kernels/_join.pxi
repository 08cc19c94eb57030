# `join` itself: from Python's sections, plan and writer to the loop's state, and back.

cdef class _Held:
    """The sections' buffers and the C tables made of them and of the blocks; all let go with it."""
    cdef Py_buffer* buffers
    cdef Part* parts
    cdef uint8_t** blocks
    cdef Py_ssize_t nbuffers, nblocks
    cdef list keep

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.nbuffers):
            PyBuffer_Release(&self.buffers[i])
        free(self.buffers)
        free(self.parts)
        free(self.blocks)

    cdef int hold_sections(self, sections) except -1:
        cdef Py_ssize_t n = len(sections)
        cdef Part* part
        cdef int64_t last
        self.buffers = <Py_buffer*> calloc(n + 1, sizeof(Py_buffer))
        self.parts = <Part*> calloc(n + 1, sizeof(Part))
        if self.buffers == NULL or self.parts == NULL:
            raise MemoryError
        for data, count, base, last_offset in sections:
            if self.nbuffers == n:
                raise ValueError("the list of sections grew while it was read")
            part = &self.parts[self.nbuffers]
            part.count = count
            part.base = base
            last = last_offset
            if part.base < 0 or last < part.base or last - part.base > 0x7FFFFFFF or last == MAX64:
                raise ValueError("these offsets do not belong to a batch")
            part.last_delta = <int32_t> (last - part.base)
            PyObject_GetBuffer(data, &self.buffers[self.nbuffers], PyBUF_SIMPLE)
            part.data = <const uint8_t*> self.buffers[self.nbuffers].buf
            part.size = self.buffers[self.nbuffers].len
            self.nbuffers += 1
        return 0

    cdef int hold_blocks(self, list blocks) except -1:
        cdef Py_ssize_t i
        cdef object block
        free(self.blocks)
        self.nblocks = len(blocks)
        self.blocks = <uint8_t**> malloc((self.nblocks + 1) * sizeof(uint8_t*))
        if self.blocks == NULL:
            raise MemoryError
        self.keep = blocks
        for i in range(self.nblocks):
            block = blocks[i]
            if type(block) is not bytearray or PyByteArray_GET_SIZE(block) != BLOCK:
                raise ValueError("a writer's blocks are bytearrays of 64 KiB")
            self.blocks[i] = <uint8_t*> PyByteArray_AS_STRING(block)
        return 0


cdef int make_room(Run* run, _Held held, writer, Py_ssize_t skipped) except -1:
    """Reserve what the rest can fill at most, but no more than a stretch; never less than `run.need`. The table begins with the
    writer's block number `skipped`."""
    cdef Py_ssize_t i, want = 0, extra = run.delimiter_size + (run.kv_size if run.keys else 0)
    for i in range(run.part, run.nparts):
        want += run.parts[i].size + <Py_ssize_t> run.parts[i].count * extra
        if want >= STRETCH:
            break
    want = max(min(want, STRETCH, max(run.max_bytes - run.nbytes, 0)), run.need)
    writer.length = run.fill + skipped * BLOCK
    writer.reserve(want)
    held.hold_blocks(writer.blocks[skipped:])
    run.blocks = held.blocks
    run.room = held.nblocks * BLOCK
    return 0


cdef bint resumable(Run* run) noexcept:
    cdef Part* part
    if run.part < 0 or run.part > run.nparts or run.at < 0 or run.done < 0:
        return False
    if run.part == run.nparts:
        run.delta = -1
        return run.at == 0 and run.done == 0
    part = &run.parts[run.part]
    return run.at <= part.size and run.done <= max(part.count, 0)


cdef int prepare(Run* run, _Held held, plan, limits, resume) except -1:
    """All of the state but where to write. `plan` keeps the delimiters alive."""
    cdef bytes delimiter = plan.delimiter, kv = plan.kv_delimiter or b""
    run.parts = held.parts
    run.nparts = held.nbuffers
    run.part, run.at, run.done, run.delta = resume
    run.keys = plan.kv_delimiter is not None
    run.delimiter = delimiter
    run.delimiter_size = len(delimiter)
    run.kv = kv
    run.kv_size = len(kv)
    run.count_delimiters = plan.count_delimiters and len(delimiter) == 1
    run.skip_before, run.max_records, run.max_bytes = limits
    if not resumable(run):
        raise ValueError("this resume point does not belong to these sections")
    run.need = run.written = run.nbytes = run.nulls = run.found = 0
    run.first = run.last = -1
    run.next_offset = run.skip_before
    return 0


def join(sections, plan, writer, limits=_NO_LIMITS, resume=_START):
    """See `twin_join.join`."""
    cdef Run run
    cdef _Held held = _Held()
    cdef Py_ssize_t before = writer.length, skipped = before >> 16
    cdef uint32_t sum_before = writer.crc32c
    cdef int outcome = NEED_ROOM
    held.hold_sections(sections)
    prepare(&run, held, plan, limits, resume)
    run.fill = run.summed = before - skipped * BLOCK
    run.crc = ~sum_before
    try:
        while outcome == NEED_ROOM:
            make_room(&run, held, writer, skipped)
            with nogil:
                outcome = go_on(&run)
                sum_written(&run)
        if outcome != FINISHED and outcome != STOPPED:
            raise _MalformedBatch(run.at, _REASONS[outcome], run.part)
    except BaseException:
        writer.settle(before, sum_before)
        raise
    writer.settle(before + run.nbytes, ~run.crc)
    if run.count_delimiters:
        run.found -= run.written * (1 + (plan.kv_delimiter.count(plan.delimiter) if run.keys else 0))
    return _JoinResult(
        run.written,
        run.nbytes,
        run.next_offset,
        run.first,
        run.last,
        run.nulls,
        run.found,
        outcome == FINISHED,
        _Resume(run.part, run.at, run.done, run.delta),
    )
