"""Jobs from Python: functions as tasks, workers, money and receipts, and the clients of the jobs API."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import calyx
import pytest
from computalot import ComputalotClient
from conftest import people

SOON = 30  # seconds that nothing here takes: a hang is told, and not waited for


@pytest.fixture
def market() -> Iterator[calyx.Market]:
    with calyx.open() as opened:  # by the system's clock, since leases and retries pass by it
        yield opened


@pytest.fixture
def they(market: calyx.Market) -> SimpleNamespace:
    return people(market)


def square(payload: dict[str, Any]) -> int:
    return payload["x"] ** 2


def squares(count: int, **members: Any) -> dict[str, Any]:
    return {"task": "square", "payload": {"x": list(range(count))}, "fan_out": {"by": "x"}, **members}


def until(asked: Any) -> None:
    end = time.monotonic() + SOON
    while not asked():
        assert time.monotonic() < end
        time.sleep(0.005)


# ── a job, start to end ──


def test_a_job_is_paid_by_its_wallet_and_gives_a_verified_receipt_of_its_result(market, they) -> None:
    """CX-49: `wait` gives the receipt."""
    market.register_task("square", lambda payload: time.sleep(0.002) or square(payload))
    assert market.set_prices(base=0.05).base == Decimal("0.05")
    before = they.agent.balance
    job = they.agent.submit(**squares(5, timeout_s=1, max_budget=4.00))
    assert (job.status, job.hold) == ("queued", Decimal("0.25"))
    assert they.agent.held == job.hold

    receipt = job.wait(timeout=SOON)
    assert receipt.verified and market.verify(receipt)
    assert job.status == "completed" and job.result == [0, 1, 4, 9, 16]
    assert 0 < job.cost <= job.hold
    assert (receipt.flops_spent, receipt.job_id, receipt.gpu_model) == (job.cost, job.id, "CPU")
    assert receipt.output_hash == job.state().output_hash
    assert receipt == job.receipt
    assert (they.agent.held, they.agent.balance) == (0, before - job.cost)
    report = market.audit(deep=True)
    assert report, report.first_fault


def test_a_job_that_costs_nothing_needs_no_wallet_and_has_no_receipt(market) -> None:
    market.task(square)
    job = market.submit(**squares(3))
    assert job.wait(timeout=SOON) is None
    assert (job.result, job.cost, job.receipt) == ([0, 1, 4], 0, None)


def test_a_worker_does_it_on_threads_of_its_own(market, they) -> None:
    threads = set()

    def which(payload: Any) -> None:
        threads.add(threading.get_ident())

    market.register_task("which", which)
    with market.worker(threads=2, host=they.host) as worker:
        assert worker.running
        assert market.submit(task="which", payload={}).wait(timeout=SOON) is None
    assert threads and threading.get_ident() not in threads
    assert not worker.running
    threads.clear()
    market.submit(task="which", payload={}).wait(timeout=SOON)
    assert threads == {threading.get_ident()}


def test_a_worker_earns_for_its_host(market, they) -> None:
    market.register_task("nap", lambda payload: time.sleep(0.01))
    market.set_prices(base=1)
    with market.worker(host=they.host):
        receipt = they.agent.submit(task="nap", payload={}, timeout_s=1).wait(timeout=SOON)
    assert receipt.host_wallet == they.host.id
    assert they.host.balance == receipt.net_payout > 0


def test_a_thousand_tasks_of_a_python_function(market) -> None:
    market.register_task("square", square)
    with market.worker(threads=4):
        job = market.submit(**squares(1000))
        job.wait(timeout=SOON)
    assert job.result == [x * x for x in range(1000)]
    tasks = list(job.tasks())
    assert [task.index for task in tasks] == list(range(1000))
    assert all(task.status == "completed" and task.result == task.payload["x"] ** 2 for task in tasks)
    results = job.results()
    assert (results.status, results.result, results.tasks[-1].result) == ("completed", job.result, 999**2)
    assert len(results.tasks) == 1000
    assert job.progress == calyx.JobProgress(tasks=1000, completed=1000, failed=0, running=0, queued=0)


def test_a_sweep_ranks_its_points(market) -> None:
    market.register_task("bowl", lambda point: {"loss": (point["a"] - 2) ** 2 + point["c"]})
    job = market.submit(
        task="bowl",
        type="sweep",
        parameters={"a": [0, 1, 2, 3]},
        fixed_payload={"c": 1},
        rank_by={"metric": "loss", "mode": "min"},
    )
    job.wait(timeout=SOON)
    assert job.result["best"]["parameters"] == {"a": 2}
    assert job.result["best"]["result"] == {"loss": 1}


# ── what goes in and comes out ──


def test_json_comes_back_as_it_went(market) -> None:
    market.register_task("same", lambda payload: payload)
    values = {"n": None, "t": True, "f": 1.5, "i": -(2**53) + 1, "s": "é\n\"", "l": [[], {}, [1, [2]]], "e": 1e300}
    job = market.submit(task="same", payload=values)
    job.wait(timeout=SOON)
    assert job.result == values
    assert isinstance(job.result["f"], float) and isinstance(job.result["t"], bool)
    assert next(job.tasks()).payload == values


def test_an_integer_keeps_its_digits_or_is_refused(market) -> None:
    seen = []
    market.register_task("seed", lambda payload: seen.append(payload["seed"]))
    for seed in (2**53 - 1, 1 - 2**53):
        market.submit(task="seed", payload={"seed": seed}).wait(timeout=SOON)
        assert seen.pop() == seed
    for seed in (2**53, -(2**63), 2**64 - 1):  # which canonical JSON would round
        with pytest.raises(calyx.Invalid, match="as text"):
            market.submit(task="seed", payload={"seed": seed})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Decimal("1.5"), "is decimal.Decimal"),
        (calyx.Flops(1), "is Flops"),
        ({1}, "is set"),
        (b"x", "is bytes"),
        ({1: 2}, "has a key that is int"),
        ("\0", "U+0000"),
        ("\ud800", "surrogate"),
        (2**200, "2^53 - 1"),
    ],
)
def test_what_is_no_json_is_refused_where_it_stands(market, value, said) -> None:
    with pytest.raises(calyx.Invalid) as refused:
        market.submit(task="same", payload={"deep": [0, value]})
    assert refused.value.details["field"] == "/payload/deep/1"
    assert said in refused.value.message

    market.register_task("gives", lambda payload: {"out": value})
    job = market.submit(task="gives", payload={})
    with pytest.raises(calyx.JobFailed):
        job.wait(timeout=SOON)
    error = next(job.tasks()).error
    assert error.startswith("the result/out ") and said in error


def test_numbers_that_json_has_no_word_for_are_refused(market) -> None:
    with pytest.raises(calyx.Invalid, match="NaN"):
        market.submit(task="same", payload={"x": float("nan")})
    for value in (float("inf"), 2**53):
        market.register_task("gives", lambda payload, value=value: value)
        job = market.submit(task="gives", payload={})
        with market.worker(), pytest.raises(calyx.JobFailed) as failed:
            job.wait(timeout=SOON)
        assert failed.value.reason == "result_invalid"


def test_what_is_nested_too_deep_is_refused(market) -> None:
    deep: list[Any] = []
    deep.append(deep)  # for ever
    with pytest.raises(calyx.Invalid, match="too_deep"):
        market.submit(task="same", payload={"deep": deep})


# ── what goes wrong ──


def test_what_a_function_raises_is_its_tasks_error(market) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError

    def picky(payload: dict[str, Any]) -> int:
        if payload["x"] == 1:
            raise KeyError("no such colour")
        if payload["x"] == 2:
            raise Unspeakable
        if payload["x"] == 3:
            sys.exit(3)
        return payload["x"]

    market.register_task("picky", picky)
    asked = {"task": "picky", "payload": {"x": [0, 1, 2, 3]}, "fan_out": {"by": "x"}, "max_retries": 0}
    with market.worker():
        job = market.submit(**asked)
        job.wait(timeout=SOON)  # a part of it went well
    assert job.status == "partial"
    assert [task.error for task in job.tasks()] == [None, "KeyError: 'no such colour'", "Unspeakable", "SystemExit: 3"]
    assert job.results().result[0] == 0

    job = market.submit(task="picky", payload={"x": 1}, max_retries=0)
    with pytest.raises(calyx.JobFailed) as failed:
        job.wait(timeout=SOON)
    assert (failed.value.reason, failed.value.job) == ("task_failed", job)
    assert "no such colour" in job.error and job.status == "failed"
    assert isinstance(failed.value, calyx.Error)


def test_a_task_is_tried_again(market) -> None:
    tries = []

    def flaky(payload: Any, call: calyx.TaskCall) -> int:
        tries.append(call.attempt)
        if call.attempt == 1:
            raise OSError("not yet")
        return call.index

    market.register_task("flaky", flaky)
    job = market.submit(task="flaky", payload={}, max_retries=1)
    job.wait(timeout=SOON)
    assert tries == [1, 2] and job.result == 0


def test_a_wait_ends_with_its_timeout_and_the_job_goes_on(market) -> None:
    market.register_task("square", square)
    job = market.submit(task="unknown here", payload={})
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=job.id):
        job.wait(timeout=0.3)
    assert 0.25 < time.monotonic() - begun < 5
    assert job.status == "queued"

    let_go = threading.Event()
    market.register_task("held", lambda payload: let_go.wait(SOON))
    job = market.submit(task="held", payload={})
    with market.worker():
        with pytest.raises(TimeoutError):
            job.wait(timeout=0.1)
        let_go.set()
        job.wait(timeout=SOON)
    assert job.result is True


def test_a_wait_on_this_thread_ends_between_tasks(market) -> None:
    market.register_task("nap", lambda payload: time.sleep(0.05))
    job = market.submit(task="nap", payload={"x": list(range(100))}, fan_out={"by": "x"})
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.3)
    assert 0 < job.progress.completed < 50
    assert job.progress.running == 0  # the rest was given back
    job.cancel()


def test_a_cancelled_job_gives_its_hold_back(market, they) -> None:
    market.set_prices(base=0.01)
    before = they.agent.balance
    job = they.agent.submit(task="nobody's", payload={}, timeout_s=1)
    assert they.agent.held == job.hold > 0
    state = job.cancel()
    assert (state.status, state.ended) == ("cancelled", True)
    assert (they.agent.balance, they.agent.held) == (before, 0)
    assert job.cancel().status == "cancelled"
    with pytest.raises(calyx.JobFailed) as failed:
        job.wait(timeout=SOON)
    assert failed.value.reason == "cancelled"
    assert [event.data["event"] for event in job.events()]


def test_a_task_hears_that_its_job_was_cancelled_or_its_worker_stops(market) -> None:
    begun, kept = threading.Event(), []

    def patient(payload: Any, call: calyx.TaskCall) -> str:
        kept.append(call)
        begun.set()
        call.progress({"step": 1})
        end = time.monotonic() + SOON
        while not call.stopped() and time.monotonic() < end:
            time.sleep(0.005)
        return "stopped"

    market.register_task("patient", patient)
    worker = market.worker().start()
    job = market.submit(task="patient", payload={})
    assert begun.wait(SOON)
    begun_at = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun_at < SOON / 2
    assert kept[0].stopped() and kept[0].job_id == job.id  # the task is over, and asks nobody any more
    kept[0].progress({"step": 2})
    assert not worker.running
    worker.stop()


def test_a_worker_that_is_stopped_gives_back_what_it_has_not_begun(market) -> None:
    market.register_task("nap", lambda payload: time.sleep(0.01))
    job = market.submit(task="nap", payload={"x": list(range(200))}, fan_out={"by": "x"})
    with market.worker(threads=2):
        until(lambda: job.progress.completed > 0)
    progress = job.progress
    assert progress.running == 0 and 0 < progress.completed < 200
    assert progress.queued + progress.completed == 200
    with market.worker(threads=8):
        job.wait(timeout=SOON)
    assert job.progress.completed == 200
    assert all(task.attempts == 1 for task in job.tasks())


def test_a_market_that_is_closed_ends_its_workers(path: Path) -> None:
    market = calyx.open(path)
    market.register_task("nap", lambda payload: time.sleep(0.01))
    job = market.submit(task="nap", payload={"x": list(range(500))}, fan_out={"by": "x"})
    worker = market.worker(threads=2).start()
    until(lambda: job.progress.completed > 0)
    market.close()
    assert not worker.running
    with pytest.raises(calyx.Unavailable):
        job.wait()
    with calyx.open(path) as again:
        assert again.job(job.id).progress.running == 0


def test_a_task_may_submit_wait_and_even_close(path: Path) -> None:
    market = calyx.open(path)
    market.register_task("square", square)

    def outer(payload: Any) -> Any:
        inner = market.submit(task="square", payload={"x": 7})
        inner.wait(timeout=SOON)
        return inner.result

    market.register_task("outer", outer)
    with market.worker(threads=1):  # which does the inner job where the outer one waits for it
        job = market.submit(task="outer", payload={})
        job.wait(timeout=SOON)
        assert job.result == 49
    here = market.submit(task="outer", payload={})
    here.wait(timeout=SOON)
    assert here.result == 49

    refused, closed = [], threading.Event()
    worker = market.worker().start()

    def meddling(payload: Any) -> None:
        try:
            worker.stop()
        except calyx.Invalid as error:
            refused.append(error.reason)
        market.close()  # the worker ends after this task
        closed.set()

    market.register_task("meddling", meddling)
    market.submit(task="meddling", payload={})
    assert closed.wait(SOON)
    assert refused == ["handle_invalid"]
    until(lambda: not worker.running)


def test_a_retry_runs_what_failed_and_keeps_the_rest(market: calyx.Market, they: SimpleNamespace) -> None:
    broken = True
    ran: list[int] = []

    def third(payload: dict[str, int]) -> int:
        ran.append(payload["x"])
        if broken and payload["x"] == 3:
            raise ValueError("not yet")
        return payload["x"] * 10

    market.register_task("third", third)
    job = they.agent.submit(task="third", payload={"x": [1, 2, 3]}, fan_out={"by": "x"})
    with pytest.raises(calyx.Invalid, match="has not ended"):
        job.retry()
    job.wait()
    assert job.state().status == "partial"
    assert "retry_of" in job.state().recommended_action

    broken = False
    ran.clear()
    again = job.retry(tags=["second"])
    again.wait()
    assert ran == [3]
    assert again.result == [10, 20, 30]
    assert (again.state().retry_of, again.state().tags) == (job.id, ["second"])
    with pytest.raises(calyx.Invalid, match="nothing is left"):
        again.retry()


def test_an_interrupt_ends_a_wait_and_fails_no_task() -> None:
    script = """
        import calyx, os, signal, threading, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
        market = calyx.open()
        market.register_task("nap", lambda payload: time.sleep(0.05))
        for job in (market.submit(task="nap", payload={"x": [1] * 400}, fan_out={"by": "x"}),
                    market.submit(task="nobody has it", payload={})):
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                job.wait()
                print("no interrupt")
            except KeyboardInterrupt:
                state = job.state()
                print(state.status, state.progress.failed, state.progress.running)
            job.cancel()
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=SOON)
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.splitlines()
    assert first in ("queued 0 0", "running 0 0"), told.stdout
    assert second == "queued 0 0"


