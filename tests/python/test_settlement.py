"""Payments in Python: who settles them, what it is asked and answers, and simulated tokens."""

from __future__ import annotations

import base64
import gc
import json
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import calyx
import pytest
from calyx import SettlementAnswer

VECTORS = Path(__file__).parents[1] / "vectors/payments/combined_402.json"
#: What x402's own client signed for 100 FLOPS of USDC on Base, and the instant of that.
SIGNED = json.loads(VECTORS.read_text())["vectors"][0]["client_retry_headers"]["@x402/fetch 2.27.0"]["PAYMENT-SIGNATURE"]
SIGNED_AT_US = 1_767_225_600_000_000
PAYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
BASE = calyx.PaymentNetwork("base", pay_to="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")


class Backend:
    """Who settles in these tests: it notes what it is asked, and answers what it was told to, or what that raises."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"verify": SettlementAnswer.valid(), "status": SettlementAnswer.unknown(), **answers}
        self.asked: list[tuple[Any, ...]] = []

    def _answer(self, call: str, *asked: Any) -> Any:
        self.asked.append((call, *asked))
        answer = self.answers[call]
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def verify(self, payment: calyx.VerifiedPayment) -> SettlementAnswer:
        return self._answer("verify", payment)

    def settle(self, key: str, payment: calyx.VerifiedPayment) -> SettlementAnswer:
        return self._answer("settle", key, payment)

    def status(self, key: str) -> SettlementAnswer:
        return self._answer("status", key)


class Till:
    """A market that takes payments on Base, and a wallet in it with a quote of 100 FLOPS."""

    def __init__(self, settlement: Any = None, path: Path | None = None) -> None:
        self.market = calyx.open(path, settlement=settlement, clock=lambda: SIGNED_AT_US)
        self.market.set_payment_terms(base_url="https://calyx.example", networks=[BASE])
        self.alice = self.market.create_wallet(owner_type="human", owner_id="alice")
        self.session = self.market.session(self.alice.api_key)
        self.quote = self.session.quote_topup(self.alice, 100)

    def pay(self) -> calyx.Payment:
        return self.session.pay_quote(self.quote, SIGNED).payment

    def present(self) -> calyx.Response:
        headers = {"X-API-Key": self.alice.api_key, "PAYMENT-SIGNATURE": SIGNED}
        return self.market.request("POST", self.quote.path, headers)


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    """Nothing can be paid by a signature that nobody here could check."""
    till = Till(Backend())
    try:
        till.session.payment_challenge(till.quote)
    except calyx.Unsupported as lacking:
        assert lacking.reason == "not_built"
        pytest.skip("built without libsecp256k1")


@contextmanager
def hearing() -> Iterator[list[Any]]:
    """What goes to ``sys.unraisablehook``. No fixture: pytest sets a hook of its own once those stand."""
    heard: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", lambda one: heard.append(one.exc_value))
        yield heard


SETTLED = SettlementAnswer.settled("0xf00d")


def spoilt(name: str, value: object) -> SettlementAnswer:
    """An answer that nobody could make by calling."""
    answer = SettlementAnswer.pending()
    object.__setattr__(answer, name, value)
    return answer


def test_a_backend_settles_a_payment_and_is_asked_in_calyx_words() -> None:
    backend = Backend(settle=SETTLED)
    till = Till(backend)
    answer = till.session.pay_quote(till.quote, SIGNED)
    paid = answer.payment
    assert (paid.status, paid.transaction, paid.credited, paid.replayed) == ("paid", "0xf00d", 100, False)
    assert json.loads(base64.b64decode(answer.response or ""))["transaction"] == "0xf00d"
    assert till.alice.balance == 100
    assert [one[0] for one in backend.asked] == ["verify", "settle"]
    (_, payment), (_, key, again) = backend.asked
    assert key == paid.id
    assert payment == again == paid.facts
    assert payment.protocol == "x402_v2"
    assert payment.network == "eip155:8453"
    assert payment.asset == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
    assert payment.payer == PAYER.lower()
    assert payment.pay_to == BASE.pay_to.lower()
    assert payment.amount == 1_000_000
    assert payment.credit == 100
    assert payment.valid_before.utcoffset() is not None
    assert payment.payload == SIGNED
    assert payment.on_chain is None
    with pytest.raises(AttributeError):
        payment.amount = 2  # type: ignore[misc]

    again_paid = till.pay()
    assert again_paid.replayed
    assert again_paid.transaction == "0xf00d"
    assert len(backend.asked) == 2
    assert till.alice.balance == 100


def test_the_wire_and_the_session_pay_one_quote() -> None:
    till = Till(Backend(settle=SETTLED))
    challenge = till.session.payment_challenge(till.quote)
    asked = till.market.request("POST", till.quote.path, {"X-API-Key": till.alice.api_key})
    assert asked.status == 402
    assert asked.header("PAYMENT-REQUIRED") == challenge.payment_required
    required = json.loads(base64.b64decode(challenge.payment_required))
    assert required["resource"]["url"] == "https://calyx.example" + till.quote.path
    assert challenge.body["accepts"][0]["payTo"] == BASE.pay_to
    assert till.present().status == 200
    assert till.pay().replayed
    (quote,) = till.session.quotes(till.alice)
    assert quote.id == till.quote.id
    assert quote.status == till.session.quote(till.quote.id).status == "paid"
    assert [one.credited for one in quote.payments] == [100]


@pytest.mark.parametrize(
    ("settle", "status", "balance"),
    [
        (SETTLED, "paid", "100"),
        (SettlementAnswer.settled("t", 12.5), "paid", "12.5"),
        (SettlementAnswer.settled("t", Decimal("0.000001")), "paid", "0.000001"),
        (SettlementAnswer.settled("t", 0), "settling", "0"),
        (SettlementAnswer.settled("t\n"), "settling", "0"),
        (SettlementAnswer.pending(), "settling", "0"),
        (SettlementAnswer.unavailable(), "settling", "0"),
        (SettlementAnswer.valid(), "settling", "0"),
        (SettlementAnswer.refused("insufficient_funds"), "failed", "0"),
    ],
)
def test_what_an_answer_comes_to(settle: SettlementAnswer, status: str, balance: str) -> None:
    till = Till(Backend(settle=settle))
    with hearing() as told:
        payment = till.pay()
    assert payment.status == status
    assert till.alice.balance == Decimal(balance)
    assert payment.error == ("insufficient_funds" if status == "failed" else None)
    assert told == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ZeroDivisionError("by the backend"), "by the backend"),
        (calyx.Refused("insufficient_funds", "none left"), "none left"),
        (None, "settle gives a SettlementAnswer, not NoneType"),
        ("settled", "settle gives a SettlementAnswer, not str"),
        (spoilt("outcome", "done"), "no outcome done"),
        (spoilt("reason", 7), "Unable to cast"),
    ],
)
def test_what_is_no_answer_counts_as_unavailable_and_python_is_told(answer: Any, says: str) -> None:
    backend = Backend(settle=answer)
    till = Till(backend)
    with hearing() as told:
        assert till.pay().status == "settling"
    assert till.alice.balance == 0
    assert len(told) == 1
    assert says in str(told[0])
    # Nothing was lost: the same payment again goes on from there.
    backend.answers["settle"] = SETTLED
    assert till.pay().status == "paid"
    assert [one[0] for one in backend.asked] == ["verify", "settle", "status", "settle"]


def test_an_interrupt_is_raised_by_the_call_that_was_under_way() -> None:
    backend = Backend(settle=KeyboardInterrupt())
    till = Till(backend)
    with hearing() as told, pytest.raises(KeyboardInterrupt):
        till.pay()
    assert told == []
    assert till.session.quote(till.quote).status == "settling"
    backend.answers["settle"] = SETTLED
    assert till.present().status == 200


def test_payments_under_way_are_settled_by_the_operator() -> None:
    backend = Backend(settle=SettlementAnswer.pending(), status=SettlementAnswer.pending())
    till = Till(backend)
    assert till.present().status == 202
    assert till.market.settle_payments() == calyx.PaymentRound(paid=0, failed=0, waiting=1)
    backend.answers["status"] = SETTLED
    assert till.market.settle_payments() == calyx.PaymentRound(paid=1, failed=0, waiting=0)
    assert till.market.settle_payments() == calyx.PaymentRound(paid=0, failed=0, waiting=0)
    assert till.alice.balance == 100
    with pytest.raises(calyx.Refused):
        till.session.settle_payments()


def test_who_settles_can_be_set_later_and_a_call_under_way_ends_as_it_began() -> None:
    till = Till()
    with pytest.raises(calyx.Unsupported) as nobody:
        till.pay()
    assert nobody.value.reason == "unsupported"
    with pytest.raises(calyx.Unsupported):
        till.market.settle_payments()

    second = Backend(settle=SettlementAnswer.settled("second"))

    def replaces() -> SettlementAnswer:
        till.market.set_settlement(second)
        return SettlementAnswer.valid()

    till.market.set_settlement(Backend(verify=replaces, settle=SettlementAnswer.settled("first")))
    assert till.pay().transaction == "first"
    assert second.asked == []
    till.market.set_settlement(None)
    assert till.pay().replayed  # what has ended needs nobody
    with pytest.raises(calyx.Unsupported):
        till.session.payment_challenge(till.session.quote_topup(till.alice, 1))


def test_a_backend_may_call_the_market_and_close_it() -> None:
    till = Till()
    seen: list[Any] = []

    def looks() -> SettlementAnswer:
        seen.append(till.alice.balance)
        return SettlementAnswer.valid()

    def closes() -> SettlementAnswer:
        till.market.close()
        return SETTLED

    till.market.set_settlement(Backend(verify=looks, settle=closes))
    assert till.pay().status == "paid"
    assert seen == [0]
    assert till.market.closed
    with pytest.raises(calyx.Unavailable):
        till.market.set_settlement(None)


def test_a_backend_is_let_go_when_it_is_replaced_and_when_its_market_is_closed() -> None:
    def gone(what: weakref.ref[Any]) -> bool:
        gc.collect()
        return what() is None

    first, second = Backend(settle=SETTLED), Backend(settle=SETTLED)
    refs = weakref.ref(first), weakref.ref(second)
    till = Till(first)
    till.pay()
    del first
    assert not gone(refs[0])
    till.market.set_settlement(second)
    assert gone(refs[0])
    del second
    assert not gone(refs[1])
    till.market.close()
    assert gone(refs[1])


@pytest.mark.parametrize(
    "wrong", [7, "https://x402.example", Backend, object(), lambda call: None, type("Half", (), {"verify": len})()]
)
def test_what_cannot_settle_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(calyx.Invalid, match="settlement takes an object with verify, settle and status") as refused:
        calyx.open(settlement=wrong)
    assert refused.value.reason == "options_invalid"
    backend = Backend(settle=SETTLED)
    till = Till(backend)
    with pytest.raises(calyx.Invalid):
        till.market.set_settlement(wrong)
    assert till.pay().status == "paid"


@pytest.mark.parametrize(
    "make",
    [
        lambda: SettlementAnswer.settled(""),
        lambda: SettlementAnswer.settled(7),  # type: ignore[arg-type]
        lambda: SettlementAnswer.settled("t", "ten"),
        lambda: SettlementAnswer.settled("t", -1),
        lambda: SettlementAnswer.refused(None),  # type: ignore[arg-type]
        lambda: SettlementAnswer("done"),
        lambda: SettlementAnswer(None),  # type: ignore[arg-type]
        lambda: SettlementAnswer("settled"),
    ],
)
def test_an_answer_that_says_nothing_is_invalid(make: Callable[[], Any]) -> None:
    with pytest.raises(calyx.Invalid):
        make()


def test_eight_threads_bring_one_payment_and_it_is_credited_once() -> None:
    together = threading.Barrier(8)
    backend = Backend(settle=SETTLED, status=SETTLED)
    till = Till(backend)
    statuses: list[str] = []

    def bring() -> None:
        together.wait()
        statuses.append(till.pay().status)

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 8
    assert till.alice.balance == 100


def test_the_gil_is_free_while_the_engine_works_and_held_in_the_backend() -> None:
    inside, go = threading.Event(), threading.Event()

    def waits() -> SettlementAnswer:
        inside.set()
        assert go.wait(60)  # which lets other threads run, for a backend may take its time
        return SETTLED

    till = Till(Backend(settle=waits))
    paid: list[calyx.Payment] = []
    thread = threading.Thread(target=lambda: paid.append(till.pay()))
    thread.start()
    assert inside.wait(60)
    assert till.alice.balance == 0  # nobody waits for the one that is asked
    assert till.market.create_wallet(owner_type="human", owner_id="bob").balance == 0
    go.set()
    thread.join(60)
    assert paid[0].status == "paid"


def test_simulated_tokens_settle(tmp_path: Path) -> None:
    for path in (None, tmp_path / "tokens"):
        tokens = calyx.SimulatedTokens(path)
        till = Till(tokens)
        assert till.pay().error == "insufficient_funds"
        assert tokens.settlements == 0

        tokens.mint(PAYER, 3_000_000)
        till = Till(tokens)
        assert till.pay().status == "paid"
        assert tokens.settlements == 1
        assert tokens.balance(PAYER) == tokens.balance(PAYER.lower(), network="eip155:8453") == 2_000_000
        assert tokens.balance(BASE.pay_to) == 1_000_000
        assert tokens.balance(PAYER, network="megaeth") == 0
        # Its nonce is used: another market that is paid with it gets nothing.
        assert Till(tokens).pay().error == "nonce_used"
        assert tokens.settlements == 1
    again = calyx.SimulatedTokens(tmp_path / "tokens")
    assert (again.settlements, again.balance(PAYER)) == (1, 2_000_000)


def test_simulated_tokens_say_what_is_wrong(tmp_path: Path) -> None:
    tokens = calyx.SimulatedTokens()
    for wrong in (lambda: tokens.mint(PAYER, -1), lambda: tokens.mint("", 1), lambda: tokens.mint(PAYER, 10**38)):
        with pytest.raises(calyx.Invalid) as refused:
            wrong()
        assert refused.value.reason == "field_value"
    for wrong in (lambda: tokens.mint(PAYER, 1.5), lambda: tokens.balance(7), lambda: tokens.mint(PAYER, "1")):  # type: ignore[arg-type]
        with pytest.raises(calyx.Invalid) as refused:
            wrong()
        assert refused.value.reason == "field_type"
    with pytest.raises(calyx.Invalid):
        calyx.SimulatedTokens("")
    other = tmp_path / "other"
    other.write_text("no ledger\n")
    with pytest.raises(calyx.Corrupt):
        calyx.SimulatedTokens(other)
    with pytest.raises(calyx.Unavailable):
        calyx.SimulatedTokens(tmp_path / "nowhere/tokens")


def test_quotes_and_terms_say_what_is_wrong() -> None:
    till = Till(Backend(settle=SETTLED))
    market, session = till.market, till.session
    once = session.quote_topup(till.alice, 5, expires_in=60, idempotency_key="k")
    again = session.quote_topup(till.alice, 5, expires_in=60, idempotency_key="k")
    assert (again.id, again.replayed, once.replayed) == (once.id, True, False)
    assert (again.expires_at - again.created_at).total_seconds() == 60
    with pytest.raises(calyx.Conflict):
        session.quote_topup(till.alice, 6, idempotency_key="k")
    with pytest.raises(calyx.NotFound) as unknown:
        session.quote("qte_1")
    assert unknown.value.reason == "quote_unknown"
    bob = market.create_wallet(owner_type="human", owner_id="bob")
    with pytest.raises(calyx.NotFound):
        market.session(bob.api_key).quote(once)
    with pytest.raises(calyx.Invalid) as malformed:
        session.pay_quote(once, "no payment")
    assert malformed.value.reason == "payment_malformed"
    with pytest.raises(calyx.Invalid) as header:
        session.pay_quote(once, SIGNED, header="X-Pay")
    assert header.value.details["field"] == "header"
    with pytest.raises(calyx.Refused) as invalid:
        session.pay_quote(once, SIGNED, header="payment-signature")
    assert invalid.value.reason == "payment_invalid"
    assert market.payment_terms().networks[0].network == "eip155:8453"
    for wrong in ({"networks": [calyx.PaymentNetwork("base", "0x12")]}, {"base_url": "calyx.example"}):
        with pytest.raises(calyx.Invalid) as refused:
            market.set_payment_terms(**wrong)  # type: ignore[arg-type]
        assert refused.value.reason == "field_value"
    with pytest.raises(calyx.Refused):
        session.set_payment_terms(realm="calyx.example")
    assert market.set_payment_terms(networks=[]).networks == []


SHUTDOWN = """
    import json, sys, threading
    sys.path.insert(0, {tests!r})
    from test_settlement import Backend, SETTLED, Till
    inside = threading.Event()

    def slow():
        inside.set()
        threading.Event().wait({wait})
        return SETTLED

    till = Till(Backend(settle=slow), {path!r})
    threading.Thread(target=till.present, daemon=True).start()
    inside.wait(60)
    print("bye")
"""


def test_an_interpreter_that_ends_while_a_backend_is_asked_ends_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    program = textwrap.dedent(SHUTDOWN).format(tests=str(Path(__file__).parent), path=str(path), wait=0.5)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "bye\n", "")
    # The call was waited for, so the payment stands.
    with calyx.open(path) as market:
        (wallet,) = market.wallets()
        assert wallet.balance == 100


@pytest.mark.parametrize("judges", [False, True])
def test_a_contracts_signature_reaches_only_who_judges_it(judges: bool) -> None:
    payment = json.loads(base64.b64decode(SIGNED))
    payment["payload"]["signature"] = "0x" + "ab" * 300
    words = base64.b64encode(json.dumps(payment).encode()).decode()
    backend = Backend(settle=SettlementAnswer.settled("0x" + "1" * 64))
    backend.judges_contracts = judges  # type: ignore[attr-defined]
    till = Till(backend)
    if judges:
        assert till.session.pay_quote(till.quote, words).payment.status == "paid"
        assert till.alice.balance == 100
        return
    with pytest.raises(calyx.Refused) as refused:
        till.session.pay_quote(till.quote, words)
    assert refused.value.details["code"] == "unexpected_verify_error"
    assert backend.asked == []
