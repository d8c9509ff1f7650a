"""Payments: quotes, what pays them, and who settles that.

An operator says where payments are taken (:meth:`Session.set_payment_terms`), a payer asks for a quote and is told how
to pay it (over the wire by a 402, here by :meth:`Session.payment_challenge`), signs, and presents the payment
(:meth:`Session.pay_quote`). calyx judges what was signed. The credits come once the host's settlement backend says
that the money has moved: an object with ``verify``, ``settle`` and ``status``, given to :func:`calyx.open`.

>>> class Facilitator:
...     def verify(self, payment):
...         return calyx.SettlementAnswer.valid()
...     def settle(self, key, payment):
...         return calyx.SettlementAnswer.settled("0x2f…")
...     def status(self, key):
...         return calyx.SettlementAnswer.unknown()
>>> market = calyx.open("market.db", settlement=Facilitator())
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, Union

from . import _native
from .errors import Invalid
from .money import Amount, Flops, micro
from .wallet import _seconds_in, key_in, maybe_micro_in, maybe_text_in, pages, text_in, wallet_id_in, whole_in

if TYPE_CHECKING:
    from .market import Session
    from .wallet import Wallet

__all__ = [
    "PaidCall",
    "Payment",
    "PaymentAnswer",
    "PaymentChallenge",
    "PaymentNetwork",
    "PaymentRound",
    "PaymentTerms",
    "Quote",
    "Settlement",
    "SettlementAnswer",
    "SimulatedTokens",
    "VerifiedPayment",
]

_OUTCOMES = ("unavailable", "valid", "settled", "pending", "refused", "unknown")
_Asked = Callable[[str, str, Union[dict[str, Any], None]], tuple[str, str, Union[int, None], str]]


@dataclass(frozen=True)
class VerifiedPayment:
    """A payment whose own words were found good: recipient, amount, times, and the signature, if it is no contract's."""

    #: ``x402_v1``, ``x402_v2`` or ``mpp``.
    protocol: str
    #: By CAIP-2, as ``eip155:8453``.
    network: str
    #: The token's address, in one spelling, as those of who pays and who is paid.
    asset: str
    payer: str
    pay_to: str
    #: What is used once by this payer for this asset.
    nonce: str
    #: In the token's atomic units.
    amount: int
    #: The same in credits.
    credit: Flops
    #: When the payer's word ends.
    valid_before: datetime
    #: As it was received, for the backend.
    payload: str
    #: The transaction by which the payer says that it was paid already.
    on_chain: str | None


@dataclass(frozen=True)
class SettlementAnswer:
    """What a settlement backend says. Made by the methods below."""

    #: ``unavailable``, ``valid``, ``settled``, ``pending``, ``refused`` or ``unknown``.
    outcome: str
    transaction: str = ""
    credit: Flops | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if text_in(self.outcome, "outcome") not in _OUTCOMES:
            raise Invalid("field_value", f"must be {', '.join(_OUTCOMES)}", {"field": "outcome"})
        if not text_in(self.transaction, "transaction") and self.outcome == "settled":
            raise Invalid("field_value", "is empty: it says where the money has moved", {"field": "transaction"})
        text_in(self.reason, "reason")
        count = maybe_micro_in(self.credit, "credit")
        object.__setattr__(self, "credit", None if count is None else Flops.from_micro(count))

    @classmethod
    def settled(cls, transaction: str, credit: Amount | None = None) -> SettlementAnswer:
        """The money has moved, for good: ``transaction`` says where, in 1 to 256 bytes. ``credit`` is what it came to,
        where that is not the payment's own; of 0 nothing can be credited, and the answer counts as unavailable."""
        return cls("settled", transaction, None if credit is None else Flops.from_micro(micro(credit, "credit")))

    @classmethod
    def valid(cls) -> SettlementAnswer:
        """It would settle as things stand. ``verify`` alone says this."""
        return cls("valid")

    @classmethod
    def pending(cls) -> SettlementAnswer:
        """It may still settle."""
        return cls("pending")

    @classmethod
    def refused(cls, reason: str = "refused") -> SettlementAnswer:
        """It will never settle under this key. Never say it of what may still settle."""
        return cls("refused", reason=reason)

    @classmethod
    def unknown(cls) -> SettlementAnswer:
        """Nothing was begun under this key. ``status`` alone says this."""
        return cls("unknown")

    @classmethod
    def unavailable(cls) -> SettlementAnswer:
        """Nothing is known: ask again."""
        return cls("unavailable")


