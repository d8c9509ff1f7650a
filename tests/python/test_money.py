"""Amounts: every spelling of a number, and never its binary value."""

from __future__ import annotations

import copy
import decimal
import pickle
import random
from decimal import Decimal
from fractions import Fraction

import calyx
import pytest
from calyx.money import micro


class LoudFloat(float):
    def __repr__(self) -> str:
        return f"LoudFloat({float(self)})"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, 0),
        (5, 5_000_000),
        (5.0, 5_000_000),
        (12.40, 12_400_000),
        (0.1, 100_000),
        (0.3, 300_000),
        (1e-06, 1),
        (1e3, 1_000_000_000),
        ("12.40", 12_400_000),
        ("1e3", 1_000_000_000),
        (Decimal("12.40"), 12_400_000),
        (Decimal("1E+3"), 1_000_000_000),
        (Decimal("1.50000000000"), 1_500_000),
        (Decimal("0E-20"), 0),
        (Decimal((0, (0, 0, 1, 2), -1)), 1_200_000),
        (LoudFloat(0.25), 250_000),
        (8_000_000_000, 8_000_000_000_000_000),
        (Decimal("7999999999.999999"), 7_999_999_999_999_999),
        (7999999999.999999, 7_999_999_999_999_999),
    ],
)
def test_an_amount_is_read_by_its_shortest_decimal_form(amount: calyx.Amount, expected: int) -> None:
    assert micro(amount) == expected


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (0.1 + 0.2, "amount_too_precise"),  # 0.30000000000000004 is what it says
        ("0.0000001", "amount_too_precise"),
        ("1.0000000", "amount_too_precise"),  # text is taken by its digits, as on the wire
        (Decimal("0.0000001"), "amount_too_precise"),
        (1e-7, "amount_too_precise"),
        (-1, "amount_negative"),
        (-0.5, "amount_negative"),
        (-0.0, "amount_negative"),
        (Decimal("-0"), "amount_negative"),
        (8_000_000_000.1, "amount_out_of_range"),
        (10**5000, "amount_out_of_range"),
        (-(10**5000), "amount_negative"),
        (1e300, "amount_out_of_range"),
        (Decimal("1E+999999"), "amount_out_of_range"),
        (float("nan"), "amount_malformed"),
        (float("inf"), "amount_malformed"),
        (Decimal("NaN"), "amount_malformed"),
        (Decimal("-Infinity"), "amount_malformed"),
        ("", "amount_malformed"),
        ("five", "amount_malformed"),
        (" 5", "amount_malformed"),
        ("+5", "amount_malformed"),
        ("05", "amount_malformed"),
        ("5_000", "amount_malformed"),
        ("٥", "amount_malformed"),
        ("\ud800", "amount_malformed"),
        (True, "field_type"),
        (None, "field_type"),
        (b"5", "field_type"),
        (5j, "field_type"),
        (Fraction(1, 2), "field_type"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_what_is_no_amount_is_invalid(amount: object, reason: str) -> None:
    with pytest.raises(calyx.Invalid) as invalid:
        micro(amount, "/gross_amount")  # type: ignore[arg-type]
    assert invalid.value.reason == reason
    assert invalid.value.details["field"] == "/gross_amount"


def test_any_number_of_micros_comes_back_by_every_spelling() -> None:
    numbers = random.Random(20261123)
    for _ in range(20_000):
        count = numbers.randrange(10 ** numbers.randrange(1, 16))
        amount = calyx.Flops.from_micro(count)
        assert amount.micro == count
        assert micro(amount) == micro(str(amount)) == count
        if count < 10**15:  # what a double tells apart
            assert micro(float(str(amount))) == count


@pytest.mark.parametrize(
    ("count", "printed"),
    [(0, "0.00"), (12_400_000, "12.40"), (1, "0.000001"), (-4_000_000, "-4.00"), (3_230_500, "3.2305")],
)
def test_an_amount_prints_as_the_documents_do(count: int, printed: str) -> None:
    amount = calyx.Flops.from_micro(count)
    assert str(amount) == printed
    assert f"{amount} FLOPS" == f"{printed} FLOPS"
    assert repr(amount) == f"Flops('{printed}')"
    assert amount == Decimal(printed)
    assert hash(amount) == hash(Decimal(printed))
    for other in (pickle.loads(pickle.dumps(amount)), copy.deepcopy(amount), calyx.Flops(printed)):
        assert (type(other), other) == (calyx.Flops, amount)


def test_amounts_are_decimals_and_worth_a_cent() -> None:
    assert isinstance(calyx.Flops(2000), Decimal)
    assert calyx.Flops(2000).usd == 20
    assert calyx.Flops("0.000001").usd == Decimal("0.00000001")
    assert str(calyx.Flops("12.40") - calyx.Flops(4)) == "8.40"


def test_the_decimal_context_of_the_caller_changes_nothing() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert micro(Decimal("7999999999.999999")) == 7_999_999_999_999_999
        assert str(calyx.Flops("7999999999.999999")) == "7999999999.999999"
        assert calyx.Flops("7999999999.999999").micro == 7_999_999_999_999_999


def test_every_call_that_takes_an_amount_names_its_field(market: calyx.Market, they) -> None:
    calls = {
        "/amount": lambda: they.agent.spend("job-1", "x"),
        "/gross_amount": lambda: they.host.earn("job-1", "x", "0" * 64, "A100", 1),
        "/spend_cap_per_hour": lambda: they.agent.set_policy(spend_cap_per_hour="x"),
        "/approval_threshold": lambda: market.create_wallet("human", "bob", approval_threshold="x"),
    }
    for field, call in calls.items():
        with pytest.raises(calyx.Invalid) as invalid:
            call()
        assert invalid.value.details["field"] == field
    with pytest.raises(calyx.Invalid) as invalid:
        market.topup(they.owner, 0)
    assert invalid.value.reason == "amount_zero"
