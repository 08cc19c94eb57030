"""Settings that cannot work are refused with the name of the setting; the password never shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.kafka.addresses import parse_addresses
from smartconnect.kafka.security import KafkaSecurity


@pytest.mark.parametrize(
    ("security", "named"),
    [
        (KafkaSecurity("TLS"), "security_protocol"),
        (KafkaSecurity("SASL_SSL", "GSSAPI", "u", "p"), "sasl_mechanism"),
        (KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "u", ""), "password"),
        (KafkaSecurity("SSL", cert_file="c.pem"), "key_file"),
    ],
)
def test_unusable_settings_are_named(security: KafkaSecurity, named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named):
        security.check()


def test_missing_and_broken_ca_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="ca_file"):
        KafkaSecurity("SSL", ca_file=str(tmp_path / "absent.pem")).tls_context()
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(SettingsInvalid, match="ca_file"):
        KafkaSecurity("SSL", ca_file=str(broken)).tls_context()


def test_password_shows_nowhere() -> None:
    security = KafkaSecurity("SASL_SSL", "PLAIN", "joe", "hunter2")
    assert "hunter2" not in repr(security) + str(security)


def test_tls_context_verifies_certificates_and_host_names() -> None:
    context = KafkaSecurity("SASL_SSL").tls_context()
    assert context is not None and context.check_hostname
    assert KafkaSecurity("SASL_PLAINTEXT").tls_context() is None


def test_addresses_are_split() -> None:
    assert parse_addresses("a:9092, b.example:9093,[::1]:1") == [("a", 9092), ("b.example", 9093), ("::1", 1)]


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,", "a:x"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="bootstrap_servers"):
        parse_addresses(text)
