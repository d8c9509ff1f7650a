"""Wallets, what can be asked of them, and what they answer.

Every answer is a frozen record; amounts in them are :class:`calyx.Flops`, instants are aware ``datetime`` in UTC.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Union

from . import _native
from .errors import Invalid, NotFound, Refused
from .money import Amount, Flops, micro
from .receipt import Receipt

if TYPE_CHECKING:
    from .jobs import Job, JobEstimate, JobState
    from .market import Market, Session
    from .projects import Project

__all__ = [
    "ApiKey",
    "Approval",
    "Earn",
    "Earned",
    "Entry",
    "Escrow",
    "IssuedKey",
    "KEEP",
    "Moved",
    "Operation",
    "Payout",
    "Release",
    "Released",
    "Spend",
    "Spent",
    "TopUp",
    "Transfer",
    "Wallet",
    "WalletState",
]

_T = TypeVar("_T")


# What comes in is checked for its type here, so that a slip is told in the words of calyx.


def text_in(value: object, name: str) -> str:
    """``value``, which must be text that has a UTF-8 spelling; ``name`` is what an error names."""
    if not isinstance(value, str):
        raise Invalid("field_type", f"takes text, not {type(value).__name__}", {"field": name})
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid("not_utf8", "has a surrogate, which UTF-8 cannot spell", {"field": name}) from None
    return str(value)


def maybe_text_in(value: object, name: str) -> str | None:
    return None if value is None else text_in(value, name)


def key_in(value: object, name: str) -> str:
    """A reference or idempotency key. None is none; an empty one is a slip that would leave a call unprotected."""
    if value is None:
        return ""
    key = text_in(value, name)
    if not key:
        raise Invalid("field_value", "has 0 bytes, takes 1 to 128 of 0x21-0x7E", {"field": name})
    return key


def whole_in(value: object, name: str, most: int = 2**63 - 1) -> int:
    """``value``, which must be an integer that the engine can hold."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid("field_type", f"takes an integer, not {type(value).__name__}", {"field": name})
    if not -most <= value <= most:
        raise Invalid("field_value", f"is outside -{most} to {most}", {"field": name})
    return int(value)


def maybe_micro_in(value: Amount | None, name: str) -> int | None:
    return None if value is None else micro(value, name)


def gpu_types_in(value: object, name: str) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise Invalid("field_type", f"takes a list of names, not {type(value).__name__}", {"field": name})
    return [text_in(one, f"{name}/{at}") for at, one in enumerate(value)]