def test_an_interpreter_ends_with_workers_at_work() -> None:
    script = """
        import calyx, time
        market = calyx.open()
        market.register_task("nap", lambda payload: time.sleep(0.005))
        job = market.submit(task="nap", payload={"x": [1] * 5000}, fan_out={"by": "x"})
        market.worker(threads=4).start()
        while not job.progress.completed:
            time.sleep(0.01)
        print("ends")
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=SOON)
    assert (told.returncode, told.stdout, told.stderr) == (0, "ends\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_no_worker_of_its_parent() -> None:
    script = """
        import calyx, os, warnings
        market = calyx.open()
        worker = market.worker().start()
        child = os.fork()
        if child == 0:
            worker.stop()
            market.close()
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), worker.running)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=SOON)
    assert told.stdout == "7 True\n", told.stderr


def test_many_threads_submit_and_wait_beside_workers(market, they) -> None:
    market.register_task("square", square)
    market.set_prices(base=0.000001)

    def one(at: int) -> Any:
        job = they.owner.submit(task="square", payload={"x": at}, timeout_s=1, idempotency_key=f"job-{at}")
        assert job.wait(timeout=SOON) is None or job.receipt.verified
        return job.result

    with market.worker(threads=3), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(64))) == [x * x for x in range(64)]
    assert market.audit()


