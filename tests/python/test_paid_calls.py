"""Calls that are paid for with themselves, in Python."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import calyx
import pytest
from calyx import SettlementAnswer
from gateway.evm_wallet import EvmWallet, header, keccak256, word

PAY_TO = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
VALID_BEFORE = 4_000_000_000


class Shop:
    """A market that takes payments on Base, and a payer who has five dollars there."""

    def __init__(self) -> None:
        self.tokens = calyx.SimulatedTokens()
        self.market = calyx.open(settlement=self.tokens)
        self.market.set_payment_terms(
            base_url="https://calyx.example",
            realm="calyx.example",
            networks=[calyx.PaymentNetwork("base", pay_to=PAY_TO)],
        )
        self.payer = EvmWallet()
        self.tokens.mint(self.payer.address, 5_000_000)

    def asked(self, price: calyx.Amount) -> dict[str, Any]:
        challenge = self.market.challenge_for_call(price, resource="/orders")
        return json.loads(base64.b64decode(challenge.payment_required))

    def words(self, price: calyx.Amount) -> str:
        return header(self.payer.pay(self.asked(price)["accepts"][0]))

    def credential(self, price: calyx.Amount) -> str:
        """What answers MPP's challenge."""
        (challenge,) = self.market.challenge_for_call(price).www_authenticate
        said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        said.pop("description", None)
        amount = json.loads(base64.urlsafe_b64decode(said["request"] + "=="))["amount"]
        nonce = keccak256((said["id"] + said["realm"]).encode())
        digest = transfer_digest(self.payer.address, int(amount), nonce)
        payload = {
            "type": "authorization",
            "from": self.payer.address,
            "to": PAY_TO,
            "value": amount,
            "validAfter": "0",
            "validBefore": str(VALID_BEFORE),
            "nonce": "0x" + nonce.hex(),
            "signature": self.payer.sign(digest),
        }
        text = json.dumps({"challenge": said, "payload": payload}).encode()
        return "Payment " + base64.urlsafe_b64encode(text).decode().rstrip("=")


def transfer_digest(payer: str, amount: int, nonce: bytes) -> bytes:
    """EIP-3009 of the dollar token on Base."""

    def address(text: str) -> bytes:
        return bytes(12) + bytes.fromhex(text[2:])

    domain = keccak256(
        keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        + keccak256(b"USD Coin")
        + keccak256(b"2")
        + word(8453)
        + address("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")
    )
    message = keccak256(
        keccak256(
            b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
            b"uint256 validBefore,bytes32 nonce)"
        )
        + address(payer)
        + address(PAY_TO)
        + word(amount)
        + word(0)
        + word(VALID_BEFORE)
        + nonce
    )
    return keccak256(b"\x19\x01" + domain + message)


@pytest.fixture
def shop() -> Iterator[Shop]:
    opened = Shop()
    with opened.market:
        try:
            opened.asked(1)
        except calyx.Unsupported as lacking:
            assert lacking.reason == "not_built"
            pytest.skip("built without libsecp256k1")
        yield opened


def test_xm_05_a_call_without_a_key_says_what_it_costs_and_its_payment_makes_it(shop: Shop) -> None:
    asked = shop.asked(100)
    assert asked["resource"]["url"] == "https://calyx.example/orders"
    assert asked["accepts"][0]["amount"] == "1000000"
    words = shop.words(100)
    paid = shop.market.pay_for_call(100, words)
    assert paid.answer.payment.status == "paid"
    assert json.loads(base64.b64decode(paid.answer.response or ""))["success"] is True
    assert paid.session is not None
    own = paid.session.own
    assert own.owner_id == "eip155:8453:" + shop.payer.address
    assert own.balance == 100
    assert own.spend("order", 60).amount_locked == 60
    # The same words are the same payment and the same budget, also at another price.
    again = shop.market.pay_for_call(7, words)
    assert again.answer.payment.replayed
    assert again.session is not None
    with pytest.raises(calyx.Refused) as spent:
        again.session.own.spend("other", 41)
    assert spent.value.reason == "budget_spent"
    assert again.session.own.spend("other", 40).amount_locked == 40
    with pytest.raises(calyx.Conflict) as reused:
        shop.market.pay_for_call(100, words, header="X-PAYMENT")
    assert reused.value.reason == "payment_reused"
    assert shop.tokens.settlements == 1
    # A key is for who pays by MPP.
    with pytest.raises(calyx.NotFound) as unknown:
        shop.market.issue_management_key(paid.answer.payment)
    assert unknown.value.reason == "payment_unknown"


def test_what_pays_for_no_call_is_refused_and_said_so_in_the_next_402(shop: Shop) -> None:
    with pytest.raises(calyx.Invalid) as nothing:
        shop.market.challenge_for_call(0)
    assert (nothing.value.reason, nothing.value.details["field"]) == ("amount_zero", "/price")
    with pytest.raises(calyx.Refused) as dearer:
        shop.market.pay_for_call(101, shop.words(100))
    assert dearer.value.reason == "payment_invalid"
    told = shop.market.challenge_for_call(101, refused=dearer.value)
    assert told.body["error"] == dearer.value.details["code"]
    with pytest.raises(calyx.Invalid) as malformed:
        shop.market.pay_for_call(100, "?")
    assert malformed.value.reason == "payment_malformed"
    with pytest.raises(calyx.Invalid) as nowhere:
        shop.market.pay_for_call(100, "?", header="X-Money")
    assert nowhere.value.details["field"] == "header"
    assert list(shop.market.wallets()) == []


def test_a_payment_that_still_settles_has_no_session_yet(shop: Shop) -> None:
    class Slow:
        done = False

        def verify(self, payment: calyx.VerifiedPayment) -> SettlementAnswer:
            return SettlementAnswer.valid()

        def settle(self, key: str, payment: calyx.VerifiedPayment) -> SettlementAnswer:
            return SettlementAnswer.pending()

        def status(self, key: str) -> SettlementAnswer:
            return SettlementAnswer.settled("0xf00d") if self.done else SettlementAnswer.pending()

    slow = Slow()
    shop.market.set_settlement(slow)
    words = shop.words(100)
    waits = shop.market.pay_for_call(100, words)
    assert (waits.answer.payment.status, waits.answer.response, waits.session) == ("settling", None, None)
    slow.done = True
    paid = shop.market.pay_for_call(100, words)
    assert paid.answer.payment.id == waits.answer.payment.id
    assert paid.session is not None


def test_xm_39_who_pays_by_mpp_is_given_a_key_once(shop: Shop) -> None:
    paid = shop.market.pay_for_call(100, shop.credential(100), header="Authorization")
    assert paid.answer.payment.status == "paid"
    assert paid.answer.payment.facts.protocol == "mpp"
    issued = shop.market.issue_management_key(paid.answer.payment)
    assert issued.api_key is not None
    assert issued.api_key.startswith("x402c_")
    assert issued.key.kind == "compute"
    assert paid.session is not None
    assert shop.market.session(issued.api_key).wallet_id == paid.session.wallet_id
    again = shop.market.issue_management_key(paid.answer.payment.id)
    assert (again.api_key, again.replayed, again.id) == (None, True, issued.id)


def test_threads_that_pay_for_one_call_pay_once(shop: Shop) -> None:
    words = shop.words(100)
    paid: list[calyx.PaidCall] = []

    def pay() -> None:
        paid.append(shop.market.pay_for_call(100, words))

    threads = [threading.Thread(target=pay) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.answer.payment.id for one in paid}) == 1
    assert len(paid) == 8
    assert shop.tokens.settlements == 1
    (wallet,) = shop.market.wallets()
    assert wallet.balance == 100
