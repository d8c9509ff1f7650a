"""Amounts of FLOPS, exact from the first digit to the last.

What you pass may be an ``int``, ``float``, ``str`` or ``Decimal``; a float is read by its shortest decimal form
(``12.4`` is twelve and four tenths), and never by its binary value. What you get back is a ``Flops``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Union

from . import _native
from .errors import Invalid

__all__ = ["Amount", "Flops", "micro"]

#: What is accepted where an amount is asked for. Units: FLOPS.
Amount = Union[int, float, str, Decimal]


def _digits(value: Decimal) -> str:
    """``value`` in digits, without the zeros behind the last decimal that counts: 1.5000000 is 1.5.

    Done on the digits and not by arithmetic, which would round to the precision of the current context.
    """
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    if not stripped:
        return "-0" if sign else "0"
    assert isinstance(exponent, int)
    return f"{'-' if sign else ''}{stripped}e{exponent + len(text) - len(stripped)}"


def _spelled(amount: Amount, field: str) -> str:
    # A truth value is an int to Python and no amount to anybody.
    if isinstance(amount, bool) or not isinstance(amount, (int, float, str, Decimal)):
        raise Invalid(
            "field_type",
            f"takes an int, float, str or Decimal, not {type(amount).__name__}",
            {"field": field},
        )
    if isinstance(amount, str):
        return amount
    if isinstance(amount, Decimal):
        return _digits(amount) if amount.is_finite() else str(amount)
    if isinstance(amount, int):
        # Python refuses to print an int of thousands of digits; all of those are out of range anyway.
        return int.__repr__(amount) if amount.bit_length() <= 128 else "1e99" if amount > 0 else "-1e99"
    # The shortest form; of the type itself, for a subclass may print otherwise. 5.0 says no more than 5.
    return float.__repr__(amount)


def micro(amount: Amount, field: str = "/amount") -> int:
    """The micro-FLOPS that ``amount`` says: 0 to 8,000,000,000 FLOPS, at most six decimals.

    Raises :class:`calyx.Invalid` with the reason ``amount_malformed`` (also for nan and inf),
    ``amount_too_precise``, ``amount_out_of_range``, ``amount_negative`` or ``field_type``. ``field`` is what
    the error's details name.
    """
    text = _spelled(amount, field)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = ""
    return _native.read_money(text, field)


class Flops(Decimal):
    """An amount of FLOPS: a ``Decimal`` that prints with two to six decimals, as in ``12.40``.

    >>> Flops(12.4)
    Flops('12.40')
    >>> Flops("8.40") + 4
    Decimal('12.40')

    Arithmetic gives plain ``Decimal``. Compare with ``Decimal``, ``int`` or another ``Flops``; a float such as
    12.4 is not exactly twelve and four tenths, and Python says so.
    """

    __slots__ = ()

    def __new__(cls, amount: Amount = 0) -> Flops:
        text = _spelled(amount, "/amount")
        negative = text.startswith("-")
        return cls.from_micro(-micro(text[1:]) if negative else micro(text))

    @classmethod
    def from_micro(cls, count: int) -> Flops:
        """``count`` millionths of a FLOPS. A debit is negative."""
        return Decimal.__new__(cls, _native.money_text(count))

    @property
    def micro(self) -> int:
        """The amount in micro-FLOPS. Units: millionths of a FLOPS."""
        sign, digits, exponent = self.as_tuple()
        assert isinstance(exponent, int)
        count = int("".join(map(str, digits)) + "0" * (6 + exponent))
        return -count if sign else count

    @property
    def usd(self) -> Decimal:
        """The amount in US dollars, exactly: 1 FLOPS is 0.01."""
        return Decimal(self.micro).scaleb(-8)

    def __repr__(self) -> str:
        return f"Flops('{self}')"
