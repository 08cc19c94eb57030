"""The keys that seal secrets, and where they come from: a key file (mode 0600, one key a line) or the text of an environment variable
of the same form. A key is 32 random bytes in base64; its id, part of every sealed value, is derived from it, so that the right one of
several is found and a wrong one is told from a damaged value. Keys never appear in a repr, a message or the registry.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.secret import Secret

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One AES-256 key and its id."""

    id: str
    material: bytes = field(repr=False)

    @classmethod
    def of(cls, material: bytes) -> SealingKey:
        return cls(hashlib.sha256(b"smartconnect sealing key id\0" + material).hexdigest()[:12], material)

    @classmethod
    def new(cls) -> SealingKey:
        """From the system's own generator: the one kind of randomness that is not passed in."""
        return cls.of(secrets.token_bytes(KEY_BYTES))

    def line(self) -> str:
        return base64.b64encode(self.material).decode() + "\n"


def parse_keys(text: Secret, origin: str) -> tuple[SealingKey, ...]:
    """The keys of a file or variable, in order; SettingsInvalid (naming `origin`, not the text) when one is malformed or none there."""
    keys = []
    for number, line in enumerate(text.reveal().split(), start=1):
        try:
            material = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            material = b""
        if len(material) != KEY_BYTES:
            raise SettingsInvalid(f"{origin}: key {number} is not {KEY_BYTES} bytes in base64")
        keys.append(SealingKey.of(material))
    if not keys:
        raise SettingsInvalid(f"{origin}: holds no key")
    return tuple(keys)


class KeyFile:
    """The key file: made once, and only for a new registry; read again whenever a key is met that is not known yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.origin = f"registry.key_file: {path}"

    def read(self) -> tuple[SealingKey, ...]:
        """The keys; none if there is no file. SettingsInvalid when others may read it or it holds no keys."""
        try:
            with self.path.open(encoding="ascii", errors="replace") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = Secret(file.read())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SettingsInvalid(f"{self.origin}: cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise SettingsInvalid(f"{self.origin}: others may read it; set its mode to 0600")
        return parse_keys(text, self.origin)

    def create(self) -> tuple[SealingKey, ...]:
        """Make the file with one new key. It is never written over: a file that appeared meanwhile is an error."""
        key = SealingKey.new()
        self._write(self.path, [key])
        return (key,)

    def add(self, key: SealingKey) -> None:
        """Put a key before the others, atomically. The caller holds the registry's write transaction, so nobody else is adding."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=True)
        self._write(beside, [key, *self.read()])
        beside.replace(self.path)
        _sync_folder(self.path.parent)

    def _write(self, path: Path, keys: Sequence[SealingKey]) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise SettingsInvalid(f"{self.origin}: cannot be made: {error.strerror}") from None
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(key.line() for key in keys)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A key that a power cut takes away takes every secret with it: make the folder entry last too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
