"""Compute receipts: what was bought, from whom, and a signature that anybody can check.

A receipt is a compact JWS (RFC 7515, EdDSA) over canonical JSON (RFC 8785); see :attr:`Receipt.jws`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Union

from . import _native
from .errors import Invalid
from .money import Flops

__all__ = ["Receipt", "Verdict", "verify_receipt"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a receipt. True in a condition when it is valid."""

    valid: bool
    #: Nothing when valid, else the first thing wrong: ``malformed``, ``alg``, ``header``, ``key``,
    #: ``signature``, ``payload``, ``fields_differ``.
    reason: str | None
    #: What was signed, when valid.
    payload: dict[str, Any] | None

    def __bool__(self) -> bool:
        return self.valid


class Receipt:
    """A receipt as it was signed, and its fields decoded from those very bytes.

    A market gives them (``market.receipt(id)``, ``earned.receipt``); one that came by mail is read with
    :meth:`load`. Nothing here is trusted before :attr:`verified` is true; a property whose field is absent from
    what was signed, or is no such thing, raises :class:`calyx.Invalid`.
    """

    #: The receipt itself: header, payload and signature. Keep this, and anybody can verify it.
    jws: str
    #: What was signed.
    payload: dict[str, Any]
    #: Its place in the market's receipt log, where a market gave it.
    leaf: int | None

    def __init__(self, jws: str, keys: str, *, leaf: int | None = None, text: str | None = None) -> None:
        self.jws = jws
        self.leaf = leaf
        self._keys = keys
        # What is judged: of a document, all of it, since what stands around the JWS must say the same.
        self._text = jws if text is None else text
        self.payload = _payload_of(jws)

    @classmethod
    def load(cls, receipt: Receipt | str | bytes | Mapping[str, Any], keys: str | bytes | Mapping[str, Any]) -> Receipt:
        """A receipt from elsewhere: its JWS text, or the JSON document (as text or read) around it.

        ``keys`` is the issuer's JSON Web Key Set, which you got from where you trust it.

        Raises :class:`calyx.Invalid` when there is no receipt to be read in it.
        """
        text = _text_of(receipt)
        key_set = _json_text(keys, "keys")
        jws = text.strip()
        if jws.startswith("{"):
            try:
                jws = json.loads(jws).get("jws", "")
            except (ValueError, RecursionError):
                raise Invalid("not_json", "the receipt's document is no JSON, or nested too deep") from None
            if not isinstance(jws, str):
                jws = ""
        return cls(jws, key_set, text=text)

    @property
    def verified(self) -> bool:
        """Whether the signature is good, by the keys that its market had, or those given to :meth:`load`.

        Raises :class:`calyx.Invalid` when those are no keys, which says nothing of the receipt.
        """
        return verify_receipt(self._text, self._keys).valid

    @property
    def id(self) -> str:
        """``rcpt_…``"""
        return self._text_at("id")

    @property
    def flops_spent(self) -> Flops:
        """What the job cost: the gross amount, the platform's fee included."""
        return Flops(self._text_at("amount", "gross"))

    @property
    def platform_fee(self) -> Flops:
        """The part of :attr:`flops_spent` that the platform kept."""
        return Flops(self._text_at("amount", "platform_fee"))

    @property
    def net_payout(self) -> Flops:
        """The part of :attr:`flops_spent` that the host got."""
        return Flops(self._text_at("amount", "net"))

    @property
    def output_hash(self) -> str:
        """``sha256:`` and 64 hex digits: the hash of the job's output."""
        return self._text_at("output_hash")

    @property
    def gpu_model(self) -> str:
        """The GPU that ran the job, in the host's words."""
        return self._text_at("gpu_model")

    @property
    def duration_seconds(self) -> int:
        """How long the job ran."""
        seconds = self.payload.get("duration_seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise _no_member("/duration_seconds", seconds, "an integer")
        return seconds

    @property
    def job_id(self) -> str:
        """The payer's name for the job."""
        return self._text_at("job_id")

    @property
    def payer_wallet(self) -> str:
        """The id of the wallet that paid."""
        return self._text_at("payer_wallet")

    @property
    def host_wallet(self) -> str:
        """The id of the wallet that was paid."""
        return self._text_at("host_wallet")

    @property
    def issuer(self) -> str:
        """The market that signed."""
        return self._text_at("issuer")

    @property
    def issued_at(self) -> datetime:
        """When it was signed, in whole seconds."""
        said = self._text_at("issued_at")
        try:
            return datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            raise Invalid("field_value", "is no instant such as 2026-04-01T21:00:00Z", {"field": "/issued_at"}) from None

    def _text_at(self, *names: str) -> str:
        here: Any = self.payload
        for name in names:
            here = here.get(name) if isinstance(here, dict) else None
        if not isinstance(here, str):
            raise _no_member("/" + "/".join(names), here, "text")
        return here

    def to_json(self) -> str:
        """The document that ``GET /v1/receipts/{id}`` serves: the decoded fields, and the JWS itself."""
        try:
            fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in self.payload.items()]
        except RecursionError:
            raise Invalid("too_deep", "is nested too deep", {"field": "/jws"}) from None
        fields.append(f'"receipt_id": {json.dumps(self.id)}')
        fields.append(f'"flops_spent": {self.flops_spent}')  # a number by its digits, never through a float
        fields.append(f'"verified": {json.dumps(self.verified)}')
        fields.append(f'"jws": {json.dumps(self.jws)}')
        return "{" + ", ".join(fields) + "}"

    def __eq__(self, other: object) -> bool:
        return self.jws == other.jws if isinstance(other, Receipt) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.jws)

    def __repr__(self) -> str:
        amount = self.payload.get("amount")
        spent = amount.get("gross", "?") if isinstance(amount, dict) else "?"
        return f"<Receipt {self.payload.get('id', '?')} of {spent} FLOPS>"


