"""Sealed secrets: AES-256-GCM with a fresh nonce, bound to the place they belong to. A sealed value is
`<key id>.<base64 of nonce, ciphertext and tag>`; the additional data is `<task id>/<side.field>`, so that a value moved to another
task or field cannot be opened there. The vault holds the keys of this process and finds the right one by its id.
"""

from __future__ import annotations

import base64
import binascii
import os
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smartconnect.domain.errors import SecretUnreadable, SettingsInvalid
from smartconnect.domain.secret import Secret
from smartconnect.registry.keys import KeyFile, SealingKey, parse_keys

NONCE_BYTES = 12
CHECK_PLACE = "registry/check"
CHECK_TEXT = Secret("smart-connect registry key check")


class Vault:
    """Seals and opens. Keys come from `environment` if it is given, else from the file, which is read again when a value names a key
    that is not known: another process may have rotated."""

    def __init__(self, key_file: KeyFile, environment: Secret | None) -> None:
        self._file = key_file
        self._from_environment = environment is not None
        self.origin = "the registry key of the environment" if environment is not None else key_file.origin
        keys = parse_keys(environment, self.origin) if environment is not None else key_file.read()
        self._keys = {key.id: key for key in keys}
        self._first = keys[0].id if keys else None

    def first_key(self, *, registry_is_new: bool) -> str:
        """The id of the key to begin with. Without any, a new registry gets a key file; for another one that is SettingsInvalid."""
        if self._first is None and not self._from_environment:
            self._take_over(self._file.read())
        if self._first is None:
            if not registry_is_new:
                raise SettingsInvalid(f"{self.origin}: is missing, but the registry holds secrets; bring it back")
            self._take_over(self._file.create())
        assert self._first is not None
        return self._first

    def next_key(self) -> str:
        """The id of the key to rotate to: a new one in the key file, or the first of the environment. In the write transaction."""
        if not self._from_environment:
            self._file.add(SealingKey.new())
            self._take_over(self._file.read())
        return self.first_key(registry_is_new=False)

    def seal(self, key_id: str, place: str, secret: Secret) -> str:
        """Seal with the registry's key `key_id`; SettingsInvalid if this process does not have it."""
        key = self._key(key_id)
        if key is None:
            raise SettingsInvalid(f"{self.origin}: does not hold the registry's key {key_id}; bring it back, or add it as a line")
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(key.material).encrypt(nonce, secret.reveal().encode("utf-8", "surrogatepass"), place.encode())
        return f"{key_id}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, place: str, sealed: str) -> Secret:
        """The inverse of `seal`; SecretUnreadable for another key, another place or a damaged value."""
        key_id, _, body = sealed.partition(".")
        key = self._key(key_id)
        if key is None:
            raise _unreadable(place, f"it is sealed with key {key_id}, which is not in {self.origin}")
        try:
            raw = base64.b64decode(body, validate=True)
            text = AESGCM(key.material).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
        except (InvalidTag, binascii.Error, ValueError):
            raise _unreadable(place, "it was damaged or moved") from None
        return Secret(text.decode("utf-8", "surrogatepass"))

    def check(self, key_id: str, check_value: str) -> None:
        """Is the registry's key ours? SettingsInvalid if not: such a process must not start."""
        with suppress(SecretUnreadable):
            if self.open(CHECK_PLACE, check_value) == CHECK_TEXT:
                return
        self.first_key(registry_is_new=False)
        raise SettingsInvalid(
            f"{self.origin}: is not the key of this registry (which is sealed with key {key_id}); bring that one back"
        )

    def _key(self, key_id: str) -> SealingKey | None:
        if key_id not in self._keys and not self._from_environment:
            self._take_over(self._file.read())
        return self._keys.get(key_id)

    def _take_over(self, keys: tuple[SealingKey, ...]) -> None:
        self._keys = {key.id: key for key in keys}
        self._first = keys[0].id if keys else None


def place_of(task_id: str, field: str) -> str:
    """What a sealed secret is bound to."""
    return f"{task_id}/{field}"


def _unreadable(place: str, cause: str) -> SecretUnreadable:
    return SecretUnreadable(f"secret {place} cannot be opened: {cause}; send it again by a modification, or bring the key back")
