"""Finds out who calls: a signature, else a token; if both come, the signature decides (api.md §3). Pure; called once for each call."""

from __future__ import annotations

import hmac

from smartconnect.api.access import ANYBODY, AccessDirectory, ApiToken, AuthMode, Principal, token_digest
from smartconnect.api.signing import RawRequest, SignatureRefused, read_claim, verify
from smartconnect.control import codes
from smartconnect.control.refusals import Refusal


def authenticate(request: RawRequest, directory: AccessDirectory, now_ms: int) -> Principal:
    """The caller; a 401 `Refusal` for anything that does not prove one."""
    if directory.mode is AuthMode.NONE:
        return ANYBODY
    if request.values("authorization"):
        return _by_signature(request, directory, now_ms)
    tokens = request.values("x-auth-token")
    if not tokens:
        raise Refusal(codes.CREDENTIALS_MISSING)
    return _by_token(tokens[0].strip(), directory, now_ms)


def _by_signature(request: RawRequest, directory: AccessDirectory, now_ms: int) -> Principal:
    """An unknown access key takes the same way as a wrong signature and gives the same answer."""
    try:
        claim = read_claim(request)
        key = directory.keys.get(claim.access_key)
        verify(request, claim, key.secret_key if key is not None else directory.decoy, now_ms / 1000)
        if key is None:
            raise SignatureRefused
    except SignatureRefused as refused:
        raise Refusal(codes.SIGNATURE_WRONG, why=str(refused)) from None
    return key.principal()


def _by_token(token: str, directory: AccessDirectory, now_ms: int) -> Principal:
    if not token:
        raise Refusal(codes.TOKEN_MISSING)
    digest = token_digest(token)
    found: ApiToken | None = None
    for known in directory.tokens:
        if hmac.compare_digest(known.digest, digest):
            found = known
    if found is None:
        raise Refusal(codes.TOKEN_INVALID)
    if found.expires_at is not None and now_ms >= found.expires_at:
        raise Refusal(codes.TOKEN_EXPIRED)
    return found.principal()