def verify_receipt(
    receipt: Receipt | str | bytes | Mapping[str, Any], keys: str | bytes | Mapping[str, Any]
) -> Verdict:
    """Judges a receipt by a JSON Web Key Set alone: no market, no file, no network.

    ``receipt`` is a :class:`Receipt`, the JWS text, or the JSON document around it (as text or read); a
    document that says something else than what is signed in it is not valid.

    Raises :class:`calyx.Invalid` when ``keys`` is no key set, or has no Ed25519 key: then nothing was judged.
    """
    verdict = Verdict(**_native.verify_receipt(_text_of(receipt), _json_text(keys, "keys")))
    if verdict.reason == "jwks":
        raise Invalid("field_value", "is no JSON Web Key Set with an Ed25519 key in it", {"field": "keys"})
    return verdict


def _payload_of(jws: str) -> dict[str, Any]:
    try:
        middle = jws.split(".")[1]
        payload = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError, RecursionError, binascii.Error):
        payload = None
    if not isinstance(payload, dict):
        raise Invalid("field_value", "is no receipt: a compact JWS over a JSON object", {"field": "/jws"})
    return payload


def _no_member(field: str, value: object, wanted: str) -> Invalid:
    if value is None:
        return Invalid("field_missing", "is not in this receipt", {"field": field})
    return Invalid("field_type", f"is {type(value).__name__} in this receipt, must be {wanted}", {"field": field})


def _json_text(value: str | bytes | Mapping[str, Any], field: str) -> str:
    if isinstance(value, Mapping):
        # Amounts may have been read as Decimal; the document holds one number, and any spelling of it will do.
        try:
            return json.dumps(dict(value), default=_plain)
        except (TypeError, ValueError, RecursionError) as fault:
            raise Invalid("field_value", f"has no spelling in JSON: {fault}", {"field": field}) from None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise Invalid("field_type", f"takes text or a mapping, not {type(value).__name__}", {"field": field})
    return value.encode("utf-8", "replace").decode()


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _text_of(receipt: Receipt | str | bytes | Mapping[str, Any]) -> str:
    if isinstance(receipt, Receipt):
        return receipt._text
    return _json_text(receipt, "receipt")


#: What a receipt may be given as.
AnyReceipt = Union[Receipt, str, bytes, Mapping[str, Any]]
