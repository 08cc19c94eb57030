"""Takes secrets out of whatever is about to be written: texts that were registered as secret values, and everything that stands
under a key that names a secret. Called by the log chain for each line; whoever reads or opens a secret registers it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from smartconnect.domain.secret import Secret

STARS: Final = "***"
SHORTEST: Final = 4  # a shorter text would blank out ordinary words
_SECRET_KEYS: Final = re.compile(r"(?i)(^|[._-])(password|passwd|access_?key|secret_?key|secret|token|authorization|cookie)$")


class Redactor:
    """Knows the secret texts of this process. Registering is cheap when nothing is new."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, secrets: Iterable[Secret]) -> None:
        """From now on these texts are replaced by stars. Texts shorter than `SHORTEST` are not."""
        new = {secret.reveal() for secret in secrets} - self._texts
        new = {text for text in new if len(text) >= SHORTEST}
        if new:
            self._texts |= new
            longest_first = sorted(self._texts, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(text) for text in longest_first))

    def clean_text(self, text: str) -> str:
        """The text with every registered secret replaced."""
        return text if self._pattern is None else self._pattern.sub(STARS, text)

    def clean(self, value: object) -> Any:
        """The same for nested values; what is neither text, number, list nor mapping is shown by its (cleaned) str()."""
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.clean_text(value)
            case Secret():
                return STARS
            case Mapping():
                return {str(key): STARS if names_a_secret(str(key)) else self.clean(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.clean(item) for item in value]
            case _:
                return self.clean_text(str(value))

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a step of the log chain."""
        cleaned: MutableMapping[str, Any] = self.clean(event)
        return cleaned


def names_a_secret(key: str) -> bool:
    """Whether what stands under this key must not be shown: "sink_task.secret_key", "X-Auth-Token", "redis_password"."""
    return _SECRET_KEYS.search(key) is not None


PROCESS_REDACTOR: Final = Redactor()
"""The one that this process's logs use."""
