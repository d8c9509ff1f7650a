"""Threads and processes: no credit is lost, the GIL is free while a call waits, and nothing hangs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import calyx
import pytest
from conftest import OUTPUT_HASH, people, supply

THREADS = 8
JOBS = 40


def test_eight_threads_spend_and_earn_and_no_credit_is_lost(path: Path) -> None:
    with calyx.open(path) as market:
        they = people(market)
        they.agent.set_policy(spend_cap_per_job=None, approval_threshold=None)
        they.owner.fund(they.agent, 1000)
        before = supply(market)
        agents, hosts = (market.session(wallet.api_key).own for wallet in (they.agent, they.host))

        def work(thread: int) -> int:
            fees = 0
            for at in range(JOBS):
                job = f"job-{thread}-{at}"
                agents.spend(job, 1.5, gpu_type="A100", host=they.host)
                if at % 4 == 0:
                    agents.release(job)
                else:
                    fees += hosts.earn(job, 1.000003, OUTPUT_HASH, "A100", at).platform_fee.micro
                assert agents.balance >= 0
            return fees

        with ThreadPoolExecutor(THREADS) as pool:
            fees = sum(pool.map(work, range(THREADS)))
        assert supply(market) + fees == before
        assert they.agent.held == 0
        report = market.audit(deep=True)
        assert report, report.first_fault
        assert report.receipts == THREADS * JOBS * 3 // 4
        stats = market.stats()
        assert stats.commits <= stats.calls_committed


def test_the_same_job_asked_for_by_eight_threads_is_locked_once(market: calyx.Market, they) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda _: they.agent.spend("job-1", 4, gpu_type="A100"), range(THREADS)))
    assert len({answer.txn_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert they.agent.held == 4


def test_python_runs_on_while_a_call_waits_for_the_gate(path: Path) -> None:
    with calyx.open(path, busy_timeout_ms=20_000) as market:
        owner = market.create_wallet("human", "alice")
        started, done = threading.Event(), threading.Event()

        def call() -> None:
            started.set()
            market.topup(owner, 1)
            done.set()

        with open(f"{path}-gate", "r+b") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            waiting = threading.Thread(target=call)
            waiting.start()
            started.wait()
            steps = 0
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                steps += 1
                time.sleep(0)  # gives the other thread its turn; had it kept the GIL, this would not return
            assert steps > 100
            assert not done.is_set()
            assert owner.balance == 0  # reads do not wait for writers
            fcntl.flock(gate, fcntl.LOCK_UN)
        waiting.join(20)
        assert done.is_set()
        assert owner.balance == 1


def test_a_gate_held_too_long_is_unavailable(path: Path) -> None:
    with calyx.open(path, busy_timeout_ms=50) as market:
        owner = market.create_wallet("human", "alice")
        with open(f"{path}-gate", "r+b") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            with pytest.raises(calyx.Unavailable) as unavailable:
                market.topup(owner, 1)
            assert unavailable.value.reason == "store_busy"
        assert owner.balance == 0
        market.topup(owner, 1)
        assert owner.balance == 1


def test_callbacks_of_many_threads_do_not_hang(clock) -> None:
    asked = []

    def random(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    def now() -> int:
        time.sleep(0)
        return clock()

    key = signer()

    def sign(kid: str, message: bytes) -> bytes:
        time.sleep(0)
        return key.sign(message)

    with calyx.open(clock=now, random=random, sign=sign, sign_public_key=key.public) as market:
        payer = market.create_wallet("human", "alice")
        host = market.create_wallet("human", "gpu-farm")
        market.topup(payer, 200)

        def work(at: int) -> bool:
            payer.spend(f"job-{at}", 1)
            return host.earn(f"job-{at}", 1, OUTPUT_HASH, "A100", at).receipt.verified

        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(work, at) for at in range(200)]:
                assert future.result(timeout=60)
        assert payer.balance == 0
        assert market.audit(deep=True)
    assert asked


def test_signing_threads_sign_what_a_bulk_settles(clock, monkeypatch) -> None:
    key = signer()
    here = threading.get_ident()
    elsewhere: set[int] = set()
    both = threading.Barrier(2)
    leaves = threading.Event()

    def sign(kid: str, message: bytes) -> bytes:
        me = threading.get_ident()
        if me != here:
            if leaves.is_set():
                raise SystemExit(3)
            if me not in elsewhere:
                elsewhere.add(me)
                both.wait(timeout=4)
        return key.sign(message)

    told: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))
    with calyx.open(clock=clock, sign=sign, sign_public_key=key.public, signing_threads=2) as market:
        payer = market.create_wallet("human", "alice")
        host = market.create_wallet("human", "gpu-farm")
        market.topup(payer, 200)
        jobs = [f"job-{at}" for at in range(100)]
        market.bulk([calyx.Spend(payer, job, 1) for job in jobs])
        settles = [calyx.Earn(host, job, 1, OUTPUT_HASH, "A100", 60) for job in jobs]
        # An exit that no call of this thread could raise is told, and leaves nothing behind.
        leaves.set()
        with pytest.raises(calyx.Unavailable) as failed:
            market.bulk(settles)
        assert failed.value.reason == "signer_failed"
        assert set(told) == {SystemExit}
        leaves.clear()
        earned = market.bulk(settles)
        assert all(one.receipt.verified for one in earned)
        assert len(elsewhere) == 2
        assert market.audit(deep=True)
    for wrong in (-1, 65):
        with pytest.raises(calyx.Invalid) as refused:
            calyx.open(signing_threads=wrong)
        assert refused.value.reason == "options_invalid"


def test_what_the_clock_raises_is_raised_and_nothing_was_begun() -> None:
    said: list[object] = [1_775_077_200_000_000]

    def now() -> object:
        if isinstance(said[0], BaseException):
            raise said[0]
        return said[0]

    with calyx.open(clock=now) as market:
        owner = market.create_wallet("human", "alice")
        for bad, kind in (
            (ZeroDivisionError(), ZeroDivisionError),
            (KeyboardInterrupt(), KeyboardInterrupt),
            (1.5, TypeError),
            (-1, ValueError),
            (10**30, ValueError),
        ):
            said[0] = bad
            with pytest.raises(kind):
                market.topup(owner, 1)
        said[0] = 1_775_077_200_000_001
        assert owner.balance == 0
        market.topup(owner, 1)
        assert owner.balance == 1
        said[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        calyx.open(clock=now)


def signer() -> SimpleNamespace:
    """A key of the host's own: ``sign(message)``, and the public half."""
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization

    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SimpleNamespace(sign=key.sign, public=public)