def test_python_runs_on_while_a_job_is_waited_for(market) -> None:
    let_go = threading.Event()
    market.register_task("held", lambda payload: let_go.wait(SOON))
    job = market.submit(task="held", payload={})
    steps = []

    def count() -> None:
        while not let_go.is_set():
            steps.append(1)
            time.sleep(0)
            if len(steps) > 1000:
                let_go.set()

    counting = threading.Thread(target=count)
    with market.worker():
        counting.start()
        job.wait(timeout=SOON)
    counting.join(SOON)
    assert len(steps) > 1000


# ── terms ──


def test_the_rules_of_a_wallet_judge_its_jobs(market, they) -> None:
    market.set_prices(base=1, gpus={"*": 1})
    with pytest.raises(calyx.Refused, match="spend_cap_per_job"):
        they.agent.submit(task="t", payload={}, timeout_s=100)
    with pytest.raises(calyx.Refused, match="gpu_not_allowed"):
        they.agent.submit(task="t", payload={}, timeout_s=1, gpu_type="H100", max_budget=1)
    job = they.agent.submit(task="t", payload={}, timeout_s=100, max_budget=Decimal("1.50"), gpu_type="A100")
    assert job.hold == Decimal("1.50")
    mine = calyx.Wallet(api_key=they.agent.api_key, market=market, spend_cap_per_job=1)
    with pytest.raises(calyx.Refused, match="spend_cap_per_job"):
        mine.submit(task="t", payload={}, timeout_s=100, max_budget=2)
    with pytest.raises(calyx.Refused, match="not_your_wallet"):
        mine.submit(task="t", payload={}, wallet=they.host)
    stranger = market.session(they.host.api_key)
    with pytest.raises(calyx.NotFound, match="job_unknown"):
        stranger.job(job.id)
    assert [state.id for state in they.agent.jobs()] == [job.id]
    assert list(stranger.jobs()) == []


