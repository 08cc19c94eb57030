# CRC32C (Castagnoli) and CRC32 of stretches of memory, and the arithmetic of their linearity. All functions work on the bare register,
# without the inversions at begin and end. With SSE 4.2, found out at import, three stripes at a time keep the instruction's pipeline full;
# elsewhere eight tables.

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <nmmintrin.h>
    #define SC_CRC_INSTRUCTION 1
    #else
    #define SC_CRC_INSTRUCTION 0
    #endif

    enum { SC_LONG = 4096, SC_SHORT = 256 };

    typedef struct { uint32_t polynomial, rows[8][256]; } sc_crc;

    static sc_crc sc_castagnoli = {0x82F63B78u}, sc_zip = {0xEDB88320u};
    /* sc_powers[k][n]: x to the power of 8 * n * 256^k, modulo the Castagnoli polynomial. */
    static uint32_t sc_powers[4][256];
    /* What appending SC_LONG and SC_SHORT zero bytes makes of a register, by its bytes. */
    static uint32_t sc_over_long[4][256], sc_over_short[4][256];
    static int sc_has_instruction = 0;

    /* Product of two polynomials; the highest bit stands for x to the power of 0. */
    static uint32_t sc_times(uint32_t a, uint32_t b) {
        uint32_t product = 0;
        int i;
        for (i = 0; i < 32; i++) {
            product ^= b & (0u - (a >> 31));
            b = (b >> 1) ^ (sc_castagnoli.polynomial & (0u - (b & 1)));
            a <<= 1;
        }
        return product;
    }

    /* The register after `size` more zero bytes. */
    static uint32_t sc_append_zeros(uint32_t crc, uint32_t size) {
        int k;
        for (k = 0; size; k++, size >>= 8)
            if (size & 255) crc = sc_times(sc_powers[k][size & 255], crc);
        return crc;
    }

    static void sc_fill_rows(sc_crc* which) {
        uint32_t n, value;
        int k;
        for (n = 0; n < 256; n++) {
            value = n;
            for (k = 0; k < 8; k++) value = (value >> 1) ^ (which->polynomial & (0u - (value & 1)));
            which->rows[0][n] = value;
        }
        for (k = 1; k < 8; k++)
            for (n = 0; n < 256; n++) {
                value = which->rows[k - 1][n];
                which->rows[k][n] = (value >> 8) ^ which->rows[0][value & 255];
            }
    }

    static void sc_prepare(void) {
        uint32_t step, n;
        int k;
        sc_fill_rows(&sc_castagnoli);
        sc_fill_rows(&sc_zip);
        step = 1u << 23; /* x to the power of 8 */
        for (k = 0; k < 4; k++) {
            sc_powers[k][0] = 1u << 31;
            for (n = 1; n < 256; n++) sc_powers[k][n] = sc_times(sc_powers[k][n - 1], step);
            step = sc_times(sc_powers[k][255], step);
        }
        for (k = 0; k < 4; k++)
            for (n = 0; n < 256; n++) {
                sc_over_long[k][n] = sc_append_zeros(n << 8 * k, SC_LONG);
                sc_over_short[k][n] = sc_append_zeros(n << 8 * k, SC_SHORT);
            }
    #if SC_CRC_INSTRUCTION
        __builtin_cpu_init();
        sc_has_instruction = __builtin_cpu_supports("sse4.2") != 0;
    #endif
    }

    static uint32_t sc_by_tables(const sc_crc* which, uint32_t crc, const uint8_t* p, size_t size) {
        for (; size >= 8; size -= 8, p += 8) {
            crc ^= (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
            crc = which->rows[7][crc & 255] ^ which->rows[6][crc >> 8 & 255] ^ which->rows[5][crc >> 16 & 255]
                ^ which->rows[4][crc >> 24] ^ which->rows[3][p[4]] ^ which->rows[2][p[5]] ^ which->rows[1][p[6]]
                ^ which->rows[0][p[7]];
        }
        for (; size; size--, p++) crc = (crc >> 8) ^ which->rows[0][(crc ^ *p) & 255];
        return crc;
    }

    #if SC_CRC_INSTRUCTION
    static uint32_t sc_over(const uint32_t rows[4][256], uint32_t crc) {
        return rows[0][crc & 255] ^ rows[1][crc >> 8 & 255] ^ rows[2][crc >> 16 & 255] ^ rows[3][crc >> 24];
    }

    static inline uint64_t sc_word(const uint8_t* p) {
        uint64_t word;
        memcpy(&word, p, 8);
        return word;
    }

    __attribute__((target("sse4.2")))
    static uint32_t sc_stripes(uint32_t crc, const uint8_t* p, size_t stripe, const uint32_t over[4][256]) {
        uint64_t a = crc, b = 0, c = 0;
        const uint8_t* end = p + stripe;
        for (; p < end; p += 8) {
            a = _mm_crc32_u64(a, sc_word(p));
            b = _mm_crc32_u64(b, sc_word(p + stripe));
            c = _mm_crc32_u64(c, sc_word(p + 2 * stripe));
        }
        return sc_over(over, sc_over(over, (uint32_t) a) ^ (uint32_t) b) ^ (uint32_t) c;
    }

    __attribute__((target("sse4.2")))
    static uint32_t sc_by_instruction(uint32_t crc, const uint8_t* p, size_t size) {
        for (; size >= 3 * SC_LONG; size -= 3 * SC_LONG, p += 3 * SC_LONG) crc = sc_stripes(crc, p, SC_LONG, sc_over_long);
        for (; size >= 3 * SC_SHORT; size -= 3 * SC_SHORT, p += 3 * SC_SHORT) crc = sc_stripes(crc, p, SC_SHORT, sc_over_short);
        for (; size >= 8; size -= 8, p += 8) crc = (uint32_t) _mm_crc32_u64(crc, sc_word(p));
        for (; size; size--, p++) crc = _mm_crc32_u8(crc, *p);
        return crc;
    }
    #endif

    static uint32_t sc_crc32c(uint32_t crc, const uint8_t* p, size_t size) {
    #if SC_CRC_INSTRUCTION
        if (sc_has_instruction) return sc_by_instruction(crc, p, size);
    #endif
        return sc_by_tables(&sc_castagnoli, crc, p, size);
    }

    static uint32_t sc_crc32(uint32_t crc, const uint8_t* p, size_t size) { return sc_by_tables(&sc_zip, crc, p, size); }
    """
    int sc_has_instruction
    void sc_prepare() noexcept nogil
    uint32_t sc_append_zeros(uint32_t crc, uint32_t size) noexcept nogil
    uint32_t sc_crc32c(uint32_t crc, const uint8_t* p, size_t size) noexcept nogil
    uint32_t sc_crc32(uint32_t crc, const uint8_t* p, size_t size) noexcept nogil

sc_prepare()


def use_crc_instruction(wanted):
    """Whether CRC32C uses the processor's instruction from now on, where it has one; says what was used before. For the suite, which
    tests the tables too on machines that would never use them."""
    global sc_has_instruction
    before = bool(sc_has_instruction)
    sc_has_instruction = 0
    if wanted:
        sc_prepare()
    return before