def test_what_a_signer_raises_is_told_and_the_call_fails(monkeypatch: pytest.MonkeyPatch, clock) -> None:
    key = signer()
    answer = key.sign
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    with calyx.open(clock=clock, sign=lambda kid, message: answer(message), sign_public_key=key.public) as market:
        they = people(market)
        they.agent.spend("job-1", 4, gpu_type="A100")
        for bad in (lambda message: 1 / 0, lambda message: "text", lambda message: b"short"):
            answer = bad
            with pytest.raises(calyx.Unavailable) as unavailable:
                they.host.earn("job-1", 3.80, OUTPUT_HASH, "A100", 1)
            assert unavailable.value.reason == "signer_failed"
        assert told == [ZeroDivisionError, TypeError, TypeError]
        assert they.agent.held == 4 and they.host.balance == 0
        answer = key.sign
        assert they.host.earn("job-1", 3.80, OUTPUT_HASH, "A100", 1).receipt.verified


def test_what_pay_out_raises_leaves_the_payout_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))
    with calyx.open(pay_out=lambda payout: 1 / 0) as market:
        host = market.create_wallet("human", "gpu-farm")
        market.topup(host, 10)
        assert host.payout(4, "bank").status == "pending"
        assert host.balance == 6
    assert told == [ZeroDivisionError]


def test_a_closed_market_answers_that_it_is_closed(path: Path) -> None:
    market = calyx.open(path)
    owner = market.create_wallet("human", "alice")
    session = market.session(owner.api_key)
    market.close()
    market.close()
    assert market.closed
    for call in (
        lambda: owner.balance,
        lambda: session.own.balance,
        lambda: market.topup(owner, 1),
        lambda: market.public_keys(),
        lambda: market.stats(),
        lambda: market.request("GET", "/v1/wallets"),
        lambda: market.verify("x"),
    ):
        with pytest.raises(calyx.Unavailable) as unavailable:
            call()
        assert unavailable.value.reason == "closed"
    with calyx.open(path) as again:
        assert [wallet.owner_id for wallet in again.wallets()] == ["alice"]


def test_closing_beside_running_calls_is_safe(path: Path) -> None:
    for _ in range(10):
        market = calyx.open(path)
        owner = market.create_wallet("human", "alice")
        begun = threading.Barrier(5)

        def work() -> str:
            begun.wait()
            try:
                while True:
                    market.topup(owner, 1)
            except calyx.Unavailable as error:
                return error.reason

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(work) for _ in range(4)]
            begun.wait()
            time.sleep(0.01)
            market.close()
            assert {future.result(timeout=60) for future in futures} == {"closed"}
    with calyx.open(path) as market:
        assert market.audit()


def test_a_forked_child_is_told_to_open_its_own(path: Path) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet("human", "alice")
        market.topup(owner, 5)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                try:
                    market.topup(owner, 1)
                    code = 1
                except calyx.Unavailable as error:
                    code = 0 if error.reason == "forked" else 2
                market.close()  # must not end the parent's locks
                with calyx.open(path) as own:
                    [wallet] = own.wallets()
                    own.topup(wallet, 2)
            except BaseException:
                code = 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert owner.balance == 7
        market.topup(owner, 1)
        assert owner.balance == 8
        assert market.audit()


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )


def test_the_interpreter_ends_in_peace_with_a_market_open_and_threads_at_work(path: Path) -> None:
    ended = run(
        """
        import calyx, sys, threading, time
        market = calyx.open(sys.argv[1], clock=lambda: time.time_ns() // 1000)
        owner = market.create_wallet("human", "alice")
        def work():
            while True:
                market.topup(owner, 1)
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        print("bye")
        """,
        path,
    )
    assert (ended.returncode, ended.stdout) == (0, "bye\n"), ended.stderr
    with calyx.open(path) as market:
        report = market.audit()
        assert report, report.first_fault


def test_a_market_that_nobody_closed_is_whole(path: Path) -> None:
    ended = run(
        """
        import calyx, sys
        market = calyx.open(sys.argv[1])
        market.topup(market.create_wallet("human", "alice"), 5)
        """,
        path,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with calyx.open(path) as market:
        assert [wallet.balance for wallet in market.wallets()] == [5]


def test_two_processes_share_a_market(path: Path) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet("human", "alice")
        ended = run(
            """
            import calyx, sys
            with calyx.open(sys.argv[1]) as market:
                market.topup(sys.argv[2], 5)
            """,
            path,
            owner.id,
        )
        assert ended.returncode == 0, ended.stderr
        assert owner.balance == 5
