"""A market: one file with its wallets, ledger, escrows and receipts, opened in this process.

Start at :func:`open`.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import IO, Any, NoReturn, TypeVar, Union

from . import _native
from .artifacts import ArtifactsOfSession
from .commands import Commands
from .errors import Conflict, Error, Invalid, Refused
from .identity import IdentityOfSession, SignedRequest, SignInChallenge
from .jobs import _SLICE_MS, JobFailed, JobsOfSession, Worker, task_function
from .money import Amount, Flops, micro
from .payments import (
    PaidCall,
    Payment,
    PaymentAnswer,
    PaymentChallenge,
    PaymentsOfSession,
    Settlement,
    SimulatedTokens,
    settlement_in,
)
from .projects import ProjectsOfSession
from .receipt import AnyReceipt, Receipt, Verdict, _json_text, _text_of
from .wallet import (
    ApiKey,
    Approval,
    Earn,
    Earned,
    IssuedKey,
    Moved,
    Narrowing,
    Operation,
    Payout,
    Release,
    Released,
    Spend,
    Spent,
    TopUp,
    Transfer,
    Wallet,
    gpu_types_in,
    issued_of,
    key_in,
    maybe_micro_in,
    pages,
    text_in,
    wallet_id_in,
    whole_in,
)
from .webhooks import CallbackRules, Transport, WebhookRound, _deliver

__all__ = [
    "AuditReport",
    "ConsistencyProof",
    "Granted",
    "InclusionProof",
    "Market",
    "ReceiptAudit",
    "Response",
    "Session",
    "Stats",
    "WaitlistApproved",
    "WaitlistEntry",
    "open",
    "recompute_receipt",
]


@dataclass(frozen=True)
class Granted:
    """The promotion of the documents, given. ``remaining`` grants are left for others."""

    txn_id: str
    amount: Flops
    new_balance: Flops
    remaining: int
    replayed: bool


@dataclass(frozen=True)
class WaitlistEntry:
    """An owner who waits for access, or got it."""

    id: str
    owner_id: str
    #: ``waiting`` or ``approved``.
    status: str
    created_at: datetime
    replayed: bool


@dataclass(frozen=True)
class WaitlistApproved:
    """An entry that was approved, and the wallet that was opened for it (with its ``api_key``)."""

    entry: WaitlistEntry
    wallet: Wallet


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. True in a condition when nothing is wrong."""

    ok: bool
    events: int
    entries: int
    receipts: int
    signatures: int
    checkpoints: int
    #: What is wrong first, and where.
    first_fault: str | None
    #: The hash of the last event, lower hex, and its number.
    head: str
    seq: int

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class ReceiptAudit:
    """What a receipt's job came to when it was computed again. True in a condition when it came to the same."""

    receipt_id: str
    job_id: str
    #: Whether ``recomputed_hash`` is the ``output_hash`` that was signed.
    reproduced: bool
    #: How many tasks were computed again: those that had come to a result.
    tasks: int
    input_hash: str
    output_hash: str
    recomputed_hash: str
    #: The first task that came to something else than what is stored of it.
    first_difference: int | None
    #: What that task failed with now.
    error: str | None

    def __bool__(self) -> bool:
        return self.reproduced


