# One record of a v2 batch in all its parts, the provenance header in it, and the numbers of records that are written. No Python, no lock.

cdef struct Piece:
    const uint8_t* data
    Py_ssize_t size
    int64_t base, base_time, append_time
    bint appended
    int32_t count, last_delta


cdef struct Text:
    const uint8_t* data
    Py_ssize_t size


cdef struct Parsed:
    int64_t time_delta
    int32_t delta, nheaders
    uint8_t attributes
    # From the key's length on; the header count; the first header; the record's end.
    const uint8_t* body
    const uint8_t* headers
    const uint8_t* first
    const uint8_t* end
    Text key, value
    # The first provenance header: where its value's length stands, the value, and its end.
    const uint8_t* ours_length
    Text ours
    const uint8_t* ours_end
    # How many headers of ours there are; whether the record has been at the loop's place; hops of the first, 0 if it is not canonical.
    int32_t nours, hops
    bint looped


cdef const uint8_t* varlong(const uint8_t* p, const uint8_t* end, int64_t* out) noexcept nogil:
    cdef uint64_t raw = 0
    cdef int size
    for size in range(10):
        if p >= end or (size == 9 and p[0] > 1):
            return NULL
        raw |= <uint64_t> (p[0] & 0x7F) << 7 * size
        if p[0] < 0x80:
            out[0] = <int64_t> ((raw >> 1) ^ (0 - (raw & 1)))
            return p + 1
        p += 1
    return NULL


cdef inline uint64_t zigzag(int64_t number) noexcept nogil:
    return (<uint64_t> number << 1) ^ <uint64_t> (number >> 63)


cdef inline int number_size(uint64_t raw) noexcept nogil:
    cdef int size = 1
    while raw > 0x7F:
        raw >>= 7
        size += 1
    return size


cdef inline uint8_t* write_number(uint8_t* p, uint64_t raw) noexcept nogil:
    while raw > 0x7F:
        p[0] = <uint8_t> (raw & 0x7F | 0x80)
        p += 1
        raw >>= 7
    p[0] = <uint8_t> raw
    return p + 1


