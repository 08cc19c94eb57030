"""The settings of a topic that decide what its partitions take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from smartconnect.kernels import Codec

_CODECS: Final = {"producer": None, "uncompressed": Codec.NONE} | {codec.name.lower(): codec for codec in Codec if codec}
_NEVER_MS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """`codec` None: the producer's. Defaults are the broker's."""

    max_message_bytes: int = 1_048_588
    needs_keys: bool = False
    codec: Codec | None = None
    append_time: bool = False
    before_max_ms: int = _NEVER_MS
    after_max_ms: int = 3_600_000

    @classmethod
    def read(cls, config: Mapping[str, str]) -> TopicSettings:
        """ValueError for a setting that is not known here: it would mean nothing."""
        known: dict[str, object] = {}
        for name, value in config.items():
            match name:
                case "max.message.bytes":
                    known["max_message_bytes"] = int(value)
                case "cleanup.policy":
                    known["needs_keys"] = "compact" in value.split(",")
                case "compression.type":
                    known["codec"] = _CODECS[value]
                case "message.timestamp.type":
                    known["append_time"] = value == "LogAppendTime"
                case "message.timestamp.before.max.ms":
                    known["before_max_ms"] = int(value)
                case "message.timestamp.after.max.ms":
                    known["after_max_ms"] = int(value)
                case _:
                    raise ValueError(f"the fake broker knows no topic setting {name}")
        return cls(**known)  # type: ignore[arg-type]
