# `walk`: the headers of one response's records. Holds the interpreter lock, as it makes Python objects; about 0.4 µs for each batch.

cdef struct Header:
    int kind, codec, reason
    int64_t base, last, max_timestamp, producer
    int32_t leader_epoch, count, attributes
    uint32_t crc
    Py_ssize_t records


cdef void read_header(const uint8_t* p, Py_ssize_t size, Header* h) noexcept nogil:
    """Fill the header; `h.reason` is not 0 where it is impossible."""
    h.reason = 0
    h.base = <int64_t> big(p, 8)
    if p[16] == 2:
        read_v2(p, size, h)
    elif p[16] < 2:
        read_legacy(p, size, h)
    else:
        h.reason = BAD_MAGIC


cdef void read_v2(const uint8_t* p, Py_ssize_t size, Header* h) noexcept nogil:
    cdef int32_t last_delta
    if size < HEADER:
        h.reason = BAD_LENGTH
        return
    h.leader_epoch = <int32_t> big(p + 12, 4)
    h.crc = <uint32_t> big(p + 17, 4)
    h.attributes = <int32_t> big(p + 21, 2)
    if h.attributes > 32767:
        h.attributes -= 65536
    last_delta = <int32_t> big(p + 23, 4)
    h.max_timestamp = <int64_t> big(p + 35, 8)
    h.producer = <int64_t> big(p + 43, 8)
    h.count = <int32_t> big(p + 57, 4)
    h.records = HEADER
    h.kind = EMPTY if h.count == 0 else CONTROL if h.attributes & 0x20 else DATA
    h.codec = h.attributes & 7
    if h.base < 0 or last_delta < 0 or h.base > MAX64 - 1 - last_delta:
        h.reason = BAD_OFFSETS
        return
    h.last = h.base + last_delta
    if h.count < 0:
        h.reason = BAD_COUNT
    elif h.codec > 4:
        h.reason = BAD_CODEC


cdef void read_legacy(const uint8_t* p, Py_ssize_t size, Header* h) noexcept nogil:
    cdef bint has_time = p[16] == 1
    if size < (34 if has_time else 26):
        h.reason = BAD_LENGTH
        return
    h.kind = LEGACY
    h.leader_epoch = -1
    h.crc = <uint32_t> big(p + 12, 4)
    h.attributes = p[17]
    h.max_timestamp = <int64_t> big(p + 18, 8) if has_time else -1
    h.producer = -1
    h.records = 0
    h.last = h.base
    h.codec = h.attributes & 7
    h.count = -1 if h.codec else 1
    if h.base < 0 or h.base == MAX64:
        h.reason = BAD_OFFSETS
    elif h.codec > 3:
        h.reason = BAD_CODEC


cdef int marker(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """The type in the key of a control record; −100000 where it cannot be read."""
    cdef int32_t number
    cdef int kind
    p = varint(p, end, &number)
    if p == NULL or number < 1 or number > end - p:
        return -100000
    end = p + number
    p = skip_varlong(p + 1, end)
    if p == NULL:
        return -100000
    p = varint(p, end, &number)
    if p == NULL:
        return -100000
    p = varint(p, end, &number)
    if p == NULL or number < 4 or number > end - p:
        return -100000
    kind = <int> big(p + 2, 2)
    return kind - 65536 if kind > 32767 else kind


cdef object row(Header* h, Py_ssize_t start, Py_ssize_t end):
    cdef tuple fields = (
        _KINDS[h.kind],
        start,
        end,
        h.base,
        h.last,
        h.leader_epoch,
        _CODECS[h.codec],
        h.count,
        h.attributes,
        h.max_timestamp,
        h.producer,
        h.crc,
        start + h.records,
    )
    return _new_row(_Batch, fields)


def walk(records, fetch_offset, aborted):
    """See `twin_walk.walk`."""
    cdef const uint8_t[::1] view = records
    cdef Py_ssize_t size = view.shape[0], position = 0, end
    cdef const uint8_t* p
    cdef int64_t last = -1, wanted = fetch_offset
    cdef int32_t length
    cdef int kind
    cdef Header h
    cdef list rows = [], pending = sorted([(first, producer) for producer, first in aborted])
    cdef Py_ssize_t popped = 0, npending = len(pending)
    cdef set skipping = set()
    while size - position >= 17:
        p = &view[position]
        length = <int32_t> big(p + 8, 4)
        if length < 14:
            raise _MalformedBatch(position, _REASONS[BAD_LENGTH])
        if length > size - position - 12:
            break
        end = position + 12 + length
        read_header(p, end - position, &h)
        if h.reason:
            raise _MalformedBatch(position, _REASONS[h.reason])
        if h.base <= last:
            raise _MalformedBatch(position, _REASONS[OFFSETS_GO_BACK])
        last = h.last
        while popped < npending and pending[popped][0] <= last:
            skipping.add(pending[popped][1])
            popped += 1
        if h.kind == CONTROL:
            kind = marker(p + HEADER, p + (end - position))
            if kind == -100000:
                raise _MalformedBatch(position, _REASONS[BAD_MARKER])
            if kind == 0:
                skipping.discard(h.producer)
        elif h.kind == DATA and skipping and h.attributes & 0x10 and h.producer in skipping:
            h.kind = ABORTED
        if last >= wanted:
            rows.append(row(&h, position, end))
        position = end
    return rows