@dataclass(frozen=True)
class InclusionProof:
    """That leaf ``leaf`` is in the log of ``size`` leaves with this ``root`` (RFC 9162 2.1.3). Hashes are hex."""

    leaf: int
    size: int
    leaf_hash: str
    root: str
    path: list[str]
    #: The signed note (C2SP tlog-checkpoint) that vouches for ``root``.
    checkpoint: str


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log of ``old_size`` leaves is a beginning of that of ``new_size`` (RFC 9162 2.1.4)."""

    old_size: int
    new_size: int
    old_root: str
    new_root: str
    path: list[str]


@dataclass(frozen=True)
class Stats:
    """Counters since the market was opened here. ``statements_prepared`` counts for the whole process."""

    commits: int
    calls_committed: int
    checkpoints: int
    statements_prepared: int


@dataclass(frozen=True)
class Response:
    """An answer of the wire contract. A body that is streamed (``text/event-stream``) is empty: see :meth:`pieces`."""

    status: int
    headers: dict[str, str]
    body: bytes
    _stream: _native.BodyStream | None = field(default=None, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """The header of that name, in any case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    def pieces(self) -> Iterator[bytes]:
        """The body, piece by piece: all at once, or as a streamed one comes, which can be walked once.

        It ends with its market, and when its key is revoked.
        """
        if self._stream is None:
            yield from (self.body,) if self.body else ()
            return
        while (piece := self._stream.next(_SLICE_MS)) != b"":
            if piece is not None:
                yield piece

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON. Numbers that are no integers are ``Decimal``, by their digits."""
        return json.loads(self.body, parse_float=Decimal)


_TaskT = TypeVar("_TaskT", bound=Callable[..., Any])

_record_of = {Spend: Spent, Release: Released, TopUp: Moved, Transfer: Moved}
_name_of = {Spend: "spend", Earn: "earn", Release: "release", TopUp: "topup", Transfer: "transfer"}


class Session(JobsOfSession, ArtifactsOfSession, ProjectsOfSession, PaymentsOfSession, IdentityOfSession):
    """What one principal may do: the operator (:class:`Market` itself), a human or an agent.

    ``market.session(api_key)`` gives one; each call is judged by whose key it is. Any thread may use it.

    Every call may raise ``Unavailable`` (``store_busy``, ``disk_full``, ``io_error``: nothing was written;
    ``closed``, ``forked``), ``OutcomeUnknown``, ``Corrupt`` or ``Internal``; and every call that names a wallet
    ``Refused`` (``unauthorized``, ``not_your_wallet``, ``operator_only``, ``human_only``) or ``NotFound``
    (``wallet_unknown``). Those are not repeated below.
    """

    __slots__ = ("__weakref__", "_engine", "_market", "_narrowing", "_native", "_path")

    def __init__(
        self, engine: _native.Engine, native: _native.Session, market: Market | None, path: str | None
    ) -> None:
        self._engine = engine
        self._native = native
        self._path = path  # resolved when it was opened; None in memory
        self._narrowing = Narrowing()
        self._market = market  # kept, so that a market opened by its path ends with its last wallet

    @property
    def role(self) -> str:
        """``operator``, ``human`` or ``agent``."""
        return self._native.role

    @property
    def wallet_id(self) -> str | None:
        """The wallet whose key this is; None for an operator."""
        return self._native.wallet_id

    @property
    def own(self) -> Wallet:
        """The wallet whose key this is. Raises ``Refused`` (``operator_only``…) for an operator, who has none."""
        wallet_id = self.wallet_id
        if wallet_id is None:
            raise Refused("human_only", "an operator has no wallet of its own")
        return Wallet._of(self, wallet_id)

    def narrowed(
        self,
        *,
        spend_cap_per_job: Amount | None = None,
        spend_cap_per_hour: Amount | None = None,
        approval_threshold: Amount | None = None,
        allowed_gpu_types: Sequence[str] | None = None,
    ) -> Session:
        """The same rights, whose outgoing calls (spend, transfer, payout, alone or in bulk) these rules judge too.

        They are judged by the engine, after replays and each before the wallet's own rule of that kind, and bind
        what is done through the session that comes back. One that is narrowed again is bound by both.

        >>> careful = market.session(api_key).narrowed(spend_cap_per_job=2)
        """
        gpu_types = gpu_types_in(allowed_gpu_types, "/allowed_gpu_types")
        micros = (
            maybe_micro_in(spend_cap_per_job, "/spend_cap_per_job"),
            maybe_micro_in(spend_cap_per_hour, "/spend_cap_per_hour"),
            maybe_micro_in(approval_threshold, "/approval_threshold"),
        )
        market = self if isinstance(self, Market) else self._market
        session = Session(self._engine, self._native.narrowed(*micros, gpu_types), market, self._path)
        amounts = [None if one is None else Flops.from_micro(one) for one in micros]
        session._narrowing = self._narrowing.and_also(Narrowing(*amounts, gpu_types))
        return session

    def __repr__(self) -> str:
        whose = self.role if self.wallet_id is None else f"{self.role} {self.wallet_id}"
        return f"<Session of {whose} in {_where(self._path)}{', closed' if self._engine.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session belongs to an open market and cannot be pickled")

    # Wallets.

    def create_wallet(
        self,
        owner_type: str,
        owner_id: str,
        parent: Wallet | str | None = None,
        *,
        spend_cap_per_job: Amount | None = None,
        spend_cap_per_hour: Amount | None = None,
        approval_threshold: Amount | None = None,
        allowed_gpu_types: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Wallet:
        """Creates a wallet and its first key, which is the wallet's ``api_key``, shown this once.

        ``owner_type`` is ``human`` or ``agent``; an agent needs a ``parent``, a human has none. The operator
        creates any, a human creates agents under itself. An absent rule binds nothing.

        Raises ``Invalid`` (``agent_needs_parent``, ``human_has_parent``, ``parent_not_human``) or ``Conflict``
        (``key_reused``).
        """
        raw = self._native.create_wallet(
            text_in(owner_type, "/owner_type"),
            text_in(owner_id, "/owner_id"),
            None if parent is None else wallet_id_in(parent, "/parent_wallet_id"),
            maybe_micro_in(spend_cap_per_job, "/spend_cap_per_job"),
            maybe_micro_in(spend_cap_per_hour, "/spend_cap_per_hour"),
            maybe_micro_in(approval_threshold, "/approval_threshold"),
            gpu_types_in(allowed_gpu_types, "/allowed_gpu_types"),
            key_in(idempotency_key, "Idempotency-Key"),
        )
        return self._created(raw)

    def _created(self, raw: dict[str, Any]) -> Wallet:
        wallet = Wallet._of(self, raw["wallet"]["id"])
        wallet.api_key = raw["api_key"]
        wallet.replayed = raw["replayed"]
        return wallet

    def wallet(self, wallet_id: str) -> Wallet:
        """The wallet of that id. Raises ``NotFound`` (``wallet_unknown``)."""
        wallet = Wallet._of(self, text_in(wallet_id, "/wallet_id"))
        wallet.state()
        return wallet

    def wallets(self, limit: int | None = None) -> Iterator[Wallet]:
        """The wallets this principal may read, oldest first."""
        return pages(self._native.wallets, lambda raw: Wallet._of(self, raw["id"]), limit)

    # Money.

    def topup(
        self,
        wallet: Wallet | str,
        amount: Amount,
        *,
        reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Credits FLOPS that were bought outside (operator).

        ``reference`` names that payment: the same one for the same wallet counts once.

        Raises ``Conflict`` (``key_reused``) or ``Refused`` (``wallet_not_active``).
        """
        return Moved(**self._native.topup(*TopUp(wallet, amount, reference, idempotency_key)._arguments()))

    def bulk(self, operations: Iterable[Operation]) -> list[Spent | Earned | Released | Moved | Error]:
        """Up to 1,000 operations in one commit, judged in order, each with its own outcome.

        A refusal stops nothing: it stands in the list as the exception that the call by itself would have
        raised. An operation that cannot be read (``Invalid``, or an id of no known shape) fails them all.

        >>> market.bulk([calyx.Spend(agent, "job-1", 4), calyx.Spend(agent, "job-2", 4)])
        """
        if isinstance(operations, (str, bytes, Mapping)) or not isinstance(operations, Iterable):
            raise TypeError(
                f"takes a list of Spend, Earn, Release, TopUp and Transfer, not {type(operations).__name__}"
            )
        operations = list(operations)  # walked twice below, which an iterator can be once
        tuples = []
        for at, operation in enumerate(operations):
            name = _name_of.get(type(operation))
            if name is None:
                raise Invalid(
                    "field_type",
                    f"takes Spend, Earn, Release, TopUp or Transfer, not {type(operation).__name__}",
                    {"field": f"/operations/{at}"},
                )
            try:
                tuples.append((name, *operation._arguments()))
            except Error as error:
                error.details["field"] = f"/operations/{at}" + str(error.details.get("field", ""))
                raise
        outcomes: list[Spent | Earned | Released | Moved | Error] = []
        for operation, raw in zip(operations, self._native.bulk(tuples)):
            if isinstance(raw, Error):
                outcomes.append(raw)
            elif isinstance(operation, Earn):
                outcomes.append(Earned._of(raw, self))
            else:
                outcomes.append(_record_of[type(operation)](**raw))
        return outcomes

    # Approvals and keys.

    def approve(self, approval: Approval | str) -> Approval:
        """Lets the call that asked pass, once: a human for its agents, the operator for a human's own.

        ``approval`` is the record or its id (``error.details["approval_id"]`` of the refusal). Raises
        ``NotFound`` (``approval_unknown``) or ``Conflict`` (``approval_decided``, ``approval_expired``).
        """
        return Approval(**self._native.approve(_id_in(approval, "approval")))

    def deny(self, approval: Approval | str) -> Approval:
        """Refuses the call that asked. Raises as :meth:`approve`."""
        return Approval(**self._native.deny(_id_in(approval, "approval")))

    def operator_keys(self, limit: int | None = None) -> Iterator[ApiKey]:
        """The operators' keys without their secrets, revoked ones too, oldest first (operator)."""
        return pages(self._native.operator_keys, lambda raw: ApiKey(**raw), limit)

    def revoke_key(self, key: ApiKey | IssuedKey | str) -> ApiKey:
        """Ends a key for ever. Raises ``NotFound`` (``key_unknown``)."""
        return ApiKey(**self._native.revoke_key(_id_in(key, "key")))

    def rotate_key(self, key: ApiKey | IssuedKey | str, *, idempotency_key: str | None = None) -> IssuedKey:
        """A new key of the same wallet and label in exchange for an old one, in one commit."""
        return issued_of(self._native.rotate_key(_id_in(key, "key"), key_in(idempotency_key, "Idempotency-Key")))

    # Money from and to the outside (operator).

    def grant(self, wallet: Wallet | str) -> Granted:
        """The promotion: USD 20 in free FLOPS for the first 50 owners, once each.

        Raises ``Refused`` (``human_only``) or ``Conflict`` (``grant_taken``, ``grants_exhausted``).
        """
        return Granted(**self._native.grant(wallet_id_in(wallet)))

    def confirm_payout(self, payout: Payout | str) -> Payout:
        """The payout was paid outside. Raises ``NotFound`` or ``Conflict`` (``payout_decided``)."""
        return Payout(**self._native.confirm_payout(_id_in(payout, "payout")))

    def fail_payout(self, payout: Payout | str) -> Payout:
        """The payout came to nothing: the wallet gets its credits back. Raises as :meth:`confirm_payout`."""
        return Payout(**self._native.fail_payout(_id_in(payout, "payout")))

    def join_waitlist(self, owner_id: str) -> WaitlistEntry:
        """Notes an owner who wants access; the same owner again gives the same entry."""
        return WaitlistEntry(**self._native.join_waitlist(text_in(owner_id, "/owner_id")))

    def approve_waitlist(self, entry: WaitlistEntry | str) -> WaitlistApproved:
        """Opens a human wallet for the entry. Raises ``NotFound`` or ``Conflict`` (``waitlist_decided``)."""
        raw = self._native.approve_waitlist(_id_in(entry, "entry"))
        return WaitlistApproved(WaitlistEntry(**raw["entry"]), self._created(raw["created"]))

    # Receipts and the books.

    def receipt(self, receipt_id: str) -> Receipt:
        """The receipt of that id. Raises ``NotFound`` (``receipt_unknown``), also for one of others' wallets."""
        return self._receipt_of(self._native.receipt(text_in(receipt_id, "/receipt_id")))

    def _receipt_of(self, raw: dict[str, Any]) -> Receipt:
        return Receipt(raw["jws"], self._engine.public_keys(), leaf=raw["leaf"])

    def inclusion_proof(self, receipt: Receipt | str) -> InclusionProof:
        """That a receipt is in the receipt log, for verifying without calyx."""
        return InclusionProof(**self._native.inclusion_proof(_id_in(receipt, "receipt")))

    def consistency_proof(self, old_size: int, new_size: int) -> ConsistencyProof:
        """That the receipt log only grew between two sizes."""
        sizes = (whole_in(old_size, "old_size"), whole_in(new_size, "new_size"))
        if min(sizes) < 0:
            raise Invalid("field_value", "a log has 0 leaves or more", {"field": "old_size"})
        return ConsistencyProof(**self._native.consistency_proof(*sizes))

    def checkpoint(self) -> str:
        """The receipt log's head as a signed note (C2SP tlog-checkpoint). Keep it: an audit takes it as anchor."""
        return self._native.checkpoint()

    def audit(self, anchor: AnyReceipt | None = None, deep: bool = False) -> AuditReport:
        """Re-sums, re-chains and re-verifies everything, and names the first thing wrong (operator).

        ``anchor`` is what an outsider holds and the file must agree with: a receipt or a checkpoint. ``deep``
        checks each receipt's signature by itself, also those that a signed checkpoint covers.

        Raises ``Invalid`` (``anchor_malformed``).
        """
        return AuditReport(**self._native.audit("" if anchor is None else _text_of(anchor), bool(deep)))

    def audit_receipt(self, receipt: Receipt | str) -> ReceiptAudit:
        """Computes the job of a receipt again, from its recorded payload and on this thread, and compares what comes
        out with the ``output_hash`` that was signed (operator). It takes what the job took; nothing is charged.

        Raises ``NotFound`` (``receipt_unknown``, ``recipe_unknown``); ``Conflict`` (``not_reproducible``: it is of no
        job, of a task or a command, of a recipe that promises no exact result, or of a job that came to nothing);
        ``Corrupt`` when what is recorded is not what was signed.
        """
        return ReceiptAudit(**self._native.audit_receipt(_id_in(receipt, "receipt")))

    def export(
        self, format: str, file: IO[str] | IO[bytes] | str | os.PathLike[str] | None = None
    ) -> Iterator[str] | None:
        """The ledger as ``csv``, ``jsonl`` or ``hledger`` (operator).

        With a ``file``, of text or bytes, it is written there piece by piece. With a path, the file there is
        replaced when all is written, and stays as it was when anything fails. Without, an iterator of its
        lines comes back; the export is complete by then, and what is large lies in a temporary file.

        Raises ``Invalid`` (``path_refused``) for a path that is one of the market's own files.
        """
        text_in(format, "format")
        if isinstance(file, (str, os.PathLike)):
            with _replacing(os.fspath(file), self._path) as opened:
                self._native.export_ledger(format, opened.write)
            return None
        if file is not None:
            if not callable(getattr(file, "write", None)):
                raise Invalid("field_type", f"takes a file or a path, not {type(file).__name__}", {"field": "file"})
            self._native.export_ledger(format, _writer(file))
            return None
        spool = tempfile.SpooledTemporaryFile(max_size=1 << 20)
        try:
            self._native.export_ledger(format, spool.write)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)

        def lines() -> Iterator[str]:
            with spool:
                for line in spool:
                    yield line.decode()

        return lines()