def test_an_estimate_writes_nothing_and_a_key_makes_one_job(market, they) -> None:
    market.set_prices(base=0.5, cpu=1, memory_gb="0.25", gpus={"A100": 2})
    assert market.prices().gpus == {"A100": 2}
    estimate = they.agent.estimate(task="t", payload={}, timeout_s=2, gpu_type="A100", max_budget=3, max_retries=0)
    assert (estimate.tasks, estimate.rate_per_second, estimate.worst_case, estimate.hold) == (1, Decimal("2.50"), 5, 3)
    assert they.agent.held == 0
    asked = {"task": "t", "payload": {}, "timeout_s": 2, "max_retries": 0, "idempotency_key": "once"}
    first, again = they.agent.submit(**asked), they.agent.submit(**asked)
    assert first == again and (first.replayed, again.replayed) == (False, True)
    with pytest.raises(calyx.Conflict, match="key_reused"):
        they.agent.submit(**{**asked, "payload": {"x": 2}})
    with pytest.raises(calyx.Refused):
        market.session(they.agent.api_key).set_prices(base=0)


def test_a_recipe_that_is_not_there_is_not_found(market) -> None:
    assert isinstance(market.recipes(), list)
    with pytest.raises(calyx.NotFound, match="recipe_unknown"):
        market.submit(recipe="no such recipe", payload={})


