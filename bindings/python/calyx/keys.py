"""Derived keys: whoever holds an API key makes, offline, one that may do less, and hands it on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from . import _native
from .errors import Invalid
from .money import Amount, micro

__all__ = ["derive_key"]


def _instant(at: datetime, field: str) -> str:
    """Whole seconds of UTC, cut off."""
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise Invalid("field_type", "takes an aware datetime", {"field": field})
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def derive_key(
    api_key: str,
    *,
    spend_cap_per_job: Amount | None = None,
    spend_cap_per_hour: Amount | None = None,
    budget: Amount | None = None,
    approval_threshold: Amount | None = None,
    allowed_gpu_types: Iterable[str] | None = None,
    allowed_recipes: Iterable[str] | None = None,
    allowed_payees: Iterable[str] | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> str:
    """A key that may do what ``api_key``, a wallet's or a derived one, may, within these limits besides.

    It reads, takes whole artifacts in, locks escrow, submits jobs and ends what it began; everything else is
    ``key_limited``. Amounts are FLOPS: caps on one job and on a rolling hour, and on all that it ever spends, less
    what came back (``budget``); above ``approval_threshold`` whoever decides for the wallet's own spends approves. ``allowed_payees`` are ids of
    wallets, and a job then names its own ``allowed_payees`` among them. The instants are aware, and count in whole
    seconds.

    Needs no market. Raises :class:`calyx.Invalid` with the reason ``field_value``, ``field_type`` or ``amount_…``,
    and :class:`calyx.Refused` for an operator's key or for one that is none.
    """
    limits: dict[str, Any] = {}

    def amount(value: Amount | None, field: str) -> str | None:
        return None if value is None else _native.money_text(micro(value, field))

    def put(name: str, value: Any) -> None:
        if value is not None:
            limits[name] = value

    def put_most(name: str, value: Amount | None) -> None:
        most = amount(value, f"/{name}/max")
        put(name, None if most is None else {"max": most})

    put_most("amount_range", spend_cap_per_job)
    put_most("budget", budget)
    put("spend_cap_per_hour", amount(spend_cap_per_hour, "/spend_cap_per_hour"))
    put("approval_threshold", amount(approval_threshold, "/approval_threshold"))
    put("allowed_gpu_types", None if allowed_gpu_types is None else list(allowed_gpu_types))
    put("allowed_recipes", None if allowed_recipes is None else list(allowed_recipes))
    put("allowed_payees", None if allowed_payees is None else list(allowed_payees))
    dates: dict[str, str] = {}
    if not_before is not None:
        # Up to the next whole second: a key is good no earlier than it was meant to be.
        dates["not_before"] = _instant(not_before, "/execution_date/not_before")
        if not_before.microsecond:
            dates["not_before"] = _instant(not_before + timedelta(seconds=1), "/execution_date/not_before")
    if not_after is not None:
        dates["not_after"] = _instant(not_after, "/execution_date/not_after")
    put("execution_date", dates or None)
    return _native.derive_key(api_key, json.dumps(limits))