cdef inline uint8_t* write_bytes(uint8_t* p, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    memcpy(p, data, size)
    return p + size


cdef inline const uint8_t* after(const uint8_t* p, const uint8_t* end, const char* literal, Py_ssize_t size) noexcept nogil:
    """The position behind a literal; NULL, also for NULL, where it does not stand there."""
    if p == NULL or end - p < size or memcmp(p, literal, size) != 0:
        return NULL
    return p + size


cdef const uint8_t* after_text(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """The position behind the inside of a JSON string."""
    if p == NULL:
        return NULL
    while p < end and p[0] != 0x22:
        p += 2 if p[0] == 0x5C else 1
    return p if p < end else NULL


cdef const uint8_t* after_digits(const uint8_t* p, const uint8_t* end) noexcept nogil:
    cdef const uint8_t* begin
    if p == NULL:
        return NULL
    if p < end and p[0] == 0x2D:
        p += 1
    begin = p
    while p < end and 0x30 <= p[0] <= 0x39:
        p += 1
    return p if p > begin else NULL


cdef int count_hops(Text value, Text loop, bint* looped) noexcept nogil:
    """How many hops a provenance header names; 0 if it is not exactly what we write. `looped` is set where one begins like `loop`."""
    cdef const uint8_t* p = value.data
    cdef const uint8_t* end = p + value.size
    cdef const uint8_t* begin
    cdef bint seen = False
    cdef int hops = 0
    if value.size < 0:
        return 0
    p = after(p, end, b'{"v":1,"hops":[', 15)
    while p != NULL:
        begin = p
        p = after_text(after(p, end, b'{"c":"', 6), end)
        p = after_text(after(p, end, b'","t":"', 7), end)
        p = after_digits(after(p, end, b'","p":', 6), end)
        p = after_digits(after(p, end, b',"o":', 5), end)
        p = after_digits(after(p, end, b',"ts":', 6), end)
        p = after(p, end, b"}", 1)
        if p == NULL:
            return 0
        hops += 1
        if loop.size and p - begin >= loop.size and memcmp(begin, loop.data, loop.size) == 0:
            seen = True
        if end - p == 2 and p[0] == 0x5D and p[1] == 0x7D:
            looped[0] |= seen
            return hops
        p = after(p, end, b",", 1)
    return 0


cdef int parse_headers(const uint8_t** at, const uint8_t* end, Text loop, Parsed* r) noexcept nogil:
    """All headers; with a `loop` (size not 0) those of ours are read. 0 or a reason."""
    cdef const uint8_t* p
    cdef const uint8_t* data
    cdef Py_ssize_t size
    cdef Text value
    cdef int32_t i
    cdef int reason, hops
    cdef bint ours
    p = varint(at[0], end, &r.nheaders)
    if p == NULL:
        return CUT_NUMBER
    if r.nheaders < 0:
        return NEGATIVE_LENGTH
    r.first = p
    at[0] = p
    for i in range(r.nheaders):
        reason = field(at, end, &data, &size)
        if reason:
            return reason
        if size < 0:
            return NEGATIVE_LENGTH
        ours = size == 15 and memcmp(data, b"__sc_provenance", 15) == 0
        p = at[0]
        reason = field(at, end, &value.data, &value.size)
        if reason:
            return reason
        if ours:
            hops = count_hops(value, loop, &r.looped) if loop.size else 0
            if r.nours == 0:
                r.ours_length = p
                r.ours = value
                r.ours_end = at[0]
                r.hops = hops
            r.nours += 1
    return 0


cdef int parse(const uint8_t* p, const uint8_t* end, Text loop, Parsed* r) noexcept nogil:
    """Parse and check all of one record, in the order of `read_record`. 0 or a reason."""
    cdef int32_t length
    cdef int reason
    r.nours = 0
    r.hops = 0
    r.looped = False
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
    r.attributes = p[0]
    p = varlong(p + 1, end, &r.time_delta)
    if p == NULL:
        return CUT_NUMBER
    p = varint(p, end, &r.delta)
    if p == NULL:
        return CUT_NUMBER
    r.body = p
    reason = field(&p, end, &r.key.data, &r.key.size)
    if reason:
        return reason
    reason = field(&p, end, &r.value.data, &r.value.size)
    if reason:
        return reason
    r.headers = p
    reason = parse_headers(&p, end, loop, r)
    if reason:
        return reason
    r.end = end
    return 0 if p == end else BYTES_LEFT


cdef inline int next_record(const Piece* piece, const uint8_t* p, int32_t delta, Text loop, Parsed* r) noexcept nogil:
    """The record at `p`, with an offset that ascends from `delta` and lies in its batch. 0 or a reason."""
    cdef const uint8_t* end = piece.data + piece.size
    cdef int reason
    if p == end:
        return TOO_FEW_RECORDS
    reason = parse(p, end, loop, r)
    if reason:
        return reason
    if r.delta <= delta:
        return OFFSETS_NOT_ASCENDING
    return OUTSIDE_BATCH if r.delta > piece.last_delta else 0


cdef inline int64_t time_of(const Piece* piece, const Parsed* r) noexcept nogil:
    """The record's time in ms. Sums wrap, as they do in Kafka's own clients."""
    return piece.append_time if piece.appended else <int64_t> (<uint64_t> piece.base_time + <uint64_t> r.time_delta)


cdef class _Pieces:
    """The parts' buffers, held, and the C table made of them."""
    cdef Py_buffer* buffers
    cdef Piece* pieces
    cdef Py_ssize_t count
    cdef list keep

    def __cinit__(self):
        self.keep = []

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            PyBuffer_Release(&self.buffers[i])
        free(self.buffers)
        free(self.pieces)

    cdef int hold(self, parts) except -1:
        cdef Py_ssize_t most = len(parts)
        cdef Piece* piece
        cdef int64_t last
        self.buffers = <Py_buffer*> calloc(most + 1, sizeof(Py_buffer))
        self.pieces = <Piece*> calloc(most + 1, sizeof(Piece))
        if self.buffers == NULL or self.pieces == NULL:
            raise MemoryError
        for data, count, base, last_offset, base_time, append_time in parts:
            if self.count == most:
                raise ValueError("the list of parts grew while it was read")
            piece = &self.pieces[self.count]
            piece.count = count
            piece.base = base
            last = last_offset
            if piece.base < 0 or last < piece.base or last - piece.base > 0x7FFFFFFF or last == MAX64:
                raise ValueError("these offsets do not belong to a batch")
            piece.last_delta = <int32_t> (last - piece.base)
            piece.base_time = base_time
            piece.appended = append_time is not None
            if piece.appended:
                piece.append_time = append_time
            PyObject_GetBuffer(data, &self.buffers[self.count], PyBUF_SIMPLE)
            piece.data = <const uint8_t*> self.buffers[self.count].buf
            piece.size = self.buffers[self.count].len
            self.count += 1
        return 0

    cdef Text text(self, bytes data) except *:
        """The bytes as a C text, kept alive."""
        cdef Text made
        self.keep.append(data)
        made.data = data
        made.size = len(data)
        return made