class Market(Session):
    """An open market, with the operator's rights: whoever holds the file may do everything in it.

    A context manager that closes it. Any thread may use it at any time, and concurrent calls share commits;
    a forked child must open its own. A call that moved money returns after the bytes are on disk.
    """

    __slots__ = ("_commands",)

    def __init__(self, engine: _native.Engine, path: str | None = None, commands: Commands | None = None) -> None:
        super().__init__(engine, engine.as_operator(), None, path)
        self._commands = commands

    def __repr__(self) -> str:
        return f"<Market {_where(self._path)}, {'closed' if self.closed else 'open'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open market cannot be pickled: send its path")

    def __enter__(self) -> Market:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the market; calls after that raise ``Unavailable`` (``closed``). Closing again does nothing.

        A call that another thread is in the midst of ends in its own time, and the file is let go with it.
        """
        self._engine.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._engine.closed

    @property
    def issuer(self) -> str:
        """Who issues this market's receipts."""
        return self._engine.issuer()

    def session(self, api_key: str | SignedRequest, *, needs_whitelist: bool = False) -> Session:
        """What the holder of an API key may do, or who signed a request, which counts once: the first signature of an
        address opens its wallet. ``needs_whitelist``: only for a wallet that may run jobs.

        Raises ``Refused`` (``unauthorized``; ``signature_invalid``, with the reason in ``details["code"]``;
        ``not_whitelisted``), ``Unavailable`` (``too_many_wallets``, ``too_many_nonces``) or ``Unsupported``
        (``not_built``: on Base, where this build lacks libsecp256k1).
        """
        if isinstance(api_key, SignedRequest):
            native = self._engine.session_of_request(*api_key._native(), bool(needs_whitelist))
        else:
            native = self._engine.session(text_in(api_key, "api_key"))
        return Session(self._engine, native, self, self._path)

    def sign_in_challenge(self, chain: str, address: str) -> SignInChallenge:
        """What the wallet of ``address`` on ``base`` or ``solana`` signs to sign in to the host at the payment terms'
        ``base_url``; nothing is kept. Raises ``Invalid`` (``field_value``) or ``Unsupported`` (no base URL is set).
        """
        return SignInChallenge(**self._engine.sign_in_challenge(text_in(chain, "/chain"), text_in(address, "/address")))

    def sign_in(self, challenge: SignInChallenge | str, signature: str) -> IssuedKey:
        """A key (``fls_``) of a day for the wallet that signed ``challenge``, which is answered once. ``signature`` is
        ``0x`` and 65 octets in hexadecimal on Base, 64 in base64 on Solana.

        Raises ``Refused`` (``challenge_invalid``, with ``unknown``, ``expired`` or ``used`` in ``details["code"]``;
        ``signature_invalid``; ``not_whitelisted``), ``Unavailable`` (``too_many_nonces``) or ``Unsupported``
        (``not_built``).
        """
        named = challenge.id if isinstance(challenge, SignInChallenge) else text_in(challenge, "challenge")
        return issued_of(self._engine.sign_in(named, text_in(signature, "signature")))

    def challenge_for_call(
        self,
        price: Amount,
        *,
        resource: str = "",
        network: str | None = None,
        key_in_authorization: bool = False,
        refused: Refused | None = None,
    ) -> PaymentChallenge:
        """What a call of ``price`` asks of whoever makes it without a key, at the path ``resource``; nothing is kept. As
        :meth:`Session.payment_challenge` is for a quote. ``refused`` is what the payment before it was refused by.

        Raises ``Invalid`` (``amount_zero``) or ``Unsupported``: no networks are set, nobody settles, or this build lacks
        libsecp256k1 (``not_built``).
        """
        code = "" if refused is None else str(refused.details.get("code", ""))
        return PaymentChallenge(
            **self._engine.payment_challenge(
                micro(price, "/price"),
                text_in(resource, "resource"),
                "" if network is None else text_in(network, "network"),
                bool(key_in_authorization),
                code,
                "" if refused is None else refused.message,
            )
        )

    def pay_for_call(self, price: Amount, payment: str, *, header: str = "PAYMENT-SIGNATURE") -> PaidCall:
        """Judges the payment that came with such a call in ``header``, has it settled, and credits the wallet of the
        payer's address, which is opened if need be. The same words again, to the byte, are the same payment, whatever
        the price is by then. Make the call with an idempotency key of the payment's own (its ``id``): so one pays for
        one call.

        Raises as :meth:`challenge_for_call`; ``Invalid`` (``payment_malformed``); ``Refused`` (``payment_invalid``, with
        x402's or MPP's code in ``details["code"]``; ``payment_insufficient``; ``wallet_not_active``); ``OutcomeUnknown``
        while the backend does not say whether it would settle: make the same call again; ``Conflict``
        (``payment_reused``); ``Unavailable`` (``too_many_wallets``, ``too_many_quotes``).
        """
        raw = self._engine.pay_for_call(micro(price, "/price"), text_in(header, "header"), text_in(payment, "payment"))
        answer = PaymentAnswer(Payment._of(raw["answer"]["payment"]), raw["answer"]["response"])
        native = raw["session"]
        return PaidCall(answer, None if native is None else Session(self._engine, native, self, self._path))

    def issue_management_key(self, payment: Payment | str) -> IssuedKey:
        """A key (``x402c_``) for the wallet of who paid for a call by MPP, shown once; where the wallet has one that is
        not revoked, that one, without its secret. Raises ``NotFound`` (``payment_unknown``: also 15 minutes after it
        was paid) or ``Refused`` (``not_whitelisted``)."""
        named = payment.id if isinstance(payment, Payment) else text_in(payment, "payment")
        return issued_of(self._engine.issue_management_key(named))

    def issue_operator_key(self, label: str = "") -> IssuedKey:
        """Mints an operator's API key, for the wire and for :meth:`session`. Shown this once."""
        return issued_of(self._engine.issue_operator_key(text_in(label, "/label")))

    def public_keys(self) -> dict[str, Any]:
        """The signing keys, old and new, as a JSON Web Key Set (RFC 7517): what verifies the receipts."""
        keys: dict[str, Any] = json.loads(self._engine.public_keys())
        return keys

    def rotate_signing_key(self) -> str:
        """Adds a signing key that signs from now on; old receipts still verify. Gives the new key's id."""
        return self._engine.rotate_signing_key()

    def verify(self, receipt: AnyReceipt) -> Verdict:
        """Judges a receipt (a :class:`Receipt`, the JWS text, or the document around it) by this market's keys."""
        return Verdict(**self._engine.verify(_text_of(receipt)))

    def register_task(self, name: str, function: Callable[..., Any]) -> None:
        """Makes ``function`` what jobs with ``task=name`` do, in this process; a name that is taken is replaced.

        It is called with a task's payload, and with its :class:`TaskCall` too where it takes two arguments, on the
        threads of workers or of who waits for a job. What it returns is the task's result: None, bool, int, float,
        str, list or dict. What it raises is the task's error. It may call the market. The market keeps it, and what
        it refers to, until it is closed.

        Raises ``Invalid`` (``field_value``): a name is 1 to 128 bytes of 0x21-0x7E.
        """
        self._engine.register_task(text_in(name, "/name"), task_function(function))

    def register_recipe(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        summary: str = "",
        payload_schema: Mapping[str, Any] | bool | None = None,
        operations: Sequence[str] = (),
        artifact_inputs: Sequence[str] = (),
        result_class: str = "open",
        check: Callable[[Any], object] | None = None,
    ) -> None:
        """Makes ``function`` a recipe of this process: work that anybody can name, with a payload that is judged
        before money is held; a name that is taken is replaced. It is called as :meth:`register_task` says.

        ``payload_schema`` is JSON Schema 2020-12, of which ``type``, ``enum``, ``const``, ``properties``,
        ``required``, ``additionalProperties``, ``items`` and the bounds of numbers, texts, lists and members judge;
        other keywords that would judge are refused. ``check`` looks at what a schema cannot say, and raises
        ``ValueError`` with what is wrong. ``result_class`` is what is promised of a payload's result: ``exact`` (the
        same bytes everywhere, so :meth:`audit_receipt` computes a receipt's job again), ``bounded`` or ``open``.
        ``artifact_inputs`` names the members of a payload that are ids of artifacts.

        Raises ``Invalid`` (``field_value``, ``field_type``, ``field_unknown``).
        """
        if check is not None and not callable(check):
            raise Invalid("field_type", f"takes a function, not {type(check).__name__}", {"field": "/check"})
        self._engine.register_recipe(
            text_in(name, "/name"),
            task_function(function),
            text_in(summary, "/summary"),
            payload_schema,
            [text_in(one, "/operations") for one in operations],
            [text_in(one, "/artifact_inputs") for one in artifact_inputs],
            text_in(result_class, "/result_class"),
            check,
        )

    def task(self, function: _TaskT) -> _TaskT:
        """:meth:`register_task` as a decorator, by the function's own name.

        >>> @market.task
        ... def square(payload):
        ...     return payload["x"] ** 2
        """
        self.register_task(function.__name__, function)
        return function

    def worker(self, **options: Any) -> Worker:
        """A :class:`Worker` of this market, not yet started: ``with market.worker(threads=4): …``."""
        return Worker(self, **options)

    def set_settlement(self, settlement: Settlement | SimulatedTokens | None) -> None:
        """Has ``settlement`` settle payments from now on, in place of who did; None: none is taken. Payments under way
        end with the one that they began with. See :class:`Settlement`. Raises ``Invalid`` (``options_invalid``).
        """
        self._engine.set_settlement(settlement_in(settlement))

    def deliver_webhooks(
        self,
        transport: Transport,
        *,
        most: int = 64,
        resolve: Callable[[str], list[str]] | None = None,
    ) -> WebhookRound:
        """Sends messages of jobs' ends that are due, ``most`` at most, with ``transport``: see :mod:`calyx.webhooks`.

        ``resolve`` gives all addresses of a name, without it the system does. Call this every few seconds, from as
        many threads and processes as there are: no two send one message at a time. Raises ``Unsupported`` for a market
        that was opened without ``callbacks``.
        """
        return _deliver(self._engine, transport, most, resolve)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies the market file. The keys beside it are not copied: keep those apart. Nor are tarballs and artifacts:
        copy the folder ``…-artifacts`` after it."""
        self._engine.backup(os.fsencode(path))

    def stats(self) -> Stats:
        """Counters since it was opened here."""
        return Stats(**self._engine.stats())

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        remote_is_local: bool = False,
    ) -> Response:
        """Answers a request of the REST contract, in process.

        ``target`` is the path with its query; ``body`` is the text, or what becomes its JSON (``Decimal``
        amounts as decimal strings). A refusal is an answer: nothing of it is raised. ``remote_is_local`` is the
        host's word that it comes from this machine, by the connection's address and never by a header:
        ``GET /metrics`` then needs no key.

        >>> market.request("GET", "/v1/wallets", {"X-API-Key": key}).json()
        """
        return Response(
            *_answer(
                self._engine.request(
                    text_in(method, "method"),
                    text_in(target, "target"),
                    [(text_in(name, "headers"), text_in(value, "headers")) for name, value in (headers or {}).items()],
                    _body_in(body),
                    bool(remote_is_local),
                )
            )
        )


def open(
    path: str | os.PathLike[str] | None = None,
    *,
    read_only: bool = False,
    clock: Callable[[], int] | None = None,
    issuer: str | None = None,
    fee_basis_points: int = 1500,
    busy_timeout_ms: int = 5000,
    random: Callable[[int], bytes] | None = None,
    sign: Callable[[str, bytes], bytes] | None = None,
    sign_public_key: bytes | None = None,
    pay_out: Callable[[Payout], str | None] | None = None,
    callbacks: CallbackRules | None = None,
    commands: Commands | None = None,
    settlement: Settlement | SimulatedTokens | None = None,
    signing_threads: int = 0,
) -> Market:
    """Opens the market file at ``path``, and creates it when there is none.

    Without a path the market is in memory and ends with the process. A file of an older schema goes forward, after a copy
    of it was made beside it (``<path>-schema<N>``).

    ``issuer`` (who signs receipts) and ``fee_basis_points`` (the platform's fee in hundredths of a percent) are
    fixed when a market is created. ``clock`` gives microseconds since 1970-01-01 UTC as an ``int`` and is asked at
    the beginning of every call, which raises what it raises; time never runs back in a market, so after one call
    under a clock far ahead it stands still until the clock has come that far. ``random`` gives that many random bytes;
    ``sign(key_id, message)`` signs with the Ed25519 key whose public half is ``sign_public_key``, instead of the
    key file; ``pay_out`` is handed each payout once its debit is on disk and answers ``confirmed``, ``failed`` or
    None for not yet. It may be handed the same payout again, also on two threads at once, as long as no answer of
    its stands in the file: it goes by ``payout.id`` and pays once. These three may be asked in any thread's call
    for another's sake, and ``random`` and ``sign`` must not call calyx; so what they raise goes to
    ``sys.unraisablehook``, the call that needed them fails with nothing written, and a payout stays pending. An
    interrupt among it (``KeyboardInterrupt``, ``SystemExit``) is raised by the call that was under way on that
    thread, once what it did is recorded. ``callbacks`` says which URLs a job may name as its ``callback_url``: without
    it none. ``settlement`` settles payments, see :class:`Settlement`: without it none are taken until
    :meth:`Market.set_settlement`. ``commands`` says how jobs' commands run, in workers and on the thread that waits for a job: without it
    none do. ``signing_threads``, 0 to 64, is how many threads of its own the market keeps to sign receipts beside its
    callers' threads: worth a core or two where few callers settle much at once, as in :meth:`Session.bulk`. ``sign`` runs on
    them, too.

    Raises ``Invalid`` (``options_invalid``, ``path_refused``), ``NotFound`` (``file_missing``, read-only),
    ``Unavailable`` (``keys_missing``, ``store_busy``, ``disk_full``, ``io_error``), ``Corrupt`` (``keys_foreign``,
    ``not_a_market``, ``corrupt``) or ``Unsupported`` (``file_newer``).
    """
    if path is None:
        where = b""
    else:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise Invalid("options_invalid", f"path takes text or a path, not {type(path).__name__}")
        where = os.fsencode(path)
        if not where:
            raise Invalid("path_refused", "the path is empty; a market in memory is open(None)")
    for name, function in (("clock", clock), ("random", random), ("sign", sign), ("pay_out", pay_out)):
        if function is not None and not callable(function):
            raise Invalid("options_invalid", f"{name} takes a function, not {type(function).__name__}")
    if sign_public_key is not None and not isinstance(sign_public_key, bytes):
        raise Invalid("options_invalid", f"sign_public_key takes bytes, not {type(sign_public_key).__name__}")
    timeout = whole_in(busy_timeout_ms, "busy_timeout_ms")
    if timeout < 0:
        raise Invalid("options_invalid", "busy_timeout_ms is negative")
    signers = whole_in(signing_threads, "signing_threads", 2**31 - 1)
    if signers < 0:
        raise Invalid("options_invalid", "signing_threads is negative")

    hand_out = None
    if pay_out is not None:
        told = pay_out  # as it is now, for the type checker too

        def hand_out(raw: dict[str, Any]) -> str | None:
            return told(Payout(**raw))

    return Market(
        _native.open(
            where,
            bool(read_only),
            timeout,
            "" if issuer is None else text_in(issuer, "issuer"),
            whole_in(fee_basis_points, "fee_basis_points", 2**31 - 1),
            clock,
            random,
            sign,
            sign_public_key,
            hand_out,
            None if callbacks is None else callbacks._native(),
            None if commands is None else commands._native(),
            settlement_in(settlement),
            signers,
        ),
        None if path is None else os.path.realpath(os.fsdecode(where)),
        commands,
    )


def _where(path: str | None) -> str:
    return "in memory" if path is None else repr(path)


def _is_of_market(path: str, market: str) -> bool:
    """Whether ``path`` is the market's file or one beside it, by any name, whether it is there or not."""
    real = os.path.realpath(path)
    for suffix in ("", "-wal", "-shm", "-journal", "-gate", "-keys"):
        own = market + suffix
        if real == os.path.realpath(own):
            return True
        with suppress(OSError):  # one of them is not there
            if os.path.samefile(real, own):
                return True
        # The same name in the same folder, by whatever way one comes there.
        with suppress(OSError):
            folders = os.path.dirname(real), os.path.dirname(own)
            if os.path.basename(real) == os.path.basename(own) and os.path.samefile(*folders):
                return True
    return False


@contextmanager
def _replacing(path: str, market: str | None) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of ``path`` when all is well; else nothing is left of it."""
    if market is not None and _is_of_market(path, market):
        raise Invalid("path_refused", f"{path!r} is a file of the market itself", {"field": "path", "path": path})
    target = os.path.realpath(path)  # a link stays one
    mode = None
    if os.path.exists(target):
        mode = os.stat(target).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):  # a terminal or a pipe has no place to be taken
            with io.open(target, "wb") as file:
                yield file
            return
    beside = f"{target}.{secrets.token_hex(8)}.part"
    try:
        with io.open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise


_Named = Union[Approval, ApiKey, IssuedKey, Payout, WaitlistEntry, Receipt, str]


def _id_in(thing: _Named, name: str) -> str:
    return thing if isinstance(thing, str) and text_in(thing, name) else text_in(getattr(thing, "id", thing), name)


def _answer(
    raw: tuple[int, list[tuple[str, str]], bytes, _native.BodyStream | None],
) -> tuple[int, dict[str, str], bytes, _native.BodyStream | None]:
    status, headers, body, stream = raw
    return status, dict(headers), body, stream


def _body_in(body: bytes | str | Mapping[str, Any] | Sequence[Any] | None) -> bytes:
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, str):
        return text_in(body, "body").encode()
    if isinstance(body, Mapping):
        return _json_text(body, "body").encode()
    return _json_text({"": list(body)}, "body")[len('{"": ') : -1].encode()


def _writer(file: IO[Any]) -> Callable[[bytes], object]:
    """What writes pieces of UTF-8 to ``file``, whether that takes text or bytes."""
    takes_bytes = isinstance(file, (io.RawIOBase, io.BufferedIOBase)) or (
        not isinstance(file, io.TextIOBase) and "b" in str(getattr(file, "mode", ""))
    )
    if takes_bytes:
        return file.write
    decode = codecs.getincrementaldecoder("utf-8")().decode  # a piece may end inside a character

    def write(piece: bytes) -> None:
        file.write(decode(piece))

    return write


#: What of a submit decides its result: not who pays, how much, where it runs and whom it tells.
_TERMS_OF_NO_RESULT = frozenset(
    ("wallet_id", "max_cost", "max_budget", "requirements", "callback_url", "depends_on", "priority", "tags",
     "deadline_s", "queue_ttl_s", "retry_of", "resume_from")
)  # fmt: skip


def recompute_receipt(receipt: Receipt, job: Mapping[str, Any]) -> ReceiptAudit:
    """Computes a receipt's job again with no market at hand, from what was submitted: anybody who has both can.

    ``job`` is the body of the submit, such as ``{"payload": {…}}``. The recipe is one of those that calyx brings
    along, and the payload names no artifacts. It takes what the job took, on this thread. Whether the receipt is
    good is another question: :attr:`Receipt.verified`.

    Raises ``Conflict`` (``not_reproducible``) for a receipt of no recipe; ``NotFound`` (``recipe_unknown``);
    ``Invalid`` (``content_mismatch`` where the receipt was signed over another job's input; as ``Market.submit``).
    """
    work = receipt.payload.get("work")
    if not isinstance(work, dict) or work.get("kind") != "recipe":
        raise Conflict("not_reproducible", "the receipt is of no recipe", {"why": "work"})
    with open() as market:
        promised = next((one.result_class for one in market.recipes() if one.name == work.get("name")), "exact")
        if promised != "exact":
            raise Conflict("not_reproducible", f"the recipe {work['name']} is {promised}", {"why": "class"})
        terms = {name: value for name, value in job.items() if name not in _TERMS_OF_NO_RESULT}
        submitted = market.submit(recipe=work.get("name"), **terms)
        state = submitted.state()
        if state.input_hash != work.get("input_hash"):
            raise Invalid(
                "content_mismatch",
                f"the job's input is {state.input_hash}, the receipt was signed over {work.get('input_hash')}",
                {"input_hash": state.input_hash},
            )
        with suppress(JobFailed):  # then it comes to nothing
            submitted.wait()
        state = submitted.state()
        recomputed = state.output_hash or ""
        return ReceiptAudit(
            receipt_id=receipt.id,
            job_id=str(receipt.payload.get("job_id", "")),
            reproduced=recomputed == receipt.output_hash,
            tasks=state.progress.completed,
            input_hash=state.input_hash,
            output_hash=receipt.output_hash,
            recomputed_hash=recomputed,
            first_difference=None,
            error=state.error,
        )
