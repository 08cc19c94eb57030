# `crc32c`: the checksum of many stretches of memory, one behind the other, in one stay without the interpreter lock.

def crc32c(stretches):
    """See `twin_crc.crc32c`."""
    cdef Py_ssize_t index, count = len(stretches), held = 0
    cdef uint32_t crc = 0xFFFFFFFFu
    cdef Py_buffer* buffers = <Py_buffer*> malloc((count + 1) * sizeof(Py_buffer))
    if buffers == NULL:
        raise MemoryError
    try:
        for index in range(count):
            PyObject_GetBuffer(stretches[index], &buffers[index], PyBUF_SIMPLE)
            held += 1
        with nogil:
            for index in range(count):
                crc = sc_crc32c(crc, <const uint8_t*> buffers[index].buf, buffers[index].len)
    finally:
        for index in range(held):
            PyBuffer_Release(&buffers[index])
        free(buffers)
    return crc ^ 0xFFFFFFFFu
