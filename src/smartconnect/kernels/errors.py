"""What the kernels raise. They stand beside the product's error tree, not in it: this package imports nothing of ours, and only its
caller knows the topic, partition and offset that a sentence for the user needs. Both implementations raise the same error with the same
`position` and `reason` for the same bytes; the suite holds them to it.

    KernelError (ValueError)
    ├── MalformedBatch       the bytes are not what Kafka's record format promises
    └── DecompressionBomb    a section unfolds to more than the limit
"""

from __future__ import annotations

from typing import Final

CUT_NUMBER: Final = 1
LEAVES_SECTION: Final = 2
NEGATIVE_LENGTH: Final = 3
BYTES_LEFT: Final = 4
OFFSETS_NOT_ASCENDING: Final = 5
OUTSIDE_BATCH: Final = 6
TOO_FEW_RECORDS: Final = 7
TOO_MANY_BYTES: Final = 8

BAD_LENGTH: Final = 9
BAD_MAGIC: Final = 10
BAD_OFFSETS: Final = 11
BAD_COUNT: Final = 12
BAD_CODEC: Final = 13
BAD_MARKER: Final = 14
OFFSETS_GO_BACK: Final = 15

REASONS: Final = (
    "",
    "a number is cut off or too long",
    "a record leaves its section",
    "a length is negative",
    "a record has bytes left over",
    "record offsets do not ascend",
    "a record's offset lies outside its batch",
    "there are fewer records than the header says",
    "there are more bytes than records",
    "the batch length is impossible",
    "the format version is unknown",
    "the offsets are impossible",
    "the record count is negative",
    "the compression codec is unknown",
    "the control record is unreadable",
    "offsets go back from one batch to the next",
)


class KernelError(ValueError):
    """Base of what the kernels raise for bytes they cannot serve."""


class MalformedBatch(KernelError):
    """`position` is a byte offset: of the batch in a response (`walk`), of the record in its section (`join`), of the damage where known
    (codecs). `section` is the index in the list given to `join`, 0 elsewhere."""

    def __init__(self, position: int, reason: str, section: int = 0) -> None:
        super().__init__(f"malformed record batch at byte {position}: {reason}")
        self.position = position
        self.reason = reason
        self.section = section


class DecompressionBomb(KernelError):
    """A compressed section unfolds to more than `limit` bytes; no more than that was ever held."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a compressed record batch unfolds to more than {limit} bytes")
        self.limit = limit
