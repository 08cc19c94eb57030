# `unfold`: the lz4 sections of a run of batches, one behind the other into one buffer, in one stay without the interpreter lock. Whatever
# is unusual (linked blocks, a dictionary) or wrong ends the run before that batch: `lz4.unfold` then unfolds it, or says what is wrong.
# Format: LZ4 block format and LZ4 frame format 1.6.

cdef extern from *:
    """
    enum { SC_STEP = 16, SC_GOES_ON = 15, SC_LITERALS_LAST = 5, SC_AFTER_LITERALS = 8, SC_SHORTEST_MATCH = 4 };
    /* As far before an end, whatever a short sequence reads or writes in steps stays inside. */
    enum { SC_FAR = 64 };

    static inline uint32_t sc_little(const uint8_t* p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
    }

    /* Copies in pairs of steps; reads and writes up to two steps beyond the end. */
    static inline void sc_copy_over(uint8_t* to, const uint8_t* from, size_t size) {
        uint8_t* const end = to + size;
        do {
            memcpy(to, from, SC_STEP);
            memcpy(to + SC_STEP, from + SC_STEP, SC_STEP);
            to += 2 * SC_STEP;
            from += 2 * SC_STEP;
        } while (to < end);
    }

    /* A match that overlaps itself: what is written is read again. Writes up to a step beyond the end. */
    static inline void sc_repeat_over(uint8_t* to, size_t distance, size_t size) {
        uint8_t* const end = to + size;
        const uint8_t* from = to - distance;
        int i;
        if (distance < 8) {
            for (i = 0; i < 8; i++) to[i] = from[i];
            to += 8;
            /* From here on a multiple of the period lies far enough behind. */
            from = to - (8 + distance - 1) / distance * distance;
        }
        for (; to < end; to += 8, from += 8) memcpy(to, from, 8);
    }

    /* The rest of a length whose first part was 15; NULL where it is cut off or more than `most`. */
    static inline const uint8_t* sc_long_length(const uint8_t* p, const uint8_t* end, size_t most, size_t* length) {
        uint8_t part;
        do {
            if (p >= end || *length > most) return NULL;
            part = *p++;
            *length += part;
        } while (part == 255);
        return p;
    }

    /* One block of `size` bytes into `room` bytes: how many it gave, -1 where it cannot be. Most sequences are short in both parts and far
       from both ends: each part of those is a copy of fixed size. */
    static ptrdiff_t sc_unfold_block(const uint8_t* p, size_t size, uint8_t* const begin, size_t room) {
        const uint8_t* const end = p + size;
        uint8_t* const to_end = begin + room;
        const uint8_t* const far = size > SC_FAR ? end - SC_FAR : p;
        uint8_t* const to_far = room > SC_FAR ? to_end - SC_FAR : begin;
        uint8_t* to = begin;
        size_t length, distance;
        unsigned token;
        while (p < end) {
            token = *p++;
            length = token >> 4;
            if (length < SC_GOES_ON && p < far && to < to_far) {
                memcpy(to, p, SC_STEP);
                p += length;
                to += length;
            } else {
                if (length == SC_GOES_ON && !(p = sc_long_length(p, end, room, &length))) return -1;
                if (length > (size_t) (end - p) || length > (size_t) (to_end - to)) return -1;
                if (p + length < far && to + length < to_far) sc_copy_over(to, p, length);
                else memcpy(to, p, length);
                p += length;
                to += length;
                if (p == end) return to - begin;
                if (end - p < SC_AFTER_LITERALS) return -1;
            }
            distance = (size_t) p[0] | (size_t) p[1] << 8;
            p += 2;
            length = token & 15;
            if (distance > (size_t) (to - begin)) return -1;
            if (length < SC_GOES_ON && distance >= SC_STEP && to < to_far) {
                memcpy(to, to - distance, SC_STEP);
                memcpy(to + SC_STEP, to + SC_STEP - distance, SC_GOES_ON - 1 + SC_SHORTEST_MATCH - SC_STEP);
                to += length + SC_SHORTEST_MATCH;
                continue;
            }
            if (distance == 0) return -1;
            if (length == SC_GOES_ON && !(p = sc_long_length(p, end, room, &length))) return -1;
            length += SC_SHORTEST_MATCH;
            if (length + SC_LITERALS_LAST > (size_t) (to_end - to)) return -1;
            if (to + length < to_far) {
                if (distance >= SC_STEP) sc_copy_over(to, to - distance, length);
                else sc_repeat_over(to, distance, length);
                to += length;
            } else {
                for (; length; length--, to++) *to = *(to - distance);
            }
        }
        return -1;
    }

    /* Frames of independent blocks, to the end of the section: as sc_unfold_block. */
    static ptrdiff_t sc_unfold_frames(const uint8_t* p, size_t size, uint8_t* const begin, size_t room) {
        const uint8_t* const end = p + size;
        uint8_t* const to_end = begin + room;
        uint8_t* to = begin;
        uint32_t word, block;
        size_t most, sum_bytes, tail_bytes;
        ptrdiff_t got;
        while (p < end) {
            if (end - p < 7 || sc_little(p) != 0x184D2204u) return -1;
            /* Version 1, independent blocks, no dictionary, a known block size. */
            if ((p[4] & 0xE1) != 0x60 || (p[5] >> 4 & 7) < 4) return -1;
            most = (size_t) 1 << (8 + 2 * (p[5] >> 4 & 7));
            sum_bytes = p[4] & 0x10 ? 4 : 0;
            tail_bytes = p[4] & 0x04 ? 4 : 0;
            size = p[4] & 0x08 ? 15 : 7;
            if ((size_t) (end - p) < size) return -1;
            for (p += size;;) {
                if (end - p < 4) return -1;
                word = sc_little(p);
                p += 4;
                if (!word) break;
                block = word & 0x7FFFFFFFu;
                if (block > (size_t) (end - p) || (size_t) (end - p) - block < sum_bytes) return -1;
                if (word != block) {
                    if (block > (size_t) (to_end - to)) return -1;
                    memcpy(to, p, block);
                    to += block;
                } else {
                    got = sc_unfold_block(p, block, to, most < (size_t) (to_end - to) ? most : (size_t) (to_end - to));
                    if (got < 0) return -1;
                    to += got;
                }
                p += block + sum_bytes;
            }
            if ((size_t) (end - p) < tail_bytes) return -1;
            p += tail_bytes;
        }
        return to - begin;
    }
    """
    Py_ssize_t sc_unfold_frames(const uint8_t* p, size_t size, uint8_t* begin, size_t room) noexcept nogil


