"""The joined bytes of an open object: few of them in pages of 4 KiB, more in the blocks of the kernels, so that what thousands of slow
partitions hold is what came, and not a block each.

A join writes to `ObjectBuffer.writer`, which has blocks only meanwhile while the object is small: they are the same few for all partitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from smartconnect.kernels import BlockPool, BlockWriter, Taken, crc32c, memory_of

PAGE_BYTES: Final = 4096
MOST_IN_PAGES: Final = 48 << 10
"""From three quarters of a block on, a block costs little more, and saves the copy."""


class PagedPool(BlockPool):
    """Pages too, under the same account."""

    _pages_out = 0

    @property
    def out_bytes(self) -> int:
        """Bytes in blocks and pages that are in buffers or in views not yet released."""
        return super().out_bytes + self._pages_out * PAGE_BYTES

    def page(self) -> bytearray:
        with self._lock:
            self._pages_out += 1
        self._take(PAGE_BYTES)
        return bytearray(PAGE_BYTES)

    def release(self, views: Iterable[memoryview]) -> None:
        """Take back what `ObjectBuffer.take` or `BlockWriter.take` gave away. Each view once; the views are dead afterwards."""
        memory = memory_of(views)
        blocks = [piece for piece in memory if len(piece) != PAGE_BYTES]
        self.put(blocks)
        if pages := len(memory) - len(blocks):
            with self._lock:
                self._pages_out -= pages
            self._give(pages * PAGE_BYTES)


class ObjectBuffer:
    """Join into `writer`, then `settle`: between two joins, everything is either in pages or in `writer`."""

    __slots__ = ("_in_pages", "_pages", "_pool", "writer")

    def __init__(self, pool: PagedPool) -> None:
        self._pool = pool
        self._pages: list[bytearray] = []
        self._in_pages = 0
        self.writer = BlockWriter(pool)

    @property
    def length(self) -> int:
        return self._in_pages + self.writer.length

    def settle(self) -> None:
        """What the last join wrote goes where all of it belongs by its size."""
        came = self.writer
        if not came.length:
            return
        if self.length <= MOST_IN_PAGES:
            views = came.take().views
            for view in views:
                self._put(view)
            self._pool.release(views)
        elif self._in_pages:
            self.writer = BlockWriter(self._pool)
            for views in (self._take_pages(), came.take().views):
                for view in views:
                    self.writer.write(view)
                self._pool.release(views)

    def take(self) -> Taken:
        """Detach everything; the views are for `PagedPool.release`."""
        pages = self._take_pages()
        return Taken(pages, crc32c(pages)) if pages else self.writer.take()

    def clear(self) -> None:
        """Drop the content and give all memory back."""
        self._pool.release(self.take().views)

    def _put(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            fill = self._in_pages % PAGE_BYTES
            if not fill:
                self._pages.append(self._pool.page())
            step = min(PAGE_BYTES - fill, len(view) - done)
            self._pages[-1][fill : fill + step] = view[done : done + step]
            self._in_pages += step
            done += step

    def _take_pages(self) -> list[memoryview]:
        views = [memoryview(page) for page in self._pages]
        if fill := self._in_pages % PAGE_BYTES:
            views[-1] = views[-1][:fill]
        self._pages, self._in_pages = [], 0
        return views