def _seconds_in(value: int | timedelta | None, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        seconds, rest = divmod(value, timedelta(seconds=1))
        if rest:
            raise Invalid("field_value", "is not whole seconds", {"field": name})
        value = seconds
    return whole_in(value, name)


def wallet_id_in(wallet: Wallet | str, name: str = "/wallet_id") -> str:
    return wallet.id if isinstance(wallet, Wallet) else text_in(wallet, name)


def pages(
    fetch: Callable[[str, int], tuple[list[Any], str]], make: Callable[[Any], _T], limit: int | None
) -> Iterator[_T]:
    """The items of a list, a page at a time as they are asked for; the first page at once, with its errors."""
    page_max = 1000
    left = None if limit is None else whole_in(limit, "limit")
    if left is not None and left < 1:
        raise Invalid("field_value", f"is {left}, takes 1 or more", {"field": "limit"})
    items, after = fetch("", page_max if left is None else min(left, page_max))

    def walk(items: list[Any], after: str, left: int | None) -> Iterator[_T]:
        while True:
            for item in items:
                yield make(item)
            if left is not None:
                left -= len(items)
            if not after or left == 0:
                return
            items, after = fetch(after, page_max if left is None else min(left, page_max))

    return walk(items, after, left)


# What comes out.


@dataclass(frozen=True)
class WalletState:
    """A wallet as it stood at one instant."""

    id: str
    #: ``human`` or ``agent``.
    owner_type: str
    #: Your own name for the owner.
    owner_id: str
    #: The human wallet above an agent's.
    parent_id: str | None
    #: ``active``, ``frozen`` or ``closed``.
    status: str
    created_at: datetime
    #: The sum of the wallet's ledger entries.
    balance: Flops
    #: What it has locked in open escrows.
    held: Flops
    #: The part of ``held`` whose deadline has passed: the next write brings it back.
    expired_pending: Flops
    #: Ledger transactions that touched this wallet.
    txn_count: int
    #: Most that one job may lock.
    spend_cap_per_job: Flops | None
    #: Most that may go out in a rolling 60 minutes.
    spend_cap_per_hour: Flops | None
    #: Above it a human must approve; at it none need.
    approval_threshold: Flops | None
    #: The GPUs that may be rented; None is all of them, an empty list none.
    allowed_gpu_types: list[str] | None


def state_of(raw: dict[str, Any]) -> WalletState:
    fields = dict(raw)
    policy = fields.pop("policy")
    return WalletState(**fields, **policy)


@dataclass(frozen=True)
class Moved:
    """What a top-up or transfer moved. ``replayed``: this is the first answer to the same call, again."""

    txn_id: str
    amount: Flops
    #: What the wallet that was topped up or paid from holds after it.
    new_balance: Flops
    replayed: bool


@dataclass(frozen=True)
class Spent:
    """An escrow that was locked."""

    txn_id: str
    job_id: str
    amount_locked: Flops
    new_balance: Flops
    replayed: bool


@dataclass(frozen=True)
class Earned:
    """A job that was settled."""

    txn_id: str
    gross_amount: Flops
    platform_fee: Flops
    net_payout: Flops
    #: The host's.
    new_balance: Flops
    receipt_id: str
    replayed: bool

    @classmethod
    def _of(cls, raw: dict[str, Any], session: Session) -> Earned:
        earned = cls(**raw)
        object.__setattr__(earned, "_session", session)  # no field: what is copied or sent elsewhere leaves it behind
        return earned

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    @property
    def receipt(self) -> Receipt:
        """The signed receipt, read from the market.

        Raises ``Invalid`` (``handle_invalid``) on a copy of the answer, which has no market at hand.
        """
        session: Session | None = self.__dict__.get("_session")
        if session is None:
            raise Invalid(
                "handle_invalid", f"this is a copy without its market: ask market.receipt('{self.receipt_id}')"
            )
        return session.receipt(self.receipt_id)


@dataclass(frozen=True)
class Released:
    """An escrow that was given back; ``burned`` when its ``job_id`` was never seen, and now never can be."""

    txn_id: str
    job_id: str
    amount: Flops
    new_balance: Flops
    burned: bool
    replayed: bool


@dataclass(frozen=True)
class Entry:
    """One leg of one ledger transaction, as the wallet's statement shows it. Positive credits the wallet."""

    txn_id: str
    #: The transaction's place in the market's ledger.
    seq: int
    #: ``topup``, ``transfer``, ``spend``, ``earn``, ``release``, ``expire``, ``grant``, ``payout``, ``payout_failed``.
    kind: str
    amount: Flops
    job_id: str | None
    reference: str | None
    at: datetime


@dataclass(frozen=True)
class Escrow:
    """What a payer locked for a job, and how the lock ended."""

    job_id: str
    payer_id: str
    host_id: str | None
    amount: Flops
    gpu_type: str | None
    #: ``open``, ``settled``, ``released``, ``expired`` or ``burned``.
    state: str
    locked_by: str
    locked_at: datetime
    expires_at: datetime | None
    ended_by: str | None
    receipt_id: str | None


@dataclass(frozen=True)
class Approval:
    """A call above a threshold that waits for a human; it serves that very call, once."""

    id: str
    wallet_id: str
    #: ``pending``, ``approved``, ``denied``, ``used`` or ``expired``.
    status: str
    #: ``spend``, ``transfer`` or ``payout``.
    operation: str
    amount: Flops
    job_id: str | None
    gpu_type: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    #: None for an operator's.
    wallet_id: str | None
    label: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None
    #: How it was issued: ``api``, ``session``, ``compute`` or ``jobs``.
    kind: str
    #: From then on it is as good as revoked. None: never.
    expires_at: datetime | None


@dataclass(frozen=True)
class IssuedKey:
    """A key that was issued just now. ``api_key`` is shown this once; None when ``replayed``."""

    key: ApiKey
    api_key: str | None = field(repr=False)
    replayed: bool

    @property
    def id(self) -> str:
        """The key's id, by which it is revoked."""
        return self.key.id


def issued_of(raw: dict[str, Any]) -> IssuedKey:
    return IssuedKey(ApiKey(**raw["key"]), raw["api_key"], raw["replayed"])


@dataclass(frozen=True)
class Payout:
    """Credits on their way out of the market: debited, and paid outside by the host."""

    id: str
    txn_id: str
    wallet_id: str
    amount: Flops
    destination: str
    #: ``pending``, ``confirmed`` or ``failed``.
    status: str
    new_balance: Flops
    created_at: datetime
    replayed: bool


@dataclass(frozen=True)
class Narrowing:
    """What a session tightens; None is no rule."""

    spend_cap_per_job: Flops | None = None
    spend_cap_per_hour: Flops | None = None
    approval_threshold: Flops | None = None
    allowed_gpu_types: list[str] | None = None

    def and_also(self, more: Narrowing) -> Narrowing:
        """Both, which is what the engine makes of a session narrowed twice."""
        return Narrowing(
            _tighter(self.spend_cap_per_job, more.spend_cap_per_job),
            _tighter(self.spend_cap_per_hour, more.spend_cap_per_hour),
            _tighter(self.approval_threshold, more.approval_threshold),
            _both(self.allowed_gpu_types, more.allowed_gpu_types),
        )


def _tighter(one: Flops | None, other: Flops | None) -> Flops | None:
    return other if one is None else one if other is None else min(one, other)


def _both(one: list[str] | None, other: list[str] | None) -> list[str] | None:
    return other if one is None else one if other is None else [gpu for gpu in other if gpu in one]


# What many of can be done in one commit: see Session.bulk.


@dataclass(frozen=True)
class Spend:
    """:meth:`Wallet.spend`, to be done among others."""

    wallet: Wallet | str
    job_id: str
    amount: Amount
    gpu_type: str | None = None
    host: Wallet | str | None = None
    expires_in: int | timedelta | None = None

    def _arguments(self) -> tuple[Any, ...]:
        return (
            wallet_id_in(self.wallet),
            text_in(self.job_id, "/job_id"),
            micro(self.amount),
            maybe_text_in(self.gpu_type, "/gpu_type"),
            None if self.host is None else wallet_id_in(self.host, "/host_wallet_id"),
            _seconds_in(self.expires_in, "/expires_in_s"),
        )


@dataclass(frozen=True)
class Earn:
    """:meth:`Wallet.earn`, to be done among others."""

    host: Wallet | str
    job_id: str
    gross_amount: Amount
    output_hash: str
    gpu_model: str
    duration_seconds: int
    payer: Wallet | str | None = None

    def _arguments(self) -> tuple[Any, ...]:
        return (
            wallet_id_in(self.host),
            text_in(self.job_id, "/job_id"),
            micro(self.gross_amount, "/gross_amount"),
            text_in(self.output_hash, "/output_hash"),
            text_in(self.gpu_model, "/gpu_model"),
            whole_in(self.duration_seconds, "/duration_seconds"),
            None if self.payer is None else wallet_id_in(self.payer, "/payer_wallet_id"),
        )


@dataclass(frozen=True)
class Release:
    """:meth:`Wallet.release`, to be done among others."""

    wallet: Wallet | str
    job_id: str

    def _arguments(self) -> tuple[Any, ...]:
        return (wallet_id_in(self.wallet), text_in(self.job_id, "/job_id"))


@dataclass(frozen=True)
class TopUp:
    """:meth:`Session.topup`, to be done among others."""

    wallet: Wallet | str
    amount: Amount
    reference: str | None = None
    idempotency_key: str | None = None

    def _arguments(self) -> tuple[Any, ...]:
        return (
            wallet_id_in(self.wallet),
            micro(self.amount),
            key_in(self.reference, "/reference"),
            key_in(self.idempotency_key, "Idempotency-Key"),
        )


@dataclass(frozen=True)
class Transfer:
    """:meth:`Wallet.transfer`, to be done among others."""

    source: Wallet | str
    to: Wallet | str
    amount: Amount
    reference: str | None = None
    idempotency_key: str | None = None

    def _arguments(self) -> tuple[Any, ...]:
        return (
            wallet_id_in(self.source),
            wallet_id_in(self.to, "/to_wallet_id"),
            micro(self.amount),
            key_in(self.reference, "/reference"),
            key_in(self.idempotency_key, "Idempotency-Key"),
        )


#: What :meth:`Session.bulk` does many of.
Operation = Union[Spend, Earn, Release, TopUp, Transfer]


class _Keep:
    __slots__ = ()

    def __repr__(self) -> str:
        return "KEEP"

    def __reduce__(self) -> str:  # by its name, so that a copy of it is itself
        return "KEEP"


#: In :meth:`Wallet.set_policy`: leave this rule as it is. (None clears it.)
KEEP: Any = _Keep()


class Wallet:
    """A wallet, as far as the session that it came from may use it.

    One from a market (``market.create_wallet``, ``market.wallet``) acts with the operator's rights; one made
    here, as in the SDK's documentation, with those of its key::

        wallet = calyx.Wallet(api_key="cyx_live_…", spend_cap_per_job=5.00, allowed_gpus=["RTX 4090", "A100"])

    ``market`` is an open :class:`Market`, the path of a market file, or None for the file that the environment
    variable ``CALYX_MARKET`` names; a file that is not there is ``NotFound`` (``file_missing``), and is not made.
    The other arguments can only tighten what the wallet's policy allows, and bind this object alone: the engine
    judges by them as by the policy itself (see :meth:`Session.narrowed`).

    The properties are live: each asks the market. :meth:`state` gives all of them as of one instant.
    Any thread may use a wallet at any time.
    """

    __slots__ = ("__weakref__", "_session", "api_key", "id", "replayed")

    #: ``wlt_…``
    id: str
    #: On a wallet just created: its key, shown this once. (None when the creation was a replay.)
    api_key: str | None
    #: On a wallet just created: the first answer of the same call, again.
    replayed: bool

    def __init__(
        self,
        api_key: str,
        *,
        spend_cap_per_job: Amount | None = None,
        allowed_gpus: Sequence[str] | None = None,
        market: Market | str | os.PathLike[str] | None = None,
    ) -> None:
        cap = None if spend_cap_per_job is None else Flops.from_micro(micro(spend_cap_per_job, "spend_cap_per_job"))
        gpus = gpu_types_in(allowed_gpus, "allowed_gpus")
        session = _market_of(market).session(api_key)
        if cap is not None or gpus is not None:
            session = session.narrowed(spend_cap_per_job=cap, allowed_gpu_types=gpus)
        wallet_id = session.wallet_id
        if wallet_id is None:
            raise Invalid("field_value", "is an operator's key, which has no wallet", {"field": "api_key"})
        self._begin(session, wallet_id)
        self.api_key = api_key

    def _begin(self, session: Session, wallet_id: str) -> None:
        self.id = wallet_id
        self.api_key = None
        self.replayed = False
        self._session = session

    @classmethod
    def _of(cls, session: Session, wallet_id: str) -> Wallet:
        wallet = cls.__new__(cls)
        wallet._begin(session, wallet_id)
        return wallet

    # What it is.

    def state(self) -> WalletState:
        """All of the wallet as it stands now; the policy is the market's, without what this session tightens."""
        return state_of(self._session._native.wallet(self.id))

    @property
    def balance(self) -> Flops:
        """The sum of the wallet's ledger entries, now."""
        return self.state().balance

    @property
    def held(self) -> Flops:
        """What the wallet has locked in open escrows."""
        return self.state().held

    @property
    def owner_type(self) -> str:
        """``human`` or ``agent``."""
        return self.state().owner_type

    @property
    def owner_id(self) -> str:
        """Your own name for the owner."""
        return self.state().owner_id

    @property
    def parent_id(self) -> str | None:
        """The id of the human wallet above an agent's."""
        return self.state().parent_id

    @property
    def status(self) -> str:
        """``active``, ``frozen`` or ``closed``."""
        return self.state().status

    @property
    def created_at(self) -> datetime:
        """When it was created."""
        return self.state().created_at

    @property
    def txn_count(self) -> int:
        """Ledger transactions that touched this wallet."""
        return self.state().txn_count

    @property
    def spend_cap_per_job(self) -> Flops | None:
        """Most that one job may lock: the market's rule or this session's, whichever is tighter."""
        return _tighter(self.state().spend_cap_per_job, self._session._narrowing.spend_cap_per_job)

    @property
    def spend_cap_per_hour(self) -> Flops | None:
        """Most that may go out in a rolling 60 minutes, by the market's rule or this session's."""
        return _tighter(self.state().spend_cap_per_hour, self._session._narrowing.spend_cap_per_hour)

    @property
    def approval_threshold(self) -> Flops | None:
        """Above it a human must approve, by the market's rule or this session's; at it none need."""
        return _tighter(self.state().approval_threshold, self._session._narrowing.approval_threshold)

    @property
    def allowed_gpu_types(self) -> list[str] | None:
        """The GPUs that may be rented by the market's rule and this session's; None is all, an empty list none."""
        return _both(self.state().allowed_gpu_types, self._session._narrowing.allowed_gpu_types)

    # Money.

    def spend(
        self,
        job_id: str,
        amount: Amount,
        gpu_type: str | None = None,
        host: Wallet | str | None = None,
        expires_in: int | timedelta | None = None,
    ) -> Spent:
        """Locks ``amount`` in escrow for ``job_id``, before the job runs.

        ``job_id`` is the key: the same spend again gives the first answer and locks nothing. ``host`` is who
        alone may earn it; without one an operator settles. ``expires_in`` gives the lock a deadline, in
        seconds.

        Raises, in the order checked: ``Invalid``; ``Conflict`` (``job_id_reused``, ``job_burned``);
        ``Refused`` (``wallet_not_active``, ``gpu_not_allowed``, ``spend_cap_per_job``, ``spend_cap_per_hour``,
        ``approval_required`` with ``details["approval_id"]``, ``insufficient_balance``).
        """
        arguments = Spend(self, job_id, amount, gpu_type, host, expires_in)._arguments()
        return Spent(**self._session._native.spend(*arguments))

    def earn(
        self,
        job_id: str,
        gross_amount: Amount,
        output_hash: str,
        gpu_model: str,
        duration_seconds: int,
        payer: Wallet | str | None = None,
    ) -> Earned:
        """Settles ``job_id`` with this wallet as its host.

        In one transaction: the fee to the platform, the rest of ``gross_amount`` to this wallet, what is left
        of the lock back to the payer, and a signed receipt (``.receipt`` of the answer). ``output_hash`` is
        the SHA-256 of the job's output, 64 hex digits with ``sha256:`` before them or not. ``payer`` is needed
        when two payers used the same ``job_id``.

        Raises, in the order checked: ``Invalid``; ``NotFound`` (``job_unknown``); ``Refused``
        (``not_the_host``); ``Conflict`` (``job_ambiguous``, ``already_settled``, ``escrow_released``,
        ``escrow_expired``); ``Invalid`` (``gross_above_locked``); ``Refused`` (``wallet_not_active``).
        """
        arguments = Earn(self, job_id, gross_amount, output_hash, gpu_model, duration_seconds, payer)._arguments()
        return Earned._of(self._session._native.earn(*arguments), self._session)

    def release(self, job_id: str) -> Released:
        """Gives back the whole lock of ``job_id``; one never seen is burned, so that no late spend can use it.

        Raises ``Conflict`` (``already_settled``, ``escrow_expired``).
        """
        return Released(**self._session._native.release(*Release(self, job_id)._arguments()))

    def transfer(
        self,
        to: Wallet | str,
        amount: Amount,
        *,
        reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Moves credits to another wallet, free. With an agent's key this passes the rules of a spend.

        With an ``idempotency_key`` the same call again moves nothing and gives the first answer.

        Raises ``Refused`` (``wallet_not_active``, ``spend_cap_per_job``, ``spend_cap_per_hour``,
        ``approval_required``, ``insufficient_balance``) or ``Conflict`` (``key_reused``).
        """
        arguments = Transfer(self, to, amount, reference, idempotency_key)._arguments()
        return Moved(**self._session._native.transfer(*arguments))

    def fund(
        self,
        agent: Wallet | str,
        amount: Amount,
        *,
        reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Allocates credits to an agent's wallet. A :meth:`transfer` by the name that the documents give it."""
        return self.transfer(agent, amount, reference=reference, idempotency_key=idempotency_key)

    def payout(self, amount: Amount, destination: str, *, idempotency_key: str | None = None) -> Payout:
        """Debits the wallet at once; the market's host pays ``destination`` outside and says how it went.

        Raises as :meth:`transfer`.
        """
        asked = micro(amount)
        return Payout(
            **self._session._native.request_payout(
                self.id,
                asked,
                text_in(destination, "/destination"),
                key_in(idempotency_key, "Idempotency-Key"),
            )
        )

    # Jobs.

    def submit(
        self,
        *,
        image: str | None = None,
        command: str | Sequence[str] | None = None,
        gpu_type: str | None = None,
        max_budget: Amount | None = None,
        task: str | None = None,
        recipe: str | None = None,
        payload: Any = None,
        idempotency_key: str | None = None,
        **members: Any,
    ) -> Job:
        """Takes in a job that this wallet pays for, and locks its budget in escrow. See :meth:`Session.submit`.

        >>> job = wallet.submit(task="square", payload={"x": 3}, max_budget=4.00)
        >>> receipt = job.wait()
        """
        if members.get("wallet", self.id) not in (self.id, self):
            raise Refused("not_your_wallet", "a wallet's job is paid by that wallet", {"field": "wallet"})
        members["wallet"] = self
        return self._session.submit(
            image=image,
            command=command,
            gpu_type=gpu_type,
            max_budget=max_budget,
            task=task,
            recipe=recipe,
            payload=payload,
            idempotency_key=idempotency_key,
            **members,
        )

    def estimate(self, **members: Any) -> JobEstimate:
        """What :meth:`submit` of the same would hold, with nothing written."""
        return self._session.estimate(**{**members, "wallet": self})

    def jobs(self, limit: int | None = None) -> Iterator[JobState]:
        """The jobs that this wallet pays for, the youngest first, as they stand."""
        left = limit
        for state in self._session.jobs():
            if left is not None and left <= 0:
                return
            if state.wallet_id == self.id:
                left = None if left is None else left - 1
                yield state

    # Projects.

    def create_project(self, name: str, *, description: str = "", remote_dir: str = "") -> Project:
        """A project of this wallet, for the jobs that it pays for. See :meth:`Session.create_project`."""
        return self._session.create_project(name, description=description, remote_dir=remote_dir, wallet=self)

    def project(self, name: str) -> Project:
        """This wallet's project of that name. Raises ``NotFound`` (``project_unknown``)."""
        return self._session.project(name, wallet=self)

    def projects(self, limit: int | None = None) -> Iterator[Project]:
        """This wallet's projects, the oldest first."""
        return self._session.projects(limit, wallet=self)

    # Its books. Each is an iterator that reads on as it is walked; ``limit`` ends it early.

    def entries(self, limit: int | None = None) -> Iterator[Entry]:
        """The wallet's statement, oldest first."""
        native = self._session._native
        return pages(lambda after, size: native.entries(self.id, after, size), lambda raw: Entry(**raw), limit)

    def escrows(self, limit: int | None = None) -> Iterator[Escrow]:
        """What the wallet locked, oldest first."""
        native = self._session._native
        return pages(lambda after, size: native.escrows(self.id, after, size), lambda raw: Escrow(**raw), limit)

    def approvals(self, limit: int | None = None) -> Iterator[Approval]:
        """What the wallet asked a human for, oldest first."""
        native = self._session._native
        return pages(lambda after, size: native.approvals(self.id, after, size), lambda raw: Approval(**raw), limit)

    def receipts(self, limit: int | None = None) -> Iterator[Receipt]:
        """The receipts that name the wallet as payer or host, oldest first."""
        native = self._session._native
        return pages(lambda after, size: native.receipts(self.id, after, size), self._session._receipt_of, limit)

    def keys(self, limit: int | None = None) -> Iterator[ApiKey]:
        """The wallet's API keys, without their secrets."""
        native = self._session._native
        return pages(lambda after, size: native.keys(self.id, after, size), lambda raw: ApiKey(**raw), limit)

    # Its management: for the operator, and a human for its agents.

    def issue_key(
        self, label: str = "", *, kind: str = "api", idempotency_key: str | None = None
    ) -> IssuedKey:
        """One more key for this wallet. Its ``api_key`` is shown this once.

        ``kind`` is ``api``, or ``jobs`` for a key with the prefix ``flk_``; the rights are the same.
        """
        return issued_of(
            self._session._native.issue_key(
                self.id, text_in(label, "/label"), text_in(kind, "/kind"), key_in(idempotency_key, "Idempotency-Key")
            )
        )

    def rotate_webhook_secret(self) -> str:
        """The next secret that signs the webhooks of this wallet's jobs, shown this once: ``whsec_…``.

        The one before it signs as well for a day. A job with a ``callback_url`` needs its wallet to have one.
        """
        return self._session._native.rotate_webhook_secret(self.id)

    def set_policy(
        self,
        *,
        spend_cap_per_job: Amount | None = KEEP,
        spend_cap_per_hour: Amount | None = KEEP,
        approval_threshold: Amount | None = KEEP,
        allowed_gpu_types: Sequence[str] | None = KEEP,
    ) -> WalletState:
        """Changes the rules that are named; None clears one, and what is not named stays.

        Raises ``Refused`` (``human_only``, ``operator_only``) when this session may not.
        """
        fields: dict[str, Any] = {
            name: maybe_micro_in(value, f"/{name}")
            for name, value in (
                ("spend_cap_per_job", spend_cap_per_job),
                ("spend_cap_per_hour", spend_cap_per_hour),
                ("approval_threshold", approval_threshold),
            )
            if value is not KEEP
        }
        if allowed_gpu_types is not KEEP:
            fields["allowed_gpu_types"] = gpu_types_in(allowed_gpu_types, "/allowed_gpu_types")
        return self._change(fields)

    def freeze(self) -> WalletState:
        """Stops the wallet's money where it is, until :meth:`unfreeze`."""
        return self._change({"status": "frozen"})

    def unfreeze(self) -> WalletState:
        """Lets a frozen wallet's money move again."""
        return self._change({"status": "active"})

    def close(self) -> WalletState:
        """Closes the wallet for ever. It must be empty and without open escrows (``wallet_not_empty``)."""
        return self._change({"status": "closed"})

    def _change(self, fields: dict[str, Any]) -> WalletState:
        return state_of(self._session._native.change_wallet(self.id, fields))

    def __copy__(self) -> Wallet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Wallet:
        return self  # it holds nothing but the way to its market

    def __reduce__(self) -> NoReturn:
        raise TypeError("a wallet belongs to an open market and cannot be pickled: send its id")

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Wallet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Wallet {self.id}>"


# Markets that were opened by their path: wallets of one file share one engine, which ends with the last of them.
_by_path: weakref.WeakValueDictionary[tuple[int, str], Market] = weakref.WeakValueDictionary()
_by_path_lock = threading.Lock()


def _market_of(market: Market | str | os.PathLike[str] | None) -> Market:
    from .market import Market, open

    if isinstance(market, Market):
        return market
    path = os.environ.get("CALYX_MARKET") if market is None else os.fspath(market)
    if path is None or (market is None and not path):
        raise Invalid(
            "options_invalid",
            "the environment variable CALYX_MARKET names no market file, and no market was given",
            {"field": "market"},
        )
    if not os.path.exists(path):  # a key of a market that is not there opens nothing, so none is made for it
        raise NotFound("file_missing", f"there is no market at {os.fspath(path)!r}", {"path": os.fspath(path)})
    key = (os.getpid(), os.path.realpath(path))  # a forked child opens its own
    with _by_path_lock:
        known = _by_path.get(key)
        if known is None or known.closed:
            known = _by_path[key] = open(path)
        return known


def _after_fork() -> None:
    # Another thread of the parent may have held it, and will never give it back here.
    global _by_path_lock
    _by_path_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