cdef class _Sections:
    """The buffers of one run, held, and where each section lies and ends."""
    cdef Py_buffer source, target
    cdef bint has_source, has_target
    cdef Py_ssize_t* table
    cdef Py_ssize_t count

    def __dealloc__(self):
        if self.has_source:
            PyBuffer_Release(&self.source)
        if self.has_target:
            PyBuffer_Release(&self.target)
        free(self.table)

    cdef int hold(self, records, buffer, Py_ssize_t count) except -1:
        PyObject_GetBuffer(records, &self.source, PyBUF_SIMPLE)
        self.has_source = True
        PyObject_GetBuffer(buffer, &self.target, PyBUF_WRITABLE)
        self.has_target = True
        self.table = <Py_ssize_t*> malloc((2 * count + 1) * sizeof(Py_ssize_t))
        if self.table == NULL:
            raise MemoryError
        return 0

    cdef int add(self, given) except -1:
        """False where the batch is not one for us."""
        cdef tuple row
        cdef Py_ssize_t start, end
        if not isinstance(given, _Batch):
            raise TypeError("this is no row of a batch")
        row = <tuple> given
        if row[0] is not _KINDS[DATA] or row[6] is not _CODECS[LZ4]:
            return 0
        start, end = row[12], row[2]
        if start < 0 or start > end or end > self.source.len:
            raise ValueError("a row does not belong to this buffer")
        self.table[2 * self.count] = start
        self.table[2 * self.count + 1] = end
        self.count += 1
        return 1

    cdef Py_ssize_t run(self, Py_ssize_t most, Py_ssize_t enough) noexcept nogil:
        """Unfold what can be, until there are `enough` bytes: how many sections. Their ends in the target replace the table, from its
        beginning."""
        cdef Py_ssize_t done = 0, filled = 0, got
        cdef const uint8_t* source = <const uint8_t*> self.source.buf
        cdef uint8_t* target = <uint8_t*> self.target.buf
        while done < self.count and filled < enough:
            got = sc_unfold_frames(
                source + self.table[2 * done],
                self.table[2 * done + 1] - self.table[2 * done],
                target + filled,
                min(most, self.target.len - filled),
            )
            if got < 0:
                break
            filled += got
            self.table[done] = filled
            done += 1
        return done


def unfold(records, batches, Py_ssize_t first, buffer, Py_ssize_t most, Py_ssize_t enough):
    """See `twin_unfold.unfold`."""
    cdef _Sections held = _Sections()
    cdef Py_ssize_t index, total = len(batches), done, compressed = 0
    if first < 0 or most < 0:
        raise ValueError("neither a place in a list nor a size is negative")
    held.hold(records, buffer, max(0, total - first))
    for index in range(first, total):
        # What unfolds to less than half of its bytes is no batch of anybody's: rows beyond this are not needed now.
        if compressed // 2 > enough or not held.add(batches[index]):
            break
        compressed += held.table[2 * held.count - 1] - held.table[2 * held.count - 2]
    if compressed >= WORTH_BYTES:
        with nogil:
            done = held.run(most, enough)
    else:
        done = held.run(most, enough)
    return [held.table[index] for index in range(done)]