class Settlement(Protocol):
    """Who moves the money: a facilitator, a node of a chain, a card network.

    Each call comes on the thread that presents or settles payments, outside every lock, may take its time and may call
    the market. The same call may come twice, on two threads or from two processes at once: the key stands for the
    payment, and under one key money moves once. What raises goes to ``sys.unraisablehook`` and says unavailable, also
    ``calyx.Refused``; an interrupt is raised by the call that was under way. The market keeps it, and what it refers
    to, until another one is set or the market is closed.

    Signatures are judged before it is asked, but those of contracts (ERC-1271, ERC-6492). Payments with one are
    refused, unless it has an attribute ``judges_contracts`` that is true: then :meth:`verify` judges the one in
    ``payment.payload``, which is whatever the payer's own key did not make.
    """

    def verify(self, payment: VerifiedPayment) -> SettlementAnswer:
        """Whether it would settle: balance, allowance, the nonce on the chain. Moves nothing."""

    def settle(self, key: str, payment: VerifiedPayment) -> SettlementAnswer:
        """Moves the money, or, of a payment that is ``on_chain``, looks whether that moved it."""

    def status(self, key: str) -> SettlementAnswer:
        """What became of :meth:`settle` under ``key``."""


class SimulatedTokens:
    """A ledger of tokens for tests and demos, in memory or in a file, which settles payments: for ``settlement``.

    It is no chain and checks no signature: tokens move once, from who has them, and a nonce is used once. Any thread
    and any number of processes may use one file.

    >>> tokens = calyx.SimulatedTokens()
    >>> tokens.mint("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", 5_000_000)
    >>> market = calyx.open(settlement=tokens)
    """

    __slots__ = ("_native",)

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        where = b"" if path is None else os.fsencode(path)
        if path is not None and not where:
            raise Invalid("path_refused", "the path is empty; tokens in memory are SimulatedTokens()")
        self._native = _native.open_tokens(where)

    def mint(self, address: str, amount: int, *, network: str = "base", asset: str | None = None) -> None:
        """Gives ``amount`` atomic units to ``address``. Without an ``asset`` of the dollar token that calyx knows on the
        network. Raises ``Invalid`` (``field_value``) or ``Unavailable`` (``io_error``)."""
        account = _account_in(network, asset, address)
        self._native.mint(*account, str(whole_in(amount, "amount", 10**37)))

    def balance(self, address: str, *, network: str = "base", asset: str | None = None) -> int:
        """What ``address`` has, in atomic units."""
        return int(self._native.balance(*_account_in(network, asset, address)))

    @property
    def settlements(self) -> int:
        """How many payments have settled."""
        return self._native.settlements()


def _account_in(network: str, asset: str | None, address: str) -> tuple[str, str, str]:
    return text_in(network, "network"), maybe_text_in(asset, "asset") or "", text_in(address, "address")


def settlement_in(settlement: Settlement | SimulatedTokens | None) -> _native.SimulatedTokens | _Asked | None:
    """``settlement`` as the engine takes it."""
    if settlement is None:
        return None
    if isinstance(settlement, SimulatedTokens):
        return settlement._native
    lacks = [name for name in ("verify", "settle", "status") if not callable(getattr(settlement, name, None))]
    if lacks or isinstance(settlement, type):
        of = f"{type(settlement).__name__}, which has no {lacks[0]}" if lacks else f"the class {settlement!r}"
        raise Invalid("options_invalid", f"settlement takes an object with verify, settle and status, not {of}")
    told = settlement  # as it is now, for the type checker too

    def asked(call: str, key: str, payment: dict[str, Any] | None) -> tuple[str, str, int | None, str]:
        if payment is None:
            answer = told.status(key)
        elif call == "verify":
            answer = told.verify(VerifiedPayment(**payment))
        else:
            answer = told.settle(key, VerifiedPayment(**payment))
        if not isinstance(answer, SettlementAnswer):
            raise TypeError(f"{call} gives a SettlementAnswer, not {type(answer).__name__}")
        credit = None if answer.credit is None else answer.credit.micro
        return answer.outcome, answer.transaction, credit, answer.reason

    asked.judges_contracts = bool(getattr(settlement, "judges_contracts", False))  # type: ignore[attr-defined]
    return asked


