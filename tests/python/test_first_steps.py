"""The documents' own story, as Python tells it."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from decimal import Decimal
from pathlib import Path

import calyx
import pytest
from conftest import OUTPUT_HASH, settle


def test_the_first_example_works_as_it_is_written(path: Path) -> None:
    market = calyx.open(str(path))
    owner = market.create_wallet(owner_type="human", owner_id="alice")
    agent = market.create_wallet(owner_type="agent", owner_id="research-agent-v1", parent=owner,
                                 spend_cap_per_job=5.00, approval_threshold=20.00,
                                 allowed_gpu_types=["RTX 4090", "A100"])  # fmt: skip
    host = market.create_wallet(owner_type="human", owner_id="gpu-farm")
    market.topup(owner, 2000); owner.fund(agent, 12.40)  # noqa: E702
    assert str(agent.balance) == "12.40"

    spent = agent.spend("job-441", 4.00, gpu_type="RTX 4090")
    assert (str(spent.amount_locked), str(spent.new_balance)) == ("4.00", "8.40")

    earned = host.earn("job-441", 3.80, OUTPUT_HASH, "RTX 4090", 10082)
    assert [str(earned.gross_amount), str(earned.platform_fee), str(earned.net_payout), str(earned.new_balance)] == [
        "3.80",
        "0.57",
        "3.23",
        "3.23",
    ]
    assert str(agent.balance) == "8.60"

    receipt = earned.receipt
    assert receipt.verified is True
    assert receipt.flops_spent == Decimal("3.80")
    assert receipt.output_hash == f"sha256:{OUTPUT_HASH}"
    assert receipt.gpu_model == "RTX 4090"
    assert receipt.duration_seconds == 10082
    assert market.verify(receipt)
    market.close()


def test_a_wallet_is_opened_by_its_key_as_the_sdk_shows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet("human", "alice")
        agent = market.create_wallet("agent", "research-agent-v1", owner)
        market.topup(owner, 2000)
        owner.fund(agent, 12.40)
        key = agent.api_key
    assert key is not None and key.startswith("cyx_live_")

    monkeypatch.setenv("CALYX_MARKET", str(path))
    wallet = calyx.Wallet(api_key=key, spend_cap_per_job=5.00, allowed_gpus=["RTX 4090", "A100"])
    print(wallet.balance)
    assert f"{wallet.balance}" == "12.40"
    assert wallet == agent
    assert wallet.spend_cap_per_job == 5
    assert wallet.allowed_gpu_types == ["RTX 4090", "A100"]

    with pytest.raises(calyx.Refused) as refused:
        wallet.spend("job-1", 5.01, gpu_type="A100")
    assert refused.value.reason == "spend_cap_per_job"
    assert refused.value.details["room"] == 5
    with pytest.raises(calyx.Refused) as refused:
        wallet.spend("job-1", 4, gpu_type="H100")
    assert refused.value.reason == "gpu_not_allowed"
    with pytest.raises(calyx.Refused) as refused:
        wallet.spend("job-1", 4)
    assert refused.value.reason == "gpu_not_allowed"
    with pytest.raises(calyx.Refused) as refused:
        wallet.transfer(owner, 5.01)
    assert refused.value.reason == "spend_cap_per_job"
    assert wallet.balance == Decimal("12.40")

    assert wallet.spend("job-1", 4, gpu_type="A100").new_balance == Decimal("8.40")
    with pytest.raises(calyx.Refused) as refused:
        wallet.submit(image="pytorch/pytorch:2.3", command="python train.py", gpu_type="H100", max_budget=4.00)
    assert refused.value.reason == "gpu_not_allowed"
    # Another wallet of the same file shares its engine: the first one's writes are there at once.
    assert calyx.Wallet(api_key=key).balance == Decimal("8.40")


def test_a_key_alone_makes_no_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALYX_MARKET", str(tmp_path / "none.db"))
    for market in (None, tmp_path / "none.db"):
        with pytest.raises(calyx.NotFound) as missing:
            calyx.Wallet(api_key="cyx_live_x", market=market)
        assert missing.value.reason == "file_missing"
    assert list(tmp_path.iterdir()) == []


def test_what_a_wallet_tightens_is_judged_where_the_policy_is(market: calyx.Market, they) -> None:
    loose = calyx.Wallet(they.agent.api_key, market=market)
    loose.spend("job-1", 4, gpu_type="A100")
    tight = calyx.Wallet(they.agent.api_key, spend_cap_per_job=2, allowed_gpus=["RTX 4090"], market=market)
    # A replay comes before the rules, as it does for the policy's own.
    assert tight.spend("job-1", 4, gpu_type="A100").replayed
    with pytest.raises(calyx.Conflict):
        tight.spend("job-1", 5, gpu_type="A100")
    # And the wallet's state before the rules.
    they.agent.freeze()
    with pytest.raises(calyx.Refused) as refused:
        tight.spend("job-2", 3, gpu_type="H100")
    assert refused.value.reason == "wallet_not_active"
    they.agent.unfreeze()
    for call, reason in (
        (lambda: tight.spend("job-2", 3, gpu_type="RTX 4090"), "spend_cap_per_job"),
        (lambda: tight.spend("job-2", 3, gpu_type="A100"), "gpu_not_allowed"),
        (lambda: tight.transfer(they.owner, 2.01), "spend_cap_per_job"),
        (lambda: tight.payout(2.01, "bank"), "spend_cap_per_job"),
    ):
        with pytest.raises(calyx.Refused) as refused:
            call()
        assert refused.value.reason == reason
        assert refused.value.details["owner"] == "session"


def test_a_narrowed_session_binds_all_that_goes_out_through_it(market: calyx.Market, they) -> None:
    session = market.session(they.agent.api_key).narrowed(spend_cap_per_job=3).narrowed(spend_cap_per_hour=4)
    own = session.own
    assert (own.spend_cap_per_job, own.spend_cap_per_hour) == (3, 4)
    assert own.state().spend_cap_per_hour is None
    first, second, third = session.bulk(
        [
            calyx.Spend(own, "a", 3.5, gpu_type="A100"),
            calyx.Spend(own, "b", 3, gpu_type="A100"),
            calyx.Transfer(own, they.owner, 1.5),
        ]
    )
    assert (first.reason, third.reason) == ("spend_cap_per_job", "spend_cap_per_hour")
    assert isinstance(second, calyx.Spent)
    assert session.narrowed(allowed_gpu_types=[]).own.allowed_gpu_types == []
    with pytest.raises(calyx.Invalid) as invalid:
        session.narrowed(spend_cap_per_job=-1)
    assert invalid.value.details["field"] == "/spend_cap_per_job"


def test_what_a_wallets_arguments_say_never_loosens_its_policy(market: calyx.Market, they) -> None:
    wallet = calyx.Wallet(they.agent.api_key, spend_cap_per_job=100, allowed_gpus=["A100", "H100"], market=market)
    assert wallet.spend_cap_per_job == 5
    assert wallet.allowed_gpu_types == ["A100"]
    for amount, gpu, reason in ((6, "A100", "spend_cap_per_job"), (4, "H100", "gpu_not_allowed")):
        with pytest.raises(calyx.Refused) as refused:
            wallet.spend("job-1", amount, gpu_type=gpu)
        assert refused.value.reason == reason
    with pytest.raises(calyx.Refused):
        calyx.Wallet(they.agent.api_key, allowed_gpus=[], market=market).spend("job-1", 4, gpu_type="A100")


def test_a_wallet_needs_a_market_and_a_wallets_key(market: calyx.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALYX_MARKET", raising=False)
    with pytest.raises(calyx.Invalid, match="CALYX_MARKET"):
        calyx.Wallet(api_key="cyx_live_x")
    with pytest.raises(calyx.Refused) as refused:
        calyx.Wallet(api_key="cyx_live_x", market=market)
    assert refused.value.reason == "unauthorized"
    operators = market.issue_operator_key("tests")
    with pytest.raises(calyx.Invalid, match="operator"):
        calyx.Wallet(api_key=operators.api_key, market=market)
    assert market.session(operators.api_key).role == "operator"


def test_a_wallets_books_can_be_read(market: calyx.Market, they) -> None:
    earned = settle(they)
    they.agent.spend("job-442", 1, gpu_type="A100", host=they.host, expires_in=60)
    they.agent.release("never-seen")

    assert [(entry.kind, str(entry.amount), entry.job_id) for entry in they.agent.entries()] == [
        ("transfer", "12.40", None),
        ("spend", "-4.00", "job-441"),
        ("earn", "0.20", "job-441"),
        ("spend", "-1.00", "job-442"),
    ]
    states = {escrow.job_id: escrow for escrow in they.agent.escrows()}
    assert states["job-441"].state == "settled"
    assert states["job-441"].receipt_id == earned.receipt_id
    assert states["job-442"].state == "open"
    assert states["job-442"].host_id == they.host.id
    assert (states["job-442"].expires_at - states["job-442"].locked_at).total_seconds() == 60
    assert [receipt.id for receipt in they.host.receipts()] == [earned.receipt_id]
    assert [wallet.owner_id for wallet in market.wallets()] == ["alice", "research-agent-v1", "gpu-farm"]
    assert len(list(market.wallets(limit=2))) == 2

    state = they.agent.state()
    assert state.held == 1
    assert state.parent_id == they.owner.id
    assert state.created_at.isoformat() == "2026-04-01T21:00:00+00:00"


def test_a_list_is_read_on_page_after_page(market: calyx.Market, they) -> None:
    for at in range(0, 2100, 700):
        market.bulk([calyx.TopUp(they.host, 1, reference=f"r{n}") for n in range(at, at + 700)])
    entries = list(they.host.entries())
    assert len(entries) == 2100
    assert len({entry.txn_id for entry in entries}) == 2100
    assert len(list(they.host.entries(limit=1500))) == 1500


def test_a_key_acts_with_its_own_rights_alone(market: calyx.Market, they) -> None:
    agents = market.session(they.agent.api_key)
    assert (agents.role, agents.wallet_id) == ("agent", they.agent.id)
    assert str(agents.own.balance) == "12.40"
    for call in (
        lambda: agents.wallet(they.owner.id),
        lambda: agents.topup(they.agent, 1),
        lambda: agents.own.set_policy(spend_cap_per_job=None),
        lambda: agents.audit(),
    ):
        with pytest.raises(calyx.Refused):
            call()

    humans = market.session(they.owner.api_key)
    humans.wallet(they.agent.id).set_policy(spend_cap_per_job=3, allowed_gpu_types=None)
    state = they.agent.state()
    assert (state.spend_cap_per_job, state.allowed_gpu_types, state.approval_threshold) == (3, None, 20)
    assert humans.wallet(they.agent.id).freeze().status == "frozen"
    with pytest.raises(calyx.Refused) as refused:
        agents.own.spend("job-1", 1)
    assert refused.value.reason == "wallet_not_active"
    assert humans.wallet(they.agent.id).unfreeze().status == "active"

    issued = they.agent.issue_key("second")
    assert issued.api_key is not None and issued.api_key not in repr(issued)
    assert [key.label for key in they.agent.keys()][-1] == "second"
    rotated = market.rotate_key(issued)
    with pytest.raises(calyx.Refused):
        market.session(issued.api_key)
    assert market.session(rotated.api_key).own == they.agent
    assert market.revoke_key(rotated).revoked_at is not None


def test_a_human_approves_what_an_agent_asks(market: calyx.Market, they) -> None:
    they.agent.set_policy(spend_cap_per_job=None, approval_threshold=2)
    with pytest.raises(calyx.Refused) as refused:
        they.agent.spend("job-1", 4, gpu_type="A100")
    assert refused.value.reason == "approval_required"
    [waiting] = they.agent.approvals()
    assert waiting.id == refused.value.details["approval_id"]
    assert (waiting.status, waiting.operation, waiting.amount) == ("pending", "spend", 4)
    assert market.session(they.owner.api_key).approve(waiting).status == "approved"
    assert they.agent.spend("job-1", 4, gpu_type="A100").amount_locked == 4
    with pytest.raises(calyx.Conflict):
        market.deny(waiting.id)


def test_an_escrow_expires_by_the_markets_clock(they, clock) -> None:
    they.agent.spend("job-1", 4, gpu_type="A100", expires_in=60)
    clock.pass_seconds(60)
    assert they.agent.state().expired_pending == 4
    with pytest.raises(calyx.Conflict) as conflict:
        they.host.earn("job-1", 4, OUTPUT_HASH, "A100", 60)
    assert conflict.value.reason == "escrow_expired"


def test_a_repeated_call_moves_money_once(market: calyx.Market, they) -> None:
    first = they.agent.spend("job-1", 4, gpu_type="A100")
    again = they.agent.spend("job-1", 4, gpu_type="A100")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.txn_id == first.txn_id
    assert they.agent.balance == Decimal("8.40")
    assert market.topup(they.owner, 5, idempotency_key="k").replayed is False
    assert market.topup(they.owner, 5, idempotency_key="k").replayed is True
    created = market.create_wallet("human", "bob", idempotency_key="b")
    replay = market.create_wallet("human", "bob", idempotency_key="b")
    assert replay == created
    assert created.api_key is not None and replay.api_key is None and replay.replayed


def test_many_operations_share_a_commit_and_each_has_its_outcome(market: calyx.Market, they) -> None:
    commits = market.stats().commits
    outcomes = market.bulk(
        [
            calyx.Spend(they.agent, "a", 4, gpu_type="A100"),
            calyx.Spend(they.agent, "b", 6, gpu_type="A100"),
            calyx.Earn(they.host, "a", 3.80, OUTPUT_HASH, "A100", 1),
            calyx.Release(they.agent, "c"),
            calyx.TopUp(they.owner, 1, reference="r"),
            calyx.Transfer(they.owner, they.host, 1),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        calyx.Spent,
        calyx.Refused,
        calyx.Earned,
        calyx.Released,
        calyx.Moved,
        calyx.Moved,
    ]
    assert outcomes[1].reason == "spend_cap_per_job"
    assert outcomes[2].receipt.verified
    assert outcomes[3].burned
    assert market.stats().commits == commits + 1
    with pytest.raises(calyx.Invalid) as invalid:
        market.bulk([calyx.TopUp(they.owner, 1), calyx.TopUp(they.owner, "x")])
    assert invalid.value.details["field"] == "/operations/1/amount"
    assert market.stats().commits == commits + 1


def test_money_leaves_and_comes_from_outside(market: calyx.Market, they) -> None:
    granted = market.grant(they.host)
    assert (granted.amount, granted.remaining) == (2000, 49)
    with pytest.raises(calyx.Conflict):
        market.grant(they.host)
    first, second = (they.host.payout(500, f"bank {n}") for n in (1, 2))
    assert first.status == "pending"
    assert market.confirm_payout(first).status == "confirmed"
    assert market.fail_payout(second.id).status == "failed"
    assert they.host.balance == 1500
    entry = market.join_waitlist("carol")
    approved = market.approve_waitlist(entry)
    assert approved.entry.status == "approved"
    assert approved.wallet.owner_id == "carol" and approved.wallet.api_key


def test_payouts_go_through_the_hosts_function(clock) -> None:
    told = []

    def pay_out(payout: calyx.Payout) -> str | None:
        told.append(payout)
        return {"now": "confirmed", "never": "failed"}.get(payout.destination)

    with calyx.open(clock=clock, pay_out=pay_out) as market:
        host = market.create_wallet("human", "gpu-farm")
        market.topup(host, 100)
        for where, balance in (("now", 90), ("never", 90), ("later", 80)):
            assert host.payout(10, where).status == "pending"  # as it was debited; what became of it is read
            assert host.balance == balance
        assert [payout.destination for payout in told] == ["now", "never", "later"]


def test_the_wire_answers_in_process(market: calyx.Market, they) -> None:
    key = market.issue_operator_key().api_key
    answer = market.request("GET", f"/v1/wallets/{they.agent.id}", {"X-API-Key": key})
    assert answer.status == 200
    assert str(answer.json()["balance"]) == "12.4"
    assert "json" in answer.header("content-type")
    answer = market.request(
        "POST", f"/v1/wallets/{they.owner.id}/topup", {"X-API-Key": key}, {"amount": Decimal("0.50")}
    )
    assert (answer.status, answer.json()["new_balance"]) == (200, Decimal("1988.1"))
    refused = market.request(
        "POST",
        f"/v1/wallets/{they.agent.id}/spend",
        {"X-API-Key": they.agent.api_key},
        b'{"job_id": "job-1", "amount": 6.00, "gpu_type": "A100"}',
    )
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "spend_cap_per_job"
    assert market.request("GET", "/v1/wallets").status == 401


def test_the_books_are_audited_and_exported(path: Path, tmp_path: Path) -> None:
    from conftest import people

    with calyx.open(path) as market:
        they = people(market)
        earned = settle(they)
        note = market.checkpoint()
        report = market.audit()
        assert report and report.first_fault is None and report.receipts == 1
        assert market.audit(earned.receipt, deep=True)
        assert market.audit(note)
        with pytest.raises(calyx.Invalid) as invalid:
            market.audit("neither a receipt nor a checkpoint")
        assert invalid.value.reason == "anchor_malformed"

        for format in ("csv", "jsonl", "hledger"):
            lines = list(market.export(format))
            assert lines
            with (tmp_path / "out.txt").open("w", encoding="utf-8") as text:
                assert market.export(format, text) is None
            assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "".join(lines)
            with (tmp_path / "out.bin").open("wb") as octets:
                market.export(format, octets)
            assert (tmp_path / "out.bin").read_bytes() == "".join(lines).encode()
        with pytest.raises(calyx.Invalid):
            market.export("xlsx")

        market.backup(tmp_path / "copy.db")
        assert os.path.getsize(tmp_path / "copy.db") > 0
        assert market.inclusion_proof(earned.receipt).size == 1
        assert market.consistency_proof(0, 1).path == []


def test_what_a_sink_raises_ends_the_export_and_comes_out(market: calyx.Market, they) -> None:
    class Full:
        def write(self, piece: str) -> None:
            raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        market.export("csv", Full())
    assert they.agent.balance  # the market goes on


def test_bulk_takes_whatever_can_be_walked_once(market: calyx.Market, they) -> None:
    def one(at: int) -> calyx.TopUp:
        return calyx.TopUp(they.owner, 1, reference=f"r{at}")

    assert [type(outcome) for outcome in market.bulk(one(at) for at in range(3))] == [calyx.Moved] * 3
    assert len(market.bulk((one(3), one(4)))) == 2
    assert len(market.bulk(iter([one(5)]))) == 1
    assert market.bulk([]) == market.bulk(iter(())) == []
    for nothing in (None, 5, "text", {}, one(6)):
        with pytest.raises(TypeError, match="Spend, Earn, Release, TopUp and Transfer"):
            market.bulk(nothing)
    assert len([entry for entry in they.owner.entries() if entry.kind == "topup"]) == 1 + 6


def test_answers_can_be_copied_sent_and_taken_apart(market: calyx.Market, they) -> None:
    earned = settle(they)
    issued = they.agent.issue_key("k")
    approved = market.approve_waitlist(market.join_waitlist("carol"))
    for record in (earned, issued, they.agent.state(), approved, calyx.Spend(they.agent, "j", 1)):
        dataclasses.asdict(record)
        assert copy.deepcopy(record) == copy.copy(record) == record
    assert set(dataclasses.asdict(earned)) == {
        "txn_id",
        "gross_amount",
        "platform_fee",
        "net_payout",
        "new_balance",
        "receipt_id",
        "replayed",
    }
    for record in (earned, issued, they.agent.state()):
        again = pickle.loads(pickle.dumps(record))
        assert again == record and repr(again) == repr(record)
    assert earned.receipt.verified
    for lost in (copy.copy(earned), copy.deepcopy(earned), pickle.loads(pickle.dumps(earned))):
        with pytest.raises(calyx.Invalid, match=earned.receipt_id):
            assert lost.receipt
    assert market.bulk([calyx.Earn(they.host, "job-441", 3.80, OUTPUT_HASH, "RTX 4090", 10082)])[0].receipt.verified
    for keep in (copy.copy(calyx.KEEP), copy.deepcopy(calyx.KEEP), pickle.loads(pickle.dumps(calyx.KEEP))):
        assert keep is calyx.KEEP
    for live in (market, market.session(they.agent.api_key), they.agent):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(live)


def test_things_say_what_they_are_and_take_no_slips(path: Path) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet("human", "alice")
        session = market.session(owner.api_key)
        assert repr(market) == f"<Market {str(path)!r}, open>"
        assert repr(session) == f"<Session of human {owner.id} in {str(path)!r}>"
        assert repr(calyx.open()) == "<Market in memory, open>"
        assert "cyx_" not in repr(market) + repr(session) + repr(owner)
        for thing, slip in ((owner, "spend_cap_per_jobs"), (owner, "spend_cap_per_job"), (market, "issuers")):
            with pytest.raises(AttributeError):
                setattr(thing, slip, 5)
    assert repr(market).endswith("closed>") and repr(session).endswith("closed>")


def test_operators_keys_can_be_seen_and_ended(market: calyx.Market, they) -> None:
    first, second = market.issue_operator_key("first"), market.issue_operator_key("second")
    assert [key.label for key in market.operator_keys()] == ["first", "second"]
    assert [key.id for key in market.operator_keys(limit=1)] == [first.id]
    market.revoke_key(second.id)
    assert [key.revoked_at is None for key in market.operator_keys()] == [True, False]
    with pytest.raises(calyx.Refused):
        market.session(they.owner.api_key).operator_keys()


@pytest.mark.parametrize("what", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_pay_out_comes_out_when_the_payout_is_recorded(clock, what: type[BaseException]) -> None:
    told = []

    def pay_out(payout: calyx.Payout) -> str | None:
        told.append(payout)
        raise what

    with calyx.open(clock=clock, pay_out=pay_out) as market:
        host = market.create_wallet("human", "gpu-farm")
        market.topup(host, 100)
        with pytest.raises(what):
            host.payout(10, "bank")
        assert host.balance == 90  # raised once, and recorded
        assert told[0].status == "pending"
        assert market.confirm_payout(told[0]).status == "confirmed"
