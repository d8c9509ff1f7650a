"""Each status is an exception, and each exception says what happened in the engine's own word."""

from __future__ import annotations

import pickle
from pathlib import Path

import calyx
import pytest
from calyx import errors
from conftest import OUTPUT_HASH, settle

# Status, class, and the class of Python's own that it also is.
TABLE = [
    ("invalid", calyx.Invalid, ValueError),
    ("not_found", calyx.NotFound, LookupError),
    ("conflict", calyx.Conflict, calyx.Error),
    ("refused", calyx.Refused, calyx.Error),
    ("unavailable", calyx.Unavailable, calyx.Error),
    ("stopped", calyx.Stopped, calyx.Error),
    ("unsupported", calyx.Unsupported, calyx.Error),
    ("corrupt", calyx.Corrupt, calyx.Error),
    ("internal", calyx.Internal, calyx.Error),
    ("unknown", calyx.OutcomeUnknown, calyx.Error),
]


@pytest.mark.parametrize(("status", "kind", "also"), TABLE)
def test_a_status_is_a_class(status: str, kind: type[calyx.Error], also: type[Exception]) -> None:
    error = errors.of(status, "a_reason", "needs 6 FLOPS", {"room": 5})
    assert type(error) is kind
    assert isinstance(error, calyx.Error) and isinstance(error, also)
    assert (error.status, error.reason, error.message, error.details) == (
        status,
        "a_reason",
        "needs 6 FLOPS",
        {"room": 5},
    )
    assert str(error) == "a_reason: needs 6 FLOPS"
    assert str(errors.of(status, "field_type", "is 5", {"field": "/amount"})) == "field_type: /amount: is 5"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.reason, again.details) == (kind, "a_reason", {"room": 5})


def test_a_status_of_a_newer_engine_is_still_an_error() -> None:
    assert type(errors.of("novel", "r", "m", None)) is calyx.Error
    assert errors.of("novel", "r", "m", None).details == {}


def test_calls_raise_what_their_documentation_says(market: calyx.Market, they) -> None:
    settle(they, "job-0")
    they.agent.spend("job-1", 4, gpu_type="A100")
    stranger = "wlt_" + "0" * 26
    rows = [
        (calyx.Invalid, "agent_needs_parent", lambda: market.create_wallet("agent", "a")),
        (calyx.Invalid, "field_value", lambda: market.create_wallet("robot", "a")),
        (calyx.Invalid, "field_type", lambda: market.create_wallet("human", 7)),
        (calyx.Invalid, "not_utf8", lambda: market.create_wallet("human", "\ud800")),
        (calyx.Invalid, "field_type", lambda: they.agent.set_policy(allowed_gpu_types="A100")),
        (calyx.Invalid, "field_value", lambda: they.host.earn("job-1", 4, "sha256:no", "A100", 1)),
        (calyx.Invalid, "field_type", lambda: they.host.earn("job-1", 4, OUTPUT_HASH, "A100", 1.5)),
        (calyx.Invalid, "field_value", lambda: they.host.earn("job-1", 4, OUTPUT_HASH, "A100", -1)),
        (calyx.Invalid, "gross_above_locked", lambda: they.host.earn("job-1", 4.01, OUTPUT_HASH, "A100", 1)),
        (calyx.Invalid, "field_value", lambda: market.topup(they.owner, 1, idempotency_key="")),
        (calyx.NotFound, "wallet_unknown", lambda: market.wallet(stranger)),
        (calyx.NotFound, "wallet_unknown", lambda: market.wallet("no id")),
        (calyx.NotFound, "wallet_unknown", lambda: they.owner.fund("no id", 1)),
        (calyx.NotFound, "receipt_unknown", lambda: market.receipt("rcpt_" + "0" * 26)),
        (calyx.NotFound, "approval_unknown", lambda: market.approve("apr_x")),
        (calyx.NotFound, "job_unknown", lambda: they.host.earn("job-9", 4, OUTPUT_HASH, "A100", 1)),
        (calyx.Conflict, "job_id_reused", lambda: they.agent.spend("job-1", 3, gpu_type="A100")),
        (calyx.Conflict, "already_settled", lambda: they.host.earn("job-0", 1, OUTPUT_HASH, "A100", 1)),
        (calyx.Refused, "gpu_not_allowed", lambda: they.agent.spend("job-2", 4, gpu_type="H100")),
        (calyx.Refused, "spend_cap_per_job", lambda: they.agent.spend("job-2", 6, gpu_type="A100")),
        (calyx.Refused, "insufficient_balance", lambda: they.host.spend("job-2", 5000)),
        (calyx.Refused, "unauthorized", lambda: market.session("cyx_live_no")),
        (calyx.Invalid, "field_missing", lambda: they.agent.submit()),
    ]
    for kind, reason, call in rows:
        with pytest.raises(calyx.Error) as raised:
            call()
        assert (type(raised.value), raised.value.reason) == (kind, reason)