def test_the_documents_call_is_a_job(market, they) -> None:
    """CX-48: and its budget is in escrow."""
    before = they.agent.balance
    job = they.agent.submit(
        image="pytorch/pytorch:2.3", command="python train.py --epochs 10", gpu_type="RTX 4090", max_budget=4.00
    )
    assert (they.agent.held, they.agent.balance) == (job.hold, before - job.hold)
    lease = market.lease("gpu-farm", images=["*"], gpu_count=1, gpu_types=["RTX 4090"])
    assert (lease.job_id, lease.image) == (job.id, "pytorch/pytorch:2.3")
    assert lease.command == ["python", "train.py", "--epochs", "10"]


def test_what_is_misspelt_is_told(market) -> None:
    with pytest.raises(calyx.Invalid, match="field_unknown"):
        market.submit(task="t", payload={}, time_out=3)
    with pytest.raises(calyx.Invalid, match="max_budget"):
        market.submit(task="t", payload={}, max_budget="four")
    with pytest.raises(calyx.Invalid):
        market.register_task("", square)
    with pytest.raises(calyx.Invalid):
        market.register_task("x", 3)
    with pytest.raises(calyx.Invalid, match="threads"):
        market.worker(threads=2000).start()
    with pytest.raises(calyx.NotFound):
        market.job("job_none")
    with pytest.raises(calyx.Invalid):
        list(market.jobs(status="done"))


# ── workers that are written in Python ──


def test_a_worker_written_in_python_leases_and_reports(market, they) -> None:
    market.set_prices(base=1)
    job = they.owner.submit(**squares(3, timeout_s=1))
    assert market.lease("mine", tasks=["other"]) is None
    lease = market.lease("mine", tasks=["square"], host=they.host, tasks_max=10)
    assert (lease.job_id, lease.first, lease.name) == (job.id, 0, "square")
    assert lease.payloads == [{"x": 0}, {"x": 1}, {"x": 2}]
    assert market.report(lease) == 3  # a heartbeat
    time.sleep(0.05)  # nobody is paid for more time than passed
    outcomes = [{"status": "completed", "result": one["x"] ** 2, "ran_ms": 10} for one in lease.payloads]
    outcomes[0]["stdout"] = "first\nsecond\n"
    outcomes[1]["stdout"] = "third"
    assert market.report(lease, outcomes[:1]) == 2
    assert market.report(lease, outcomes[1:]) == 0
    receipt = job.wait(timeout=SOON)
    assert receipt.verified and receipt.flops_spent == job.cost
    assert job.result == [0, 1, 4]
    assert list(job.logs()) == ["first", "second", "third"]
    assert job.output(1) == "third"
    with pytest.raises(calyx.Conflict, match="lease_lost"):
        market.report(lease, outcomes)
    with pytest.raises(calyx.NotFound, match="task_unknown"):
        job.output(9)
    with pytest.raises(calyx.Refused):
        market.session(they.host.api_key).lease("mine", tasks=["square"])


def test_workers_of_two_hosts_are_each_paid_by_a_receipt(market, they) -> None:
    market.set_prices(base=1)
    other = market.create_wallet("human", "other host")
    job = they.owner.submit(**squares(2, timeout_s=1))
    assert job.receipts == []
    for host in (they.host, other):
        lease = market.lease("mine", tasks=["square"], host=host)
        time.sleep(0.02)
        market.report(lease, [{"status": "completed", "result": 1, "ran_ms": 10}])
    assert [one.host_wallet for one in job.receipts] == [they.host.id, other.id]
    assert all(one.verified and one.output_hash == job.state().output_hash for one in job.receipts)
    assert sum(one.flops_spent for one in job.receipts) == job.cost
    assert [one.id for one in they.owner.receipts()] == job.state().receipt_ids
    assert job.receipt.id == job.receipts[0].id
    assert market.audit(deep=True).ok


# ── what happens, as it happens ──


def test_following_a_job_runs_it_and_gives_its_events_to_the_end(market) -> None:
    market.register_task("square", square)
    job = market.submit(**squares(3))
    words = [event.data["event"] for event in job.events(follow=True)]
    assert words[0] == "submitted"
    assert words[-1] == "ended"
    assert words == [event.data["event"] for event in job.events()]
    assert [event.number for event in job.events(follow=True, limit=2)] == [1, 2]
    with pytest.raises(calyx.Invalid):
        job.events(follow=True, limit=0)


def test_a_stream_goes_on_where_it_was_left(market) -> None:
    market.register_task("square", square)
    job = market.submit(**squares(3))
    told = list(job.stream())
    assert [news.number for news in told] == list(range(1, len(told) + 1))
    assert {news.kind for news in told[:-1]} == {"event"}
    assert told[-1].kind == "end"
    assert told[-1].state == job.state()
    for at, news in enumerate(told):
        assert list(job.stream(after=news.number)) == told[at + 1 :]
    with pytest.raises(calyx.Invalid) as beyond:
        job.stream(after=len(told) + 1)
    assert beyond.value.reason == "field_value"
    with pytest.raises(calyx.NotFound):
        market.watch(["job_" + "0" * 26])


