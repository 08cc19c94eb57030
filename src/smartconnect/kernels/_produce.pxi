# The inner loops of Produce requests and answers in compact form (KIP-482): what stands between batches, answers that report success.

cdef enum:
    # partition, error code, base offset, append time, log start offset, then no record errors, no message, no tags
    QUIET_BYTES = 33
    MOST_VARINT_BYTES = 5


def put_batches(list parts, head, batches):
    """See `twin_produce.put_batches`."""
    cdef uint8_t piece[1 + 4 + MOST_VARINT_BYTES]
    cdef uint64_t size
    cdef int32_t number
    cdef int used
    cdef bint first = True
    piece[0] = 0
    for partition, batch in batches:
        number = partition
        if number < 0:
            raise OverflowError(f"{number} is no partition's number")
        size = len(batch) + 1
        store(piece + 1, <uint64_t> number, 4)
        used = 5
        while size > 0x7F:
            piece[used] = <uint8_t> (size & 0x7F | 0x80)
            size >>= 7
            used += 1
        piece[used] = <uint8_t> size
        used += 1
        if first:
            parts.append(head + (<char*> piece)[1:used])
            first = False
        else:
            parts.append((<char*> piece)[:used])
        parts.append(batch)
    return head if first else b"\0"


def quiet_answers(body, Py_ssize_t at, Py_ssize_t count):
    """See `twin_produce.quiet_answers`."""
    cdef Py_buffer buffer
    cdef const uint8_t* p
    cdef list found = []
    if at < 0:
        raise ValueError("a position is never negative")
    PyObject_GetBuffer(body, &buffer, PyBUF_SIMPLE)
    try:
        while count > 0 and buffer.len - at >= QUIET_BYTES:
            p = <const uint8_t*> buffer.buf + at
            if p[4] or p[5] or p[30] != 1 or p[31] or p[32]:
                break
            found.append((<int32_t> big(p, 4), <int64_t> big(p + 6, 8)))
            at += QUIET_BYTES
            count -= 1
    finally:
        PyBuffer_Release(&buffer)
    return found, at
