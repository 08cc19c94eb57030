"""Memory for joined bytes: 64 KiB blocks from a pool, so that a thousand slow partitions cost a block each and idle ones nothing, and
so that a filled part leaves as a list of views without a copy. `join` fills a writer; the job takes what it holds as a part and gives the
blocks back when the upload is acknowledged.

The pool may be used by several threads at once (joins run in threads, releases on the loop). A writer belongs to one caller at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, NamedTuple, cast

from fastcrc import crc32

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


class Taken(NamedTuple):
    """What a writer gave away: its bytes in order, as views of single bytes for `BlockPool.release`, and the CRC32C of all of them."""

    views: list[memoryview]
    crc32c: int


class BlockWriter:
    """A growing run of bytes in blocks, and its CRC32C. `join` and `write` add at the end, `take` detaches all of it.

    Block i of `blocks` holds the bytes from `i * BLOCK_BYTES` on. Blocks beyond the content exist only between `reserve` and `settle`.
    The sum is made while a cache has the bytes: a part that leaves is not read once more for it."""

    __slots__ = ("_pool", "blocks", "crc32c", "length")

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self.blocks: list[bytearray] = []
        self.length = 0
        self.crc32c = 0

    def __len__(self) -> int:
        return self.length

    @property
    def held_bytes(self) -> int:
        """Bytes of budget in use: whole blocks."""
        return len(self.blocks) * BLOCK_BYTES

    def reserve(self, nbytes: int) -> None:
        """Make room for `nbytes` more."""
        missing = self.length + nbytes - self.held_bytes
        if missing > 0:
            self.blocks.extend(self._pool.get(-(-missing // BLOCK_BYTES)))

    def settle(self, length: int, crc32c: int) -> None:
        """Say how long the content is now (at most what was reserved), and its sum; blocks that it does not need go back."""
        self.length, self.crc32c = length, crc32c
        needed = -(-length // BLOCK_BYTES)
        if needed < len(self.blocks):
            spare = self.blocks[needed:]
            del self.blocks[needed:]
            self._pool.put(spare)

    def write(self, data: bytes | memoryview) -> None:
        """Add `data` at the end."""
        self.reserve(len(data))
        done = 0
        while done < len(data):
            index, fill = divmod(self.length, BLOCK_BYTES)
            step = min(BLOCK_BYTES - fill, len(data) - done)
            self.blocks[index][fill : fill + step] = data[done : done + step]
            self.length += step
            done += step
        self.crc32c = crc32.iscsi(data, self.crc32c)

    def take(self) -> Taken:
        """Detach everything, without a copy."""
        views = [memoryview(block) for block in self.blocks]
        if inside := self.length % BLOCK_BYTES:
            views[-1] = views[-1][:inside]
        taken = Taken(views, self.crc32c)
        self.blocks, self.length, self.crc32c = [], 0, 0
        return taken

    def clear(self) -> None:
        """Drop the content and give every block back."""
        self.settle(0, 0)