def test_a_refusal_holds_the_numbers(they) -> None:
    with pytest.raises(calyx.Refused) as refused:
        they.agent.spend("job-1", 6, gpu_type="A100")
    details = refused.value.details
    assert (details["needed"], details["limit"], details["room"], details["shortfall"]) == (6, 5, 5, 1)
    assert {str(details[name]) for name in ("needed", "limit", "room", "shortfall")} == {"6.00", "5.00", "1.00"}
    assert all(type(details[name]) is calyx.Flops for name in ("needed", "limit", "room", "shortfall"))
    assert "needs 6 FLOPS" in refused.value.message


def test_the_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no market at all" * 1000)
    rows = [
        (calyx.NotFound, "file_missing", lambda: calyx.open(tmp_path / "none.db", read_only=True)),
        (calyx.Corrupt, "not_a_market", lambda: calyx.open(tmp_path / "other.db")),
        (calyx.Invalid, "path_refused", lambda: calyx.open("")),
        (calyx.Invalid, "options_invalid", lambda: calyx.open(3)),
        (calyx.Invalid, "options_invalid", lambda: calyx.open(True)),
        (calyx.Invalid, "options_invalid", lambda: calyx.open(fee_basis_points=10_001)),
        (calyx.Invalid, "options_invalid", lambda: calyx.open(clock=5)),
        (calyx.Invalid, "options_invalid", lambda: calyx.open(busy_timeout_ms=-1)),
    ]
    for kind, reason, call in rows:
        with pytest.raises(calyx.Error) as raised:
            call()
        assert (type(raised.value), raised.value.reason) == (kind, reason)
    assert not (tmp_path / "none.db").exists()


def test_a_market_opened_for_reading_is_not_written(path: Path) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet("human", "alice")
        market.topup(owner, 5)
    with calyx.open(path, read_only=True) as market:
        [owner] = market.wallets()
        assert owner.balance == 5
        with pytest.raises(calyx.Unsupported) as unsupported:
            market.topup(owner, 5)
        assert unsupported.value.reason == "read_only"
        assert market.audit()


def test_every_amount_in_an_errors_details_is_flops(market: calyx.Market, they) -> None:
    settle(they, "job-0")
    they.agent.spend("job-1", 4, gpu_type="A100")
    they.agent.set_policy(spend_cap_per_job=None, spend_cap_per_hour=10.5)
    calls = [
        lambda: they.agent.spend("job-2", "6.25", gpu_type="A100"),
        lambda: they.host.spend("job-2", 5000),
        lambda: they.host.transfer(they.owner, 5000),
        lambda: they.host.payout(5000, "bank"),
        lambda: they.host.earn("job-1", 4.01, OUTPUT_HASH, "A100", 1),
    ]
    outcomes = [market.bulk([calyx.Spend(they.host, "job-3", 5000)])[0].details]
    for call in calls:
        with pytest.raises(calyx.Error) as raised:
            call()
        outcomes.append(raised.value.details)
    from decimal import Decimal

    for details in outcomes:
        amounts = [value for value in details.values() if isinstance(value, (float, Decimal))]
        assert amounts and all(type(amount) is calyx.Flops for amount in amounts), details


def test_a_strange_id_is_named_and_details_are_always_a_dictionary(market: calyx.Market) -> None:
    for call in (lambda: market.wallet("no id"), lambda: market.revoke_key("k"), lambda: market.session("cyx_live_x")):
        with pytest.raises(calyx.Error) as raised:
            call()
        assert isinstance(raised.value.details, dict)
        assert "cyx_" not in str(raised.value)
