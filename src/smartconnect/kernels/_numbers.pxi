# Numbers in record batches. Each reader gives the position behind the number, or NULL where it is cut off or too long.

cdef const uint8_t* long_varint(const uint8_t* p, const uint8_t* end, int32_t* out) noexcept nogil:
    cdef uint32_t raw = 0, byte
    cdef int shift = 0
    while True:
        if p >= end:
            return NULL
        byte = p[0]
        p += 1
        if shift == 28 and byte > 0x0F:
            return NULL
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    out[0] = <int32_t> ((raw >> 1) ^ (0 - (raw & 1)))
    return p


cdef inline const uint8_t* varint(const uint8_t* p, const uint8_t* end, int32_t* out) noexcept nogil:
    cdef uint32_t raw
    if end - p >= 2:
        raw = p[0]
        if raw >= 0x80:
            if p[1] >= 0x80:
                return long_varint(p, end, out)
            raw = (raw & 0x7F) | (<uint32_t> p[1] << 7)
            p += 1
        out[0] = <int32_t> ((raw >> 1) ^ (0 - (raw & 1)))
        return p + 1
    return long_varint(p, end, out)


cdef inline const uint8_t* skip_varlong(const uint8_t* p, const uint8_t* end) noexcept nogil:
    cdef int size
    for size in range(10):
        if p >= end:
            return NULL
        if p[0] < 0x80:
            if size == 9 and p[0] > 1:
                return NULL
            return p + 1
        p += 1
    return NULL


cdef inline uint64_t big(const uint8_t* p, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value = (value << 8) | p[i]
    return value