@dataclass(frozen=True)
class Payment:
    """A payment as it stands."""

    id: str
    quote_id: str
    #: The wallet that is credited.
    wallet_id: str
    #: ``authorized``, ``settling``, ``paid`` or ``failed``.
    status: str
    #: It came when the quote had no use for it.
    surplus: bool
    facts: VerifiedPayment
    created_at: datetime
    ended_at: datetime | None
    #: Once paid: where it settled, what was credited, and the top-up.
    transaction: str | None
    credited: Flops | None
    txn_id: str | None
    #: Once failed: why, in the backend's words.
    error: str | None
    #: It had been presented before.
    replayed: bool

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Payment:
        return cls(**{**raw, "facts": VerifiedPayment(**raw["facts"])})


@dataclass(frozen=True)
class Quote:
    """A price for credits, which a payment may meet until it expires."""

    id: str
    wallet_id: str
    #: ``topup``, ``shortfall``, ``credits`` or ``call``.
    kind: str
    amount: Flops
    created_at: datetime
    expires_at: datetime
    #: ``open``, ``authorized``, ``settling``, ``paid``, ``failed`` or ``expired``.
    status: str
    #: In the order in which they came; one at most is no surplus.
    payments: list[Payment]
    replayed: bool

    @property
    def path(self) -> str:
        """Where it is paid over the wire."""
        return f"/api/v1/account/quotes/{self.id}/pay/x402"

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Quote:
        return cls(**{**raw, "payments": [Payment._of(one) for one in raw["payments"]]})


@dataclass(frozen=True)
class PaymentChallenge:
    """One 402 that clients of x402 version 1 (``body``) and 2 (a header) and of MPP (``WWW-Authenticate``) understand."""

    #: The value of ``PAYMENT-REQUIRED``.
    payment_required: str
    www_authenticate: list[str]
    body: dict[str, Any]


@dataclass(frozen=True)
class PaymentAnswer:
    """A payment that was presented, and what is said of it to its client."""

    payment: Payment
    #: The value of ``X-PAYMENT-RESPONSE``, ``PAYMENT-RESPONSE`` or ``Payment-Receipt``; None while it is under way.
    response: str | None


@dataclass(frozen=True)
class PaidCall:
    """A payment that came with a call, in place of a key."""

    answer: PaymentAnswer
    #: Once paid, of the payer's wallet, for what derived keys may do: it may spend what was paid, less what it has spent
    #: and did not get back, however often the payment comes. None while it is under way, and once it failed.
    session: Session | None


@dataclass(frozen=True)
class PaymentRound:
    """What :meth:`Session.settle_payments` did; ``waiting`` are still under way."""

    paid: int
    failed: int
    waiting: int


@dataclass(frozen=True)
class PaymentNetwork:
    """A dollar token on one chain, and the address there that is paid."""

    #: ``base``, ``base-sepolia``, ``megaeth``, ``solana`` or ``solana-devnet``; kept by CAIP-2.
    network: str
    pay_to: str
    #: None: the token that calyx knows there.
    asset: str | None = None
    #: Solana alone: the address that pays the chain's fee.
    fee_payer: str | None = None


@dataclass(frozen=True)
class PaymentTerms:
    """Where payments are taken."""

    #: Where clients find this host, without a last slash.
    base_url: str
    #: Of MPP's challenges; empty: MPP is not offered.
    realm: str
    #: The one that is liked best first; empty: none is taken.
    networks: list[PaymentNetwork]

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> PaymentTerms:
        return cls(raw["base_url"], raw["realm"], [PaymentNetwork(**one) for one in raw["networks"]])


def _quote_id_in(quote: Quote | str) -> str:
    return quote.id if isinstance(quote, Quote) else text_in(quote, "quote")


