"""How to talk to a cluster in confidence: protocol, login, certificates. The only place that makes TLS contexts for Kafka."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from smartconnect.domain.errors import SettingsInvalid

PROTOCOLS = ("PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Names and values are those of the settings (`security_protocol`, `sasl_mechanism`, …). The password never shows."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    user_name: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @property
    def uses_tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.protocol.startswith("SASL_")

    def check(self) -> None:
        """Raise SettingsInvalid where no connection could be made with this, whatever the broker says."""
        if self.protocol not in PROTOCOLS:
            raise SettingsInvalid(f"security_protocol {self.protocol!r} is not one of {', '.join(PROTOCOLS)}")
        if self.uses_sasl and self.mechanism not in MECHANISMS:
            raise SettingsInvalid(f"sasl_mechanism {self.mechanism!r} is not one of {', '.join(MECHANISMS)}")
        if self.uses_sasl and not (self.user_name and self.password):
            raise SettingsInvalid(f"security_protocol {self.protocol} needs user_name and password")
        if bool(self.cert_file) != bool(self.key_file):
            raise SettingsInvalid("cert_file and key_file are only of use together")

    def tls_context(self) -> ssl.SSLContext | None:
        """A verifying client context: CA from `ca_file`, else the system's; host names are checked. None without TLS."""
        if not self.uses_tls:
            return None
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise SettingsInvalid(f"{name} {path} does not exist or cannot be read")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (ssl.SSLError, OSError) as error:
            raise SettingsInvalid(f"ca_file, cert_file and key_file cannot be used: {error}") from error
        return context
