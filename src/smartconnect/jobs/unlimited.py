"""The admission of a reader that has one small fetch under way at a time, and so needs no budget (`kafka.fetch_types.Admission`). Used by
`smart-connect verify` of every kind of task that reads Kafka again."""

from __future__ import annotations


class Unlimited:
    """Nothing else to wait for."""

    async def acquire(self, nbytes: int) -> None:
        return None

    def overdraw(self, nbytes: int) -> None:
        return None

    def release(self, nbytes: int) -> None:
        return None
