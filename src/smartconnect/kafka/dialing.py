"""From an address to a connection ready for use: TCP, TLS, ApiVersions, SASL. Called by `cluster`.

Every failure becomes a sentence with the broker's address and its cause: ClusterUnreachable where nobody answers,
AuthenticationFailed where certificates or credentials are refused, ApiUnsupported where versions do not meet."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable, MalformedData
from smartconnect.kafka import messages
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.connection import LARGEST_FRAME, Connection
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.sasl import sasl_client
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.timing import Clock, Timing
from smartconnect.kafka.wire import Wire

_SOFTWARE = {"client_software_name": "smart-connect", "client_software_version": "1"}


@dataclass(frozen=True, slots=True)
class Dialer:
    """What all connections of one user of a cluster share. `lost` is called for each that ends otherwise than by us."""

    security: KafkaSecurity
    tls: ssl.SSLContext | None
    client_id: str
    timing: Timing
    clock: Clock
    lost: Callable[[], None]

    async def dial(self, host: str, port: int, name: str) -> Connection:
        """A connection logged in to `host:port`; `name` says in errors who it is ("broker 1")."""
        peer = f"{name} ({host}:{port})"
        try:
            async with asyncio.timeout(self.timing.connect_s):
                wire = await self._connect(host, port, peer)
                try:
                    return await self._greet(Connection(wire, self.client_id, self.timing.request_s, self.clock))
                except BaseException:
                    wire.close()
                    raise
        except TimeoutError as error:
            raise ClusterUnreachable(
                f"{peer} does not answer within {self.timing.connect_s:g} s; check the address and the firewall"
            ) from error

    async def _connect(self, host: str, port: int, peer: str) -> Wire:
        loop = asyncio.get_running_loop()
        hostname = host if self.tls else None
        try:
            transport, wire = await loop.create_connection(
                lambda: Wire(peer, self.lost), host, port, ssl=self.tls, server_hostname=hostname
            )
        except ssl.SSLCertVerificationError as error:
            raise AuthenticationFailed(
                f"the certificate of {peer} is not to be trusted: {error.verify_message}; check ca_file and the host name",
                setting="bootstrap_servers",
            ) from error
        except (ssl.SSLError, ConnectionResetError) as error:
            if self.tls is None:
                raise ClusterUnreachable(f"{peer} cannot be reached: {error}") from error
            cause = str(error) or "it closed the connection"
            raise AuthenticationFailed(
                f"{peer} does not speak TLS as security_protocol {self.security.protocol} needs it: {cause}",
                setting="security_protocol",
            ) from error
        except OSError as error:
            cause = error.strerror or str(error)
            raise ClusterUnreachable(f"{peer} cannot be reached: {cause}; check the address") from error
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return wire

    async def _greet(self, connection: Connection) -> Connection:
        try:
            await negotiate(connection)
            if self.security.uses_sasl:
                connection.keep_login(self.log_in, await self.log_in(connection))
        except ConnectionLost as error:
            raise unexpected_end(self.security, error) from error
        except MalformedData as error:
            raise ClusterUnreachable(f"{connection.peer} does not speak Kafka's protocol: {error}") from error
        connection.wire.allow_frames(LARGEST_FRAME)
        return connection

    async def log_in(self, connection: Connection) -> float:
        """One SASL login; the seconds that it lasts, 0 for ever (KIP-152, KIP-368)."""
        security, peer = self.security, connection.peer
        shake = await connection.call_unguarded(messages.SASL_HANDSHAKE, 1, {"mechanism": security.mechanism})
        if failure(shake.error_code):
            offered = ", ".join(shake.mechanisms) or "none"
            reason = f"{peer} does not accept sasl_mechanism {security.mechanism}; it offers {offered}"
            raise AuthenticationFailed(reason, setting="sasl_mechanism")
        client = sasl_client(security, base64.b64encode(secrets.token_bytes(24)).decode())
        version = connection.version(messages.SASL_AUTHENTICATE)
        message: bytes | None = client.first()
        lasts_ms = 0
        while message is not None:
            answer = await connection.call_unguarded(messages.SASL_AUTHENTICATE, version, {"auth_bytes": message})
            if code := failure(answer.error_code):
                raise AuthenticationFailed(
                    f"{peer} refuses user {security.user_name!r} with {security.mechanism}: "
                    f"{answer.error_message or code.name}. Check user_name and password"
                )
            lasts_ms = answer.session_lifetime_ms or 0
            message = await asyncio.to_thread(client.next, bytes(answer.auth_bytes))
        return lasts_ms / 1000


async def negotiate(connection: Connection) -> None:
    """Learn the broker's versions (KIP-511). A broker that does not know our version answers in version 0."""
    api = messages.API_VERSIONS
    answer = await connection.call_unguarded(api, api.highest, _SOFTWARE)
    if failure(answer.error_code) is KafkaCode.UNSUPPORTED_VERSION:
        answer = await connection.call_unguarded(api, 0, {})
    if code := failure(answer.error_code):
        raise ClusterUnreachable(f"{connection.peer} refuses to tell its API versions: {code.name}")
    connection.versions = {entry.api_key: (entry.min_version, entry.max_version) for entry in answer.api_keys}


def unexpected_end(security: KafkaSecurity, error: ConnectionLost) -> ClusterUnreachable:
    """Of a connection on which nothing that matters was answered yet: a broker tells so that it expects something else."""
    if security.uses_tls and security.cert_file == "":
        hint = "the listener may want a client certificate (cert_file, key_file)"
    else:
        hint = f"check that this listener expects security_protocol {security.protocol}"
    return ClusterUnreachable(f"{error}; {hint}", setting="security_protocol")


def dialer_for(security: KafkaSecurity, client_id: str, timing: Timing, clock: Clock, lost: Callable[[], None]) -> Dialer:
    """Check the security settings and load certificates once, for all connections to come."""
    security.check()
    return Dialer(security, security.tls_context(), client_id, timing, clock, lost)
