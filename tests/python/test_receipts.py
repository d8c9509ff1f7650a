"""Receipts, judged by calyx and by a library that has never heard of it."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from decimal import Decimal

import calyx
import pytest
from conftest import people, settle


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def tampered(jws: str) -> str:
    """The receipt with a greater price and the old signature."""
    header, payload, signature = jws.split(".")
    return ".".join([header, base64url(unbase64url(payload).replace(b'"3.80"', b'"4.80"')), signature])


def test_a_receipt_is_verified_without_calyx(market: calyx.Market, they) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.exceptions import InvalidSignature

    receipt = settle(they).receipt
    [key] = market.public_keys()["keys"]
    header_text, payload_text, signature_text = receipt.jws.split(".")

    header = json.loads(unbase64url(header_text))
    thumbprint = json.dumps({name: key[name] for name in ("crv", "kty", "x")}, separators=(",", ":"), sort_keys=True)
    assert header == {
        "alg": "EdDSA",
        "typ": "calyx-receipt+jws",
        "kid": base64url(hashlib.sha256(thumbprint.encode()).digest()),
    }
    assert (key["kty"], key["crv"], key["kid"]) == ("OKP", "Ed25519", header["kid"])
    public = ed25519.Ed25519PublicKey.from_public_bytes(unbase64url(key["x"]))
    public.verify(unbase64url(signature_text), f"{header_text}.{payload_text}".encode())

    # The payload's bytes are canonical: Python's sorted, compact spelling of it is the same.
    octets = unbase64url(payload_text)
    payload = json.loads(octets)
    assert json.dumps(payload, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() == octets
    assert payload["amount"] == {"unit": "FLOPS", "gross": "3.80", "platform_fee": "0.57", "net": "3.23"}
    assert payload == receipt.payload

    with pytest.raises(InvalidSignature):
        public.verify(unbase64url(signature_text), tampered(receipt.jws).rpartition(".")[0].encode())


def test_a_receipt_reads_as_the_sdk_shows(market: calyx.Market, they) -> None:
    earned = settle(they)
    receipt = market.receipt(earned.receipt_id)
    assert receipt == earned.receipt
    assert receipt.id == earned.receipt_id
    assert (receipt.flops_spent, receipt.platform_fee, receipt.net_payout) == (
        Decimal("3.80"),
        Decimal("0.57"),
        Decimal("3.23"),
    )
    assert f"Spent: {receipt.flops_spent} FLOPS" == "Spent: 3.80 FLOPS"
    assert f"Duration: {receipt.duration_seconds}s" == "Duration: 10082s"
    assert (receipt.payer_wallet, receipt.host_wallet) == (they.agent.id, they.host.id)
    assert receipt.job_id == "job-441"
    assert receipt.issuer == market.issuer
    assert receipt.issued_at.isoformat() == "2026-04-01T21:00:00+00:00"
    assert receipt.leaf == 0
    assert receipt.id in repr(receipt)


def test_every_form_of_a_receipt_is_judged_alike(market: calyx.Market, they) -> None:
    receipt = settle(they).receipt
    keys = market.public_keys()
    document = receipt.to_json()
    read = json.loads(document, parse_float=Decimal)
    for form in (receipt, receipt.jws, receipt.jws.encode(), document, document.encode(), json.loads(document), read):
        assert market.verify(form)
        assert calyx.verify_receipt(form, keys)
        assert calyx.Receipt.load(form, keys).verified
        assert market.audit(form)
    assert calyx.verify_receipt(receipt, json.dumps(keys)).payload == receipt.payload
    assert read["flops_spent"] == Decimal("3.80")
    assert (read["verified"], read["receipt_id"], read["jws"]) == (True, receipt.id, receipt.jws)


def test_a_receipt_outlives_its_market() -> None:
    with calyx.open() as market:
        receipt = settle(people(market)).receipt
    assert receipt.verified
    again = pickle.loads(pickle.dumps(receipt))
    assert again == receipt and again.verified and again.leaf == 0


def test_the_wire_serves_the_same_document(market: calyx.Market, they) -> None:
    receipt = settle(they).receipt
    key = market.issue_operator_key().api_key
    served = market.request("GET", f"/v1/receipts/{receipt.id}", {"X-API-Key": key})
    assert served.status == 200
    mine, theirs = json.loads(receipt.to_json()), served.json()
    assert {name: theirs[name] for name in mine} == {**mine, "flops_spent": Decimal("3.8")}


def test_a_changed_receipt_is_not_valid(market: calyx.Market, they) -> None:
    receipt = settle(they).receipt
    keys = market.public_keys()
    bad = tampered(receipt.jws)
    for verdict in (market.verify(bad), calyx.verify_receipt(bad, keys)):
        assert not verdict
        assert verdict.reason == "signature"
        assert verdict.payload is None
    assert calyx.Receipt.load(bad, keys).verified is False

    document = json.loads(receipt.to_json())
    document["gpu_model"] = "H100"
    assert market.verify(document).reason == "fields_differ"
    assert calyx.Receipt.load(document, keys).verified is False

    with calyx.open() as other:
        assert other.verify(receipt).reason == "key"
        assert calyx.verify_receipt(receipt, other.public_keys()).reason == "key"
    for nonsense in ("", "a.b.c", "{}", "{", b"\xff\xff"):
        assert not market.verify(nonsense)
        with pytest.raises(calyx.Invalid):
            calyx.Receipt.load(nonsense, keys)

@pytest.mark.parametrize("keys", ["no key set", "", "{}", b"\xff", '{"keys": []}', {"keys": [{"kty": "RSA"}]}, 7])
def test_keys_that_are_none_are_no_word_against_a_receipt(market: calyx.Market, they, keys) -> None:
    receipt = settle(they).receipt
    with pytest.raises(calyx.Invalid) as invalid:
        calyx.verify_receipt(receipt, keys)
    assert invalid.value.details == {"field": "keys"}
    with pytest.raises(calyx.Invalid):
        assert calyx.Receipt.load(receipt, keys).verified


def signed_like(payload: str | bytes) -> str:
    octets = payload.encode() if isinstance(payload, str) else payload
    return ".".join([base64url(b'{"alg":"EdDSA"}'), base64url(octets), base64url(b"x" * 64)])


PROPERTIES = [name for name, value in vars(calyx.Receipt).items() if isinstance(value, property)]


@pytest.mark.parametrize(
    "payload",
    [
        "{}",
        '{"amount": 5, "id": 7, "issued_at": "yesterday", "duration_seconds": "long", "gpu_model": []}',
        '{"amount": {"gross": [], "net": "many", "platform_fee": null}, "duration_seconds": true, "issued_at": 1}',
        '{"amount": {"gross": 3.8}, "issued_at": "2026-99-99T00:00:00Z", "id": null, "duration_seconds": 1.5}',
    ],
)
def test_a_strangers_receipt_gives_values_or_invalid_and_nothing_else(market: calyx.Market, payload: str) -> None:
    receipt = calyx.Receipt.load(signed_like(payload), market.public_keys())
    assert receipt.verified is False
    assert "Receipt" in repr(receipt)
    refused = set()
    for name in PROPERTIES:
        try:
            getattr(receipt, name)
        except calyx.Invalid as invalid:
            assert invalid.details.get("field")
            refused.add(name)
    assert {"id", "flops_spent", "duration_seconds", "issued_at", "gpu_model"} <= refused


def test_a_strangers_nesting_ends_in_invalid(market: calyx.Market) -> None:
    keys = market.public_keys()
    deep = "[" * 100_000
    nested: dict[str, object] = {}
    for _ in range(5_000):
        nested = {"a": nested}
    round_and_round: dict[str, object] = {}
    round_and_round["itself"] = round_and_round
    for form in (signed_like('{"a":' * 100_000), '{"jws": ' + deep, deep, nested, round_and_round, {"a": object()}):
        with pytest.raises(calyx.Invalid):
            calyx.Receipt.load(form, keys)
        try:
            assert not market.verify(form)
            assert not calyx.verify_receipt(form, keys)
        except calyx.Invalid as invalid:
            assert invalid.details["field"] == "receipt"
    for depth in (100, 400, 900):  # read here, too deep for a market
        try:
            receipt = calyx.Receipt.load(signed_like('{"a":' * depth + "1" + "}" * depth), keys)
            assert not receipt.verified
            receipt.to_json()
        except calyx.Invalid:
            pass


def test_a_new_signing_key_signs_and_the_old_one_still_verifies(market: calyx.Market, they) -> None:
    old = settle(they, "job-1").receipt
    kid = market.rotate_signing_key()
    new = settle(they, "job-2").receipt
    assert [key["kid"] for key in market.public_keys()["keys"]].count(kid) == 1
    assert json.loads(unbase64url(new.jws.split(".")[0]))["kid"] == kid
    assert json.loads(unbase64url(old.jws.split(".")[0]))["kid"] != kid
    assert old.verified and new.verified
    assert calyx.verify_receipt(old, market.public_keys())


def test_the_host_may_sign(clock) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization

    key = ed25519.Ed25519PrivateKey.generate()
    octets = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signed = []

    def sign(kid: str, message: bytes) -> bytes:
        signed.append(kid)
        return key.sign(message)

    with calyx.open(clock=clock, sign=sign, sign_public_key=octets) as market:
        receipt = settle(people(market)).receipt
        assert receipt.verified
        assert set(signed) == {market.public_keys()["keys"][0]["kid"]}
        assert unbase64url(market.public_keys()["keys"][0]["x"]) == octets

    with pytest.raises(calyx.Invalid):
        calyx.open(sign=sign, sign_public_key=b"short")
