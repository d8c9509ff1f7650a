"""Wallets of other chains in Python: requests that they signed, how they sign in, the whitelist, and their keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import calyx
import pytest
from gateway.evm_wallet import EvmWallet, keccak256

VECTORS = Path(__file__).parents[1] / "vectors/payments/compute_auth_headers.json"
#: What the published clients signed, and the instant of that.
ROWS = {row["name"]: row for row in json.loads(VECTORS.read_text())["vectors"]}
SIGNED_AT_US = 1_767_225_600_000_000


class Door:
    """A market whose clock a test turns."""

    def __init__(self) -> None:
        self.us = SIGNED_AT_US
        self.market = calyx.open(clock=lambda: self.us)


@pytest.fixture
def door() -> Iterator[Door]:
    opened = Door()
    with opened.market:
        yield opened


def request_of(name: str, **changes: Any) -> calyx.SignedRequest:
    row = ROWS[name]
    asked = row["request"]
    given = {
        "method": asked["method"],
        "target": asked["path"],
        "headers": row["headers"],
        "body": asked["body"].encode(),
        **changes,
    }
    return calyx.SignedRequest(**given)


def personal_sign(wallet: EvmWallet, text: str) -> str:
    """EIP-191."""
    octets = text.encode()
    return wallet.sign(keccak256(b"\x19Ethereum Signed Message:\n" + str(len(octets)).encode() + octets))


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    with Door().market as market:
        try:
            market.session(request_of("evm_get_instances"))
        except calyx.Unsupported as lacking:
            assert lacking.reason == "not_built"
            pytest.skip("built without libsecp256k1")


def test_xm_06_a_signed_request_is_its_signers_once(door: Door) -> None:
    session = door.market.session(request_of("evm_get_instances"))
    address = ROWS["evm_get_instances"]["headers"]["X-Auth-Address"]
    assert (session.role, session.whitelisted) == ("human", False)
    assert session.own.owner_id == "eip155:8453:" + address
    with pytest.raises(calyx.Refused) as again:
        door.market.session(request_of("evm_get_instances"))
    assert (again.value.reason, again.value.details["code"]) == ("signature_invalid", "nonce_used")
    for changes, code in (
        ({"body": b"x"}, "signature"),
        ({"target": "/compute/instances?x"}, "signature"),
        ({"method": "POST"}, "signature"),
        ({"headers": {}}, "header_missing"),
    ):
        with pytest.raises(calyx.Refused) as refused:
            door.market.session(request_of("evm_get_instances", **changes))
        assert refused.value.details["code"] == code
    # In any case, as HTTP has it.
    headers = {name.upper(): value for name, value in ROWS["evm_post_api_key"]["headers"].items()}
    assert door.market.session(request_of("evm_post_api_key", headers=headers)).wallet_id != session.wallet_id
    door.us += 301_000_000
    with pytest.raises(calyx.Refused) as late:
        door.market.session(request_of("evm_post_topup_unicode"))
    assert late.value.details["code"] == "stale"
    with pytest.raises(calyx.Invalid):
        door.market.session(request_of("evm_get_instances", body="text"))
    headers = ROWS["evm_get_instances"]["headers"]
    twice = headers | {"x-auth-address": headers["X-Auth-Address"]}
    with pytest.raises(calyx.Invalid) as spelt:
        door.market.session(request_of("evm_get_instances", headers=twice))
    assert (spelt.value.reason, spelt.value.details["field"]) == ("malformed_header", "headers")


def test_xm_51_the_owners_signature_makes_keys_for_agents(door: Door) -> None:
    owner = door.market.session(request_of("evm_post_api_key"))
    issued = owner.issue_compute_key("my-agent", idempotency_key="k")
    assert issued.api_key is not None
    assert issued.api_key.startswith("x402c_")
    assert (issued.key.kind, issued.key.label, issued.key.expires_at) == ("compute", "my-agent", None)
    assert owner.issue_compute_key("my-agent", idempotency_key="k").replayed
    agent = door.market.session(issued.api_key)
    assert agent.wallet_id == owner.wallet_id
    with pytest.raises(calyx.Refused) as refused:
        agent.issue_compute_key()
    assert refused.value.reason == "signature_needed"
    assert [key.kind for key in owner.own.keys()] == ["compute"]


def test_cp_03_cp_04_a_wallet_on_the_whitelist_signs_in(door: Door) -> None:
    wallet = EvmWallet()
    with pytest.raises(calyx.Unsupported):
        door.market.sign_in_challenge("base", wallet.address)
    door.market.set_payment_terms(base_url="https://calyx.example")
    with pytest.raises(calyx.Invalid) as nowhere:
        door.market.sign_in_challenge("bitcoin", wallet.address)
    assert nowhere.value.details["field"] == "/chain"
    challenge = door.market.sign_in_challenge("base", wallet.address)
    assert challenge.message.startswith("calyx.example wants you to sign in")
    assert challenge.expires_at == datetime.fromtimestamp(SIGNED_AT_US / 1e6 + 300, timezone.utc)
    signature = personal_sign(wallet, challenge.message)
    with pytest.raises(calyx.Refused) as stranger:
        door.market.sign_in(challenge, signature)
    assert stranger.value.reason == "not_whitelisted"

    opened = door.market.whitelist("base", wallet.address)
    assert opened.owner_id == "eip155:8453:" + wallet.address
    with pytest.raises(calyx.Refused) as wrong:
        door.market.sign_in(challenge, personal_sign(EvmWallet(), challenge.message))
    assert wrong.value.reason == "signature_invalid"
    issued = door.market.sign_in(challenge.id, signature)
    assert issued.api_key is not None
    assert issued.api_key.startswith("fls_")
    assert issued.key.kind == "session"
    assert issued.key.expires_at == datetime.fromtimestamp(SIGNED_AT_US / 1e6 + 86_400, timezone.utc)
    session = door.market.session(issued.api_key)
    assert (session.wallet_id, session.whitelisted) == (opened.id, True)
    with pytest.raises(calyx.Refused) as used:
        door.market.sign_in(challenge, signature)
    assert (used.value.reason, used.value.details["code"]) == ("challenge_invalid", "used")
    with pytest.raises(calyx.Refused) as human:
        session.whitelist("base", wallet.address)
    assert human.value.reason == "operator_only"
    assert door.market.whitelist("base", wallet.address, allowed=False).id == opened.id
    assert not door.market.session(issued.api_key).whitelisted


def test_a_session_may_ask_for_the_whitelist(door: Door) -> None:
    with pytest.raises(calyx.Refused) as refused:
        door.market.session(request_of("evm_get_instances"), needs_whitelist=True)
    assert refused.value.reason == "not_whitelisted"
    door.market.whitelist("base", ROWS["evm_get_instances"]["headers"]["X-Auth-Address"])
    assert door.market.session(request_of("evm_get_instances"), needs_whitelist=True).whitelisted