def test_who_follows_has_all_events_also_where_a_stream_tells_how_things_stand_instead(market) -> None:
    market.register_task("square", square)
    job = market.submit(**squares(3))
    job.wait()
    news = list(job.stream())
    events = list(job.events())
    for at in range(1, len(events) + 1):
        snapshot = calyx.JobNews("snapshot", job.id, at, None, None, job.state())
        assert list(job._followed(iter([snapshot, *news[at:]]))) == events


def test_several_jobs_are_watched_beside_a_worker(market) -> None:
    market.register_task("square", square)
    jobs = [market.submit(**squares(2)) for _ in range(3)]
    with calyx.Worker(market):
        told = list(market.watch(jobs))
    assert sorted(news.job_id for news in told if news.kind == "end") == sorted(job.id for job in jobs)
    for job in jobs:
        assert [news for news in told if news.job_id == job.id] == list(job.stream())
    ended = {job.id: len(list(job.stream())) for job in jobs}
    assert list(market.watch(jobs, after=ended)) == []
    with pytest.raises(calyx.Invalid) as many:
        market.watch([jobs[0]] * 101)
    assert many.value.reason == "too_many_operations"


def test_a_stream_that_waits_lets_python_run_and_ends_with_its_market(path: Path) -> None:
    market = calyx.open(path)
    job = market.submit(task="nobody", payload={})
    response = market.request(
        "GET", f"/api/v1/jobs/{job.id}/stream", {"X-API-Key": market.issue_operator_key("tests").api_key}
    )
    assert (response.status, response.header("content-type"), response.body) == (200, "text/event-stream", b"")
    raised: list[str] = []
    pieces: list[bytes] = []

    def follow() -> None:
        try:
            with calyx.Worker(market):  # so that following does nothing but wait
                for _ in job.stream():
                    pass
        except calyx.Unavailable as closed:
            raised.append(closed.reason)

    threads = [threading.Thread(target=follow), threading.Thread(target=lambda: pieces.extend(response.pieces()))]
    for thread in threads:
        thread.start()
    until(lambda: b"submitted" in b"".join(pieces))
    time.sleep(0.1)
    market.close()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    assert raised == ["closed"]
    assert pieces[0] == b"retry: 2000\n\n"


def test_a_body_that_is_whole_is_one_piece(market) -> None:
    response = market.request("GET", "/v1/receipts/keys")
    assert list(response.pieces()) == [response.body]


@pytest.mark.parametrize("workers", [0, 1])
def test_logs_come_while_the_job_runs(tmp_path, workers) -> None:
    """CX-49: of one command, which waits for a file that is made only once its first line was read."""
    seen = tmp_path / "seen" / "it"
    seen.parent.mkdir()
    command = f"echo one; while [ ! -e {seen} ]; do sleep 0.01; done; echo two; echo done >&2; printf three"
    how = calyx.Commands(allow_bare_host=True, containers="none", scratch=str(tmp_path), readable=[str(seen.parent)])
    with calyx.open(tmp_path / "market.db", commands=how) as market, contextlib.ExitStack() as stack:
        if workers:
            stack.enter_context(market.worker(commands=how))
        job = market.submit(image="any", command=["sh", "-c", command])
        lines = job.logs()
        assert next(lines) == "one"
        assert job.status == "running"
        assert (job.output(), next(job.tasks()).status) == ("one\n", "running")
        seen.touch()
        assert list(lines) == ["two", "three"]
        assert job.status == "completed"
        assert list(job.logs()) == ["one", "two", "three"]


def test_who_stops_walking_the_logs_stops_the_task_and_leaves_it_to_others(tmp_path) -> None:
    how = calyx.Commands(allow_bare_host=True, containers="none", scratch=str(tmp_path))
    with calyx.open(tmp_path / "market.db", commands=how) as market:
        job = market.submit(image="any", command=["sh", "-c", "echo one; exec sleep 60"])
        lines = job.logs()
        assert next(lines) == "one"
        lines.close()
        assert (job.progress.running, job.progress.queued) == (0, 1)
        assert job.cancel().status == "cancelled"


