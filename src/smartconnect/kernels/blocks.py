"""Memory for joined bytes: 64 KiB blocks from a pool, so that a thousand slow partitions cost a block each and idle ones nothing, and
so that a filled part leaves as a list of views without a copy. `join` fills a writer; the job takes parts out of it and gives the blocks
back when the upload is acknowledged.

The pool may be used by several threads at once (joins run in threads, releases on the loop). A writer belongs to one caller at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, cast

BLOCK_BYTES: Final = 65536


def _unaccounted(_nbytes: int) -> None:
    """Accounting for a pool whose owner keeps no budget."""


def memory_of(views: Iterable[memoryview]) -> list[bytearray]:
    """What the views are of; they are dead afterwards."""
    views = list(views)
    memory = [cast(bytearray, view.obj) for view in views]
    for view in views:
        view.release()
    return memory


class FreeBlocks:
    """Returned blocks that any pool of the process may use again: at most `most`. Making a block anew costs more than filling it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: list[bytearray] = []
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, count: int) -> list[bytearray]:
        """Up to `count` blocks, fewer where there are not so many."""
        with self._lock:
            first = max(0, len(self._blocks) - count)
            blocks = self._blocks[first:]
            del self._blocks[first:]
        return blocks

    def put(self, blocks: list[bytearray]) -> None:
        with self._lock:
            self._blocks.extend(blocks[: max(0, self._most - len(self._blocks))])

    def trim(self) -> None:
        """Forget them all: nothing has moved for a while."""
        with self._lock:
            self._blocks.clear()


class BlockPool:
    """Hands out blocks; those that come back go to `free`, which pools of one process may share.

    `take` and `give` are told the bytes that leave and come back, in the thread that causes it, without any lock of the pool held. They
    must not block and cannot refuse: what has been fetched must be decodable, the owner's brake is to stop fetching."""

    def __init__(
        self,
        take: Callable[[int], None] = _unaccounted,
        give: Callable[[int], None] = _unaccounted,
        free: FreeBlocks | None = None,
    ) -> None:
        self._take = take
        self._give = give
        self._free = free if free is not None else FreeBlocks(256)
        self._lock = Lock()
        self._out = 0

    @property
    def out_bytes(self) -> int:
        """Bytes in blocks that are in writers or in views not yet released."""
        return self._out * BLOCK_BYTES

    @property
    def free_bytes(self) -> int:
        """Bytes kept for reuse."""
        return len(self._free) * BLOCK_BYTES

    def get(self, count: int) -> list[bytearray]:
        """`count` blocks with arbitrary content."""
        blocks = self._free.get(count)
        blocks.extend(bytearray(BLOCK_BYTES) for _ in range(count - len(blocks)))
        with self._lock:
            self._out += count
        self._take(count * BLOCK_BYTES)
        return blocks

    def put(self, blocks: list[bytearray]) -> None:
        """Take blocks back; nobody may look at them any more."""
        if not blocks:
            return
        with self._lock:
            self._out -= len(blocks)
        self._free.put(blocks)
        self._give(len(blocks) * BLOCK_BYTES)

    def release(self, views: Iterable[memoryview]) -> None:
        """Take back what `BlockWriter.take` gave away. Each view once; the views are dead afterwards."""
        self.put(memory_of(views))


class BlockWriter:
    """A growing run of bytes in blocks. `join` and `write` add at the end, `take` detaches from the front.

    Block i of `blocks` holds the bytes from `i * BLOCK_BYTES - start` on: content begins at `start` of the first block, so that both
    implementations find the place to write with a division. Blocks beyond the content exist only between `reserve` and `settle`."""

    __slots__ = ("_pool", "blocks", "length", "start")

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self.blocks: list[bytearray] = []
        self.start = 0
        self.length = 0

    def __len__(self) -> int:
        return self.length

    @property
    def held_bytes(self) -> int:
        """Bytes of budget in use: whole blocks."""
        return len(self.blocks) * BLOCK_BYTES

    def reserve(self, nbytes: int) -> None:
        """Make room for `nbytes` more."""
        missing = self.start + self.length + nbytes - len(self.blocks) * BLOCK_BYTES
        if missing > 0:
            self.blocks.extend(self._pool.get(-(-missing // BLOCK_BYTES)))

    def settle(self, length: int) -> None:
        """Say how long the content is now (at most what was reserved); blocks that it does not need go back."""
        self.length = length
        needed = -(-(self.start + length) // BLOCK_BYTES) if length else 0
        if needed < len(self.blocks):
            spare = self.blocks[needed:]
            del self.blocks[needed:]
            self._pool.put(spare)
        if not length:
            self.start = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add `data` at the end."""
        self.reserve(len(data))
        done = 0
        while done < len(data):
            index, fill = divmod(self.start + self.length, BLOCK_BYTES)
            step = min(BLOCK_BYTES - fill, len(data) - done)
            self.blocks[index][fill : fill + step] = data[done : done + step]
            self.length += step
            done += step

    def take(self, nbytes: int | None = None) -> list[memoryview]:
        """Detach the first `nbytes` (all, if None), in order, as views for `BlockPool.release`. No copy but, when the cut is inside a
        block, of the rest of that block."""
        nbytes = self.length if nbytes is None else nbytes
        if not 0 <= nbytes <= self.length:
            raise ValueError(f"cannot take {nbytes} of {self.length} bytes")
        if nbytes == 0:
            return []
        end = self.start + nbytes
        whole, inside = divmod(end, BLOCK_BYTES)
        taken = self.blocks[: whole + (inside > 0)]
        del self.blocks[: len(taken)]
        rest = self.length - nbytes
        if inside and rest:
            fresh = self._pool.get(1)[0]
            fresh[inside:] = memoryview(taken[-1])[inside:]
            self.blocks.insert(0, fresh)
        views = [memoryview(block) for block in taken]
        views[-1] = views[-1][: end - (len(taken) - 1) * BLOCK_BYTES]
        views[0] = views[0][self.start :]
        self.start = inside if rest else 0
        self.length = rest
        return views

    def clear(self) -> None:
        """Drop the content and give every block back."""
        self.settle(0)
