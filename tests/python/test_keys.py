"""Derived keys in Python: what they are made of, and what they may."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import calyx
import pytest


def limits_of(key: str) -> dict[str, Any]:
    """What the last block of a derived key says."""
    block = key.removeprefix("cyx_der_").split(".")[-2]
    text = block.split("~")[0]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_a_derived_key_spends_within_its_limits_and_no_further() -> None:
    with calyx.open() as market:
        wallet = market.create_wallet(owner_type="human", owner_id="alice")
        market.topup(wallet, 100)
        assert wallet.api_key is not None
        key = calyx.derive_key(wallet.api_key, budget=10, spend_cap_per_job=Decimal("6"))
        derived = calyx.Wallet(api_key=key, market=market)
        derived.spend("a", 6)
        with pytest.raises(calyx.Refused) as above:
            derived.spend("b", 7)
        assert above.value.reason == "spend_cap_per_job"
        assert above.value.details["owner"] == "key"
        with pytest.raises(calyx.Refused) as spent:
            derived.spend("b", 5)
        assert spent.value.reason == "budget_spent"
        narrower = calyx.Wallet(api_key=calyx.derive_key(key, spend_cap_per_job=1), market=market)
        narrower.spend("c", 1)
        with pytest.raises(calyx.Refused):
            narrower.spend("d", 2)


def test_limits_are_said_as_the_document_has_them() -> None:
    noon = datetime(2027, 1, 15, 12, tzinfo=timezone.utc)
    key = calyx.derive_key(
        "cyx_live_x",
        spend_cap_per_job=6,
        spend_cap_per_hour="20.5",
        budget=100,
        approval_threshold=5,
        allowed_gpu_types=["H100"],
        allowed_recipes=("packing",),
        allowed_payees=[],
        not_before=noon + timedelta(microseconds=1),
        not_after=noon.astimezone(timezone(timedelta(hours=2))) + timedelta(hours=1, microseconds=1),
    )
    assert limits_of(key) == {
        "amount_range": {"max": "6.00"},
        "spend_cap_per_hour": "20.50",
        "budget": {"max": "100.00"},
        "approval_threshold": "5.00",
        "allowed_gpu_types": ["H100"],
        "allowed_recipes": ["packing"],
        "allowed_payees": [],
        "execution_date": {"not_before": "2027-01-15T12:00:01Z", "not_after": "2027-01-15T13:00:00Z"},
    }
    assert limits_of(calyx.derive_key(key)) == {}


@pytest.mark.parametrize(
    ("limits", "reason", "field"),
    [
        ({"budget": -1}, "amount_negative", "/budget/max"),
        ({"budget": float("nan")}, "amount_malformed", "/budget/max"),
        ({"spend_cap_per_hour": True}, "field_type", "/spend_cap_per_hour"),
        ({"allowed_recipes": [7]}, "field_value", "/allowed_recipes"),
        ({"allowed_payees": ["wal_1"]}, "field_value", "/allowed_payees"),
        ({"not_after": datetime(2027, 1, 15)}, "field_type", "/execution_date/not_after"),
        ({"not_after": 7}, "field_type", "/execution_date/not_after"),
        ({"not_after": datetime(1969, 1, 1, tzinfo=timezone.utc)}, "field_value", "/execution_date/not_after"),
    ],
)
def test_a_limit_that_is_none_is_named(limits: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(calyx.Invalid) as raised:
        calyx.derive_key("cyx_live_x", **limits)
    assert (raised.value.reason, raised.value.details["field"]) == (reason, field)


def test_no_key_is_derived_of_an_operators_or_of_none() -> None:
    with calyx.open() as market:
        with pytest.raises(calyx.Refused):
            calyx.derive_key(market.issue_operator_key("o").api_key or "")
    with pytest.raises(calyx.Refused):
        calyx.derive_key("")