def test_lines_that_were_dropped_are_told_and_none_comes_twice() -> None:
    followed = calyx.jobs._Followed()

    def news(text: str, dropped: int = 0, attempt: int = 1) -> str:
        return followed.news({"stdout": text, "stdout_dropped_bytes": dropped, "attempt": attempt})

    def gap(dropped: int) -> str:
        return f"\n[… {dropped:,} bytes dropped …]\n"

    assert news("", attempt=0) == ""
    assert news("head\nöne") == "head\nöne"
    assert news("head\nöne\ntwo\n") == "\ntwo\n"
    # 5 bytes of head; the tail begins at 5 + 5, where 14 have been seen.
    assert news("head\n" + gap(5) + "two\nthree\n", 5) == "three\n"
    assert news("head\n" + gap(1_200) + "last\n", 1_200) == gap(1_185) + "last\n"
    assert news("head\n" + gap(1_200) + "last\n", 1_200) == ""
    assert news("again", attempt=2) == "again"
    assert news("and", attempt=3) == "\nand"  # the line that broke off is a line
    assert news("another worker's") == "\nanother worker's"


def test_walking_the_logs_runs_the_job(market) -> None:
    market.register_task("square", square)
    job = market.submit(**squares(3))
    assert list(job.logs()) == []
    assert job.result == [0, 1, 4]


# ── tables and bars ──


def test_a_table_needs_pandas_and_says_so(market, monkeypatch) -> None:
    market.register_task("square", lambda payload: {"y": square(payload), "x": 0})
    job = market.submit(**squares(3))
    job.wait(timeout=SOON)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        job.dataframe()

    made = []
    pandas = types.ModuleType("pandas")
    pandas.DataFrame = lambda rows, index: made.append((rows, index)) or "a table"  # type: ignore[attr-defined]
    pandas.Index = lambda of, name: (list(of), name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert job.dataframe() == "a table"
    rows, index = made[0]
    assert rows[2] == {"x": 2, "y": 4, "result.x": 0}
    assert index == ([0, 1, 2], "task")


def test_a_table_of_a_sweep(market) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    market.register_task("bowl", lambda point: {"loss": (point["a"] - 2) ** 2})
    job = market.submit(task="bowl", type="sweep", parameters={"a": [0, 1, 2]})
    job.wait(timeout=SOON)
    table = job.dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert list(table["loss"]) == [4, 1, 0] and list(table["a"]) == [0, 1, 2]


def test_a_bar_is_shown_with_tqdm_and_without(market, monkeypatch, capsys) -> None:
    market.register_task("square", square)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    job = market.submit(**squares(3))
    job.wait(timeout=SOON, progress=True)
    told = capsys.readouterr()
    assert told.out == "" and f"{job.id} 3/3" in told.err

    shown = []

    class Bar:
        def __init__(self, total: int, unit: str) -> None:
            self.n = 0
            shown.append(total)

        def update(self, by: int) -> None:
            self.n += by
            shown.append(self.n)

        def close(self) -> None:
            shown.append("closed")

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    market.submit(**squares(3)).wait(timeout=SOON, progress=True)
    assert shown[0] == 3 and shown[-2:] == [3, "closed"]


# ── the client of the jobs API ──


class Bridge(BaseHTTPRequestHandler):
    """HTTP in front of a market: what a gateway does, for a test."""

    protocol_version = "HTTP/1.1"
    market: calyx.Market

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        response = self.market.request(self.command, self.path, dict(self.headers), body)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["in process", "over HTTP"])
def client(request, market, they) -> Iterator[ComputalotClient]:
    if request.param == "in process":
        yield ComputalotClient(controller_url=market, token=they.agent.api_key)
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bridged", (Bridge,), {"market": market}))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield ComputalotClient(controller_url=f"http://127.0.0.1:{server.server_port}/", token=they.agent.api_key)
    finally:
        server.shutdown()
        serving.join(SOON)
        server.server_close()


def test_the_client_speaks_as_the_documents_show(client, market, they) -> None:
    """CP-13."""
    market.register_task("square", lambda payload: time.sleep(0.002) or square(payload))
    market.set_prices(base=0.001)
    recipes, jobs = client.list_recipes(), client.list_jobs(limit=5)
    assert isinstance(recipes.get("recipes", []), list)
    assert jobs["jobs"] == []
    assert client.estimate(squares(3, timeout_s=1))["tasks"] == 3

    submitted = client.submit_job(squares(3, timeout_s=1), idempotency_key="once")
    assert client.submit_job(squares(3, timeout_s=1), idempotency_key="once")["job_id"] == submitted["job_id"]
    assert client.get_job(submitted["job_id"])["status"] == "queued"
    assert client.balance()["held"] > 0
    market.job(submitted["id"]).wait(timeout=SOON)
    assert client.results(submitted["job_id"])["result"] == [0, 1, 4]
    assert client.get_job(submitted["job_id"])["receipt_id"].startswith("rcpt_")
    assert len(client.list_jobs(limit=5, status="completed")["jobs"]) == 1
    assert [task["index"] for task in client.tasks(submitted["job_id"], limit=2)["tasks"]] == [0, 1]
    assert client.events(submitted["job_id"])["events"]
    assert client.output(submitted["job_id"], 1)["stdout"] == ""

    cancelled = client.submit_job({"task": "nobody's", "payload": {}})
    assert client.cancel(cancelled["job_id"])["status"] == "cancelled"


