"""Webhooks: what a job's end tells its ``callback_url``, for who sends it and for who receives it.

Whoever runs the market opens it with ``callbacks`` and calls :meth:`Market.deliver_webhooks` every few seconds;
a receiver calls :func:`verify_webhook` with what came. The messages follow Standard Webhooks 1.0.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Union

from . import _native
from .errors import Invalid
from .wallet import text_in, whole_in

__all__ = ["CallbackRules", "WebhookRequest", "WebhookRound", "WebhookVerdict", "verify_webhook"]


@dataclass(frozen=True)
class CallbackRules:
    """Which URLs a job may name. What is not public is refused, by name and by address, unless allowed here."""

    allow_http: bool = False
    allow_private: bool = False
    ports: tuple[int, ...] = (443,)

    def _native(self) -> tuple[bool, bool, list[int]]:
        ports = [whole_in(one, "ports", 65_535) for one in self.ports]
        if min(ports, default=1) < 1:
            raise Invalid("options_invalid", "a port is 1 to 65535")
        return bool(self.allow_http), bool(self.allow_private), ports


@dataclass(frozen=True)
class WebhookRequest:
    """One POST to make: connect to ``address``, which was judged, and never resolve ``host`` again.

    ``host`` is the Host header and the name for TLS. Follow no redirection, use no proxy, and read no more of the
    answer than its status and Retry-After.
    """

    url: str
    host: str
    port: int
    https: bool
    target: str
    address: str
    headers: dict[str, str]
    body: bytes
    timeout_s: int


@dataclass(frozen=True)
class WebhookRound:
    """What :meth:`Market.deliver_webhooks` did, and when the next message is due."""

    delivered: int
    failed: int
    dead: int
    next_at: datetime | None


#: An HTTP status, or that and the seconds of Retry-After; what it raises is no answer.
Transport = Callable[[WebhookRequest], Union[int, tuple[int, int]]]


def _resolved(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(one[4][0]) for one in found})


def _deliver(
    engine: _native.Engine, transport: Transport, most: int, resolve: Callable[[str], list[str]] | None
) -> WebhookRound:
    for name, function in (("transport", transport), ("resolve", resolve)):
        if function is not None and not callable(function):
            raise Invalid("field_type", f"{name} takes a function, not {type(function).__name__}")

    def send(raw: dict[str, Any]) -> tuple[int, int]:
        answer = transport(WebhookRequest(**raw))
        return answer if isinstance(answer, tuple) else (answer, 0)

    return WebhookRound(**engine.deliver_webhooks(resolve or _resolved, send, whole_in(most, "most")))


@dataclass(frozen=True)
class WebhookVerdict:
    """Whether a message is to be believed; true like its ``valid``."""

    valid: bool
    #: Empty when valid, else ``secret``, ``malformed``, ``timestamp`` or ``signature``.
    reason: str

    def __bool__(self) -> bool:
        return self.valid


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> WebhookVerdict:
    """Whether ``body``, the bytes as they came, was signed with ``secret`` within five minutes of ``now``.

    ``headers`` are the request's, in any case; ``now`` is in seconds since 1970, as ``time.time()``. A message comes
    at least once: that its ``webhook-id`` was seen before is the receiver's to remember.
    """
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    if not isinstance(body, (bytes, bytearray)):
        raise Invalid("field_type", f"body takes bytes as they came, not {type(body).__name__}")
    reason = _native.verify_webhook(
        text_in(secret, "secret"),
        named.get("webhook-id", ""),
        named.get("webhook-timestamp", ""),
        named.get("webhook-signature", ""),
        bytes(body),
        int((time.time() if now is None else now) * 1_000_000),
    )
    return WebhookVerdict(not reason, reason)
