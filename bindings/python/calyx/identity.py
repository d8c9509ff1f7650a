"""Who is asking, where nobody was given a key: wallets of Base and Solana, by their signatures.

A request that bears its own signature is its signer's, once (:meth:`Market.session` of a :class:`SignedRequest`); a
wallet signs in (:meth:`Market.sign_in_challenge`, :meth:`Market.sign_in`) for a key that ends; and a key that the
owner signed for (:meth:`Session.issue_compute_key`) is for an agent. The first signature of an address opens its
wallet, which runs jobs and signs in once an operator has it on the whitelist (:meth:`Session.whitelist`).

>>> market.whitelist("base", "0xf39F…")
>>> challenge = market.sign_in_challenge("base", "0xf39F…")
>>> token = market.sign_in(challenge.id, signature).api_key  # what the wallet made of challenge.message
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, cast

from .errors import Invalid
from .wallet import IssuedKey, Wallet, issued_of, key_in, text_in

if TYPE_CHECKING:
    from . import _native
    from .market import Session

__all__ = ["SignInChallenge", "SignedRequest"]

_HEADERS = (
    "x-auth-address",
    "x-auth-chain",
    "x-auth-signature",
    "x-auth-timestamp",
    "x-auth-nonce",
    "x-auth-sig-encoding",
)


@dataclass(frozen=True)
class SignedRequest:
    """A request as it came: its method in upper case, its target with the query as it was sent, its body, and its
    headers, of which the six that begin with ``X-Auth-`` are read, in any case. One that stands there twice, in two
    spellings, raises `Invalid` where it is used: a signature covers one of them."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def _native(self) -> tuple[str, str, bytes, list[str]]:
        if not isinstance(self.body, (bytes, bytearray, memoryview)):
            raise Invalid("field_type", f"takes bytes, not {type(self.body).__name__}", {"field": "body"})
        given = {text_in(name, "headers").lower(): text_in(value, "headers") for name, value in self.headers.items()}
        if len(given) != len(self.headers):
            raise Invalid("malformed_header", "one header stands here in two spellings", {"field": "headers"})
        values = [given.get(name, "") for name in _HEADERS]
        return text_in(self.method, "method"), text_in(self.target, "target"), bytes(self.body), values


@dataclass(frozen=True)
class SignInChallenge:
    """What a wallet signs to sign in: ``message`` to the byte, by EIP-191 on Base, as it is on Solana."""

    id: str
    message: str
    expires_at: datetime


class IdentityOfSession:
    """What a session may do with addresses of other chains."""

    __slots__ = ()

    if TYPE_CHECKING:
        _native: _native.Session

    @property
    def whitelisted(self) -> bool:
        """Whether it may run jobs: a wallet that a signature opened may not until an operator says so."""
        return self._native.whitelisted

    def issue_compute_key(self, label: str = "", *, idempotency_key: str | None = None) -> IssuedKey:
        """A key (``x402c_``) for an agent of the wallet's owner, who alone makes and revokes such: in a session of a
        :class:`SignedRequest`. The same idempotency key again gives the key without its secret.

        Raises ``Refused`` (``signature_needed``; ``not_whitelisted`` for a stranger's wallet that has had all the keys
        it may have) or ``Conflict`` (``key_reused``).
        """
        return issued_of(
            self._native.issue_compute_key(text_in(label, "/label"), key_in(idempotency_key, "Idempotency-Key"))
        )

    def whitelist(self, chain: str, address: str, allowed: bool = True) -> Wallet:
        """Lets the wallet of ``address`` on ``base`` or ``solana`` run jobs and sign in, or no longer; it is opened if
        need be (operator). Raises ``Invalid`` (``field_value``)."""
        raw = self._native.whitelist(text_in(chain, "/chain"), text_in(address, "/address"), bool(allowed))
        return Wallet._of(cast("Session", self), raw["id"])