def test_a_client_uploads_lists_and_downloads(path) -> None:
    with calyx.open(path) as market:
        owner = market.create_wallet(owner_type="human", owner_id="alice")
        client = ComputalotClient(controller_url=market, token=owner.api_key)
        data = bytes(range(256)) * 8192  # which comes back in pieces
        made = client.upload_artifact(data, "all bytes.bin", idempotency_key="once")
        assert made["sha256"] == hashlib.sha256(data).hexdigest()
        assert client.upload_artifact(data, "all bytes.bin", idempotency_key="once")["id"] == made["id"]
        assert [one["name"] for one in client.list_artifacts(limit=5)["artifacts"]] == ["all bytes.bin"]
        assert client.download_artifact(made["artifact_id"]) == data
        assert client.download_artifact(client.upload_artifact(b"")["id"]) == b""
        with pytest.raises(calyx.NotFound, match="artifact_unknown"):
            client.download_artifact("art_none")


def test_what_the_server_refuses_the_client_raises(client, market) -> None:
    with pytest.raises(calyx.NotFound) as unknown:
        client.get_job("job_none")
    assert unknown.value.reason == "job_unknown"
    with pytest.raises(calyx.Invalid, match="field_unknown"):
        client.submit_job({"task": "t", "time_out": 3})
    with pytest.raises(calyx.NotFound, match="recipe_unknown"):
        client.submit_recipe_job("none/such", {"payload": {}})
    with pytest.raises(calyx.Refused, match="unauthorized"):
        ComputalotClient(controller_url=client._market or client._url, token="cyx_live_none").list_jobs()
    with pytest.raises(calyx.Invalid, match="not_json"):
        client.submit_job({"task": Decimal(1)})


def test_a_client_is_told_of_an_address_that_is_none(path: Path) -> None:
    with pytest.raises(calyx.Invalid):
        ComputalotClient(controller_url="ftp://somewhere")
    with pytest.raises(calyx.NotFound, match="file_missing"):
        ComputalotClient(controller_url=f"calyx://{path}")
    with pytest.raises(calyx.Unavailable, match="io_error"):
        ComputalotClient(controller_url="http://127.0.0.1:1", token="t").list_jobs()


# ── the command lines ──


def run(module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        check=False,
    )


def test_jobs_are_shown_on_the_command_line(path: Path) -> None:
    with calyx.open(path) as market:
        they = people(market)
        market.register_task("square", square)
        job = market.submit(**squares(3))
        job.wait(timeout=SOON)
        later = market.submit(task="nobody's", payload={})
        key = market.issue_operator_key("jobs").api_key

    listed = run("calyx", "jobs", path, "--limit", 5)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [later.id, job.id]
    assert "3/3" in listed.stdout and "completed" in listed.stdout
    shown = run("calyx", "job", path, job.id)
    assert shown.returncode == 0 and f"id: {job.id}\nstatus: completed\n" in shown.stdout, shown.stderr
    assert "3 completed" in shown.stdout
    assert run("calyx", "job", path, "job_none").returncode == 2

    where = {"COMPUTALOT_URL": f"calyx://{path}", "COMPUTALOT_TOKEN": key}
    listed = run("computalot", "jobs", "--limit", 5, **where)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [later.id, job.id]
    shown = run("computalot", "job", job.id, "--url", where["COMPUTALOT_URL"], "--token", key)
    assert json.loads(shown.stdout)["status"] == "completed"
    assert run("computalot", "recipes", **where).returncode == 0
    assert they.agent.id.startswith("wlt_")


def test_what_the_command_line_cannot_tell_is_an_error(path: Path) -> None:
    with calyx.open(path) as market:
        key = market.issue_operator_key("").api_key
    where = {"COMPUTALOT_URL": f"calyx://{path}", "COMPUTALOT_TOKEN": key}
    docs = run("computalot", "docs", "--llm", **where)
    assert docs.returncode == 0 and "| GET | `/llms.txt` |" in docs.stdout, docs.stderr
    guide = run("computalot", "docs", **where)
    assert guide.returncode == 0 and guide.stdout.startswith("# The Python client"), guide.stderr
    assert run("computalot", "jobs", COMPUTALOT_URL="").returncode == 2
    unauthorized = run("computalot", "jobs", **{**where, "COMPUTALOT_TOKEN": "none"})
    assert unauthorized.returncode == 2 and "unauthorized" in unauthorized.stderr
    assert run("computalot", "--version").stdout == f"computalot {calyx.__version__}\n"


def test_a_wait_in_slices_lets_a_task_that_asks_run_on(market, they) -> None:
    """Work that hears `stopped` is not asked to stop each time that a wait looks up."""
    calls = []

    @market.task
    def slow(payload: Any, call: calyx.TaskCall) -> int:
        calls.append(call.attempt)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.7:  # some slices
            if call.stopped():
                raise RuntimeError("was asked to stop")
            time.sleep(0.02)
        return 7

    job = they.owner.submit(task="slow", payload={}, timeout_s=30)
    job.wait(timeout=SOON)
    assert job.result == 7
    assert calls == [1]