class PaymentsOfSession:
    """What a session may do with quotes and payments."""

    __slots__ = ()

    if TYPE_CHECKING:
        _native: _native.Session

    def quote_topup(
        self,
        wallet: Wallet | str,
        amount: Amount,
        *,
        expires_in: int | timedelta = 900,
        idempotency_key: str | None = None,
    ) -> Quote:
        """A price for ``amount`` of credits in ``wallet``, open for 1 second to a day. The same key again gives the first
        quote, as it stands.

        Raises ``Invalid`` (``field_value``, ``amount_zero``), ``Conflict`` (``key_reused``), ``Refused``
        (``wallet_not_active``) or ``Unavailable`` (``too_many_quotes``: a wallet's own keys ask for 64 an hour).
        """
        lasts_s = _seconds_in(expires_in, "/expires_in_s")
        return Quote._of(
            self._native.quote_topup(
                wallet_id_in(wallet),
                micro(amount),
                900 if lasts_s is None else lasts_s,
                key_in(idempotency_key, "Idempotency-Key"),
            )
        )

    def quote(self, quote: Quote | str) -> Quote:
        """The quote as it stands. Raises ``NotFound`` (``quote_unknown``), also for somebody else's."""
        return Quote._of(self._native.quote(_quote_id_in(quote)))

    def quotes(self, wallet: Wallet | str, limit: int | None = None) -> Iterator[Quote]:
        """The quotes of a wallet, oldest first, their payments without ``payload``."""
        wallet_id = wallet_id_in(wallet)
        return pages(lambda after, most: self._native.quotes(wallet_id, after, most), Quote._of, limit)

    def payment_challenge(
        self,
        quote: Quote | str,
        *,
        resource: str | None = None,
        network: str | None = None,
        key_in_authorization: bool = False,
    ) -> PaymentChallenge:
        """What an open quote asks of its payer, on ``network`` alone if one is named. ``resource`` is the path where the
        payment will be presented, without one that of the wire; ``key_in_authorization`` says that MPP's credential
        comes in ``Payment-Authorization``.

        Raises ``Conflict`` (``quote_paid``, ``quote_failed``, ``quote_expired``) or ``Unsupported``: no networks are set,
        nobody settles, or this build lacks libsecp256k1 (``not_built``).
        """
        quote_id = _quote_id_in(quote)
        path = f"/api/v1/account/quotes/{quote_id}/pay/x402" if resource is None else text_in(resource, "resource")
        raw = self._native.payment_challenge(
            quote_id, path, maybe_text_in(network, "network") or "", bool(key_in_authorization)
        )
        return PaymentChallenge(**raw)

    def pay_quote(self, quote: Quote | str, payment: str, *, header: str = "PAYMENT-SIGNATURE") -> PaymentAnswer:
        """Judges a payment as it came in ``header``, has it settled, and credits the quote's wallet, once. The answer is
        the payment as it then stands, also when it ``failed``, or the backend could not say yet: present it again, or
        call :meth:`settle_payments`. The same words again give the same payment.

        Raises as :meth:`payment_challenge`; ``Invalid`` (``payment_malformed``); ``Refused`` (``payment_invalid``, with
        x402's or MPP's code in ``details["code"]``; ``payment_insufficient``); ``Conflict`` (``payment_reused``).
        """
        raw = self._native.pay_quote(_quote_id_in(quote), text_in(header, "header"), text_in(payment, "payment"))
        return PaymentAnswer(Payment._of(raw["payment"]), raw["response"])

    def settle_payments(self) -> PaymentRound:
        """Asks the settlement backend about every payment under way, and goes on with it, as after a crash (operator)."""
        return PaymentRound(**self._native.settle_payments())

    def payment_terms(self) -> PaymentTerms:
        """Where payments are taken: nowhere, until an operator has said so."""
        return PaymentTerms._of(self._native.payment_terms())

    def set_payment_terms(
        self,
        *,
        base_url: str | None = None,
        realm: str | None = None,
        networks: Iterable[PaymentNetwork] | None = None,
    ) -> PaymentTerms:
        """Changes it; what is left out stays (operator). Raises ``Invalid`` (``field_value``), with the place in
        ``details["field"]``."""
        given = None
        if networks is not None:
            given = [
                (
                    text_in(one.network, "/networks"),
                    text_in(one.pay_to, "/networks"),
                    maybe_text_in(one.asset, "/networks") or "",
                    maybe_text_in(one.fee_payer, "/networks") or "",
                )
                for one in networks
            ]
        return PaymentTerms._of(
            self._native.set_payment_terms(
                maybe_text_in(base_url, "/base_url"), maybe_text_in(realm, "/realm"), given
            )
        )
