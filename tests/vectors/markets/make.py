#!/usr/bin/env python3
"""Makes a market with something of everything in it, and writes it down as SQL: make.py FOLDER

Run it with the calyx whose schema is to be kept, before that changes:

    PYTHONPATH=build/dev/python python3 tests/vectors/markets/make.py tests/vectors/markets

It writes schema<N>.sql, the market's file as statements, schema<N>.keys.json, the key file that stood beside it, and
schema<N>.json, what an audit of it says. The keys are of this market alone, which nobody uses.
"""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

import calyx

HERE = Path(__file__).resolve().parent
#: What x402's own client signed for 100 FLOPS of USDC on Base, and the instant of that.
SIGNED_402 = json.loads((HERE.parent / "payments/combined_402.json").read_text())["vectors"][0]
SIGNED = SIGNED_402["client_retry_headers"]["@x402/fetch 2.27.0"]["PAYMENT-SIGNATURE"]
BEGINS_US = 1_767_225_600_000_000


class Backend:
    """Settles whatever it is asked to."""

    def verify(self, payment):
        return calyx.SettlementAnswer.valid()

    def settle(self, key, payment):
        return calyx.SettlementAnswer.settled("0xf00d")

    def status(self, key):
        return calyx.SettlementAnswer.unknown()


def tarball() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        source = b"print('hello')\n"
        entry = tarfile.TarInfo("task.py")
        entry.size = len(source)
        tar.addfile(entry, io.BytesIO(source))
    return out.getvalue()


def fill(market: calyx.Market) -> None:
    # Wallets, what bounds them, and who may speak for them.
    alice = market.create_wallet(owner_type="human", owner_id="alice")
    host = market.create_wallet(owner_type="human", owner_id="gpu-host-7")
    for_alice = market.session(alice.api_key)
    agent = for_alice.create_wallet(
        owner_type="agent", owner_id="agent-1", parent=alice, spend_cap_per_job=9, approval_threshold=20
    )
    market.grant(alice)
    market.topup(alice, 500, reference="invoice-1")
    as_alice = calyx.Wallet(api_key=alice.api_key, market=market)
    as_agent = calyx.Wallet(api_key=agent.api_key, market=market)
    as_host = calyx.Wallet(api_key=host.api_key, market=market)
    as_alice.fund(agent, 120, idempotency_key="once-1")
    market.revoke_key(as_alice.issue_key("spare"))
    market.approve_waitlist(market.join_waitlist("carol"))
    market.issue_operator_key("night shift")

    # Escrow: settled, released, open, asked for, and enough of it for a milestone.
    as_agent.spend("job-1", 4, gpu_type="CPU", host=host)
    as_host.earn("job-1", 3.8, "sha256:" + "ab" * 32, "CPU", 60)
    as_agent.spend("job-2", 2)
    as_agent.release("job-2")
    as_agent.spend("job-3", 5, host=host)
    agent.set_policy(approval_threshold=2)
    for job in ("job-4", "job-5"):
        try:
            as_agent.spend(job, 3)
        except calyx.Refused as asked:
            if job == "job-4":
                for_alice.approve(asked.details["approval_id"])
    market.bulk(
        operation
        for i in range(40)
        for operation in (
            calyx.Spend(alice, f"small-{i}", 0.5),
            calyx.Earn(host, f"small-{i}", 0.25, "sha256:" + "cd" * 32, "CPU", 1),
        )
    )
    as_host.payout(1, "bank:1")
    calyx.Wallet(api_key=calyx.derive_key(alice.api_key, budget=3), market=market).spend("narrow-1", 1)
    market.rotate_signing_key()

    # Jobs, a project, artifacts, messages.
    market.register_task("square", lambda payload: payload["x"])
    as_alice.rotate_webhook_secret()
    done = as_alice.submit(
        task="square", payload={"x": [1, 2, 3]}, fan_out={"by": "x"}, timeout_s=1, callback_url="https://10.0.0.9/calyx"
    )
    with market.worker(host=host):
        done.wait(timeout=60)
    as_alice.submit(task="square", payload={"x": list(range(50))}, fan_out={"by": "x"}, timeout_s=1)
    for_alice.put_artifact(b"weights", "weights.bin")
    project = as_alice.create_project("hello")
    project.push(tarball())
    project.kv_put("best", {"score": 1})

    # Money from elsewhere: a quote that is paid, and one that is open.
    market.set_payment_terms(
        base_url="https://calyx.example",
        networks=[calyx.PaymentNetwork("base", pay_to="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")],
    )
    for_alice.pay_quote(for_alice.quote_topup(alice, 100), SIGNED)
    for_alice.quote_topup(alice, 7)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "market.db"
        seconds = iter(range(10_000_000))
        with calyx.open(path, settlement=Backend(), callbacks=calyx.CallbackRules(allow_private=True), clock=lambda: BEGINS_US + next(seconds) * 1_000) as market:
            fill(market)
            report = market.audit(deep=True)
            if not report.ok:
                sys.exit(report.first_fault)
            balances = {wallet.owner_id: str(wallet.balance) for wallet in market.wallets()}
        with sqlite3.connect(path) as file:
            version = file.execute("PRAGMA user_version").fetchone()[0]
            application = file.execute("PRAGMA application_id").fetchone()[0]
            receipts = file.execute("SELECT count(*) FROM receipts").fetchone()[0]
            statements = [f"PRAGMA application_id={application};", f"PRAGMA user_version={version};", *file.iterdump()]
        name = folder / f"schema{version}"
        name.with_suffix(".sql").write_text("\n".join(statements) + "\n")
        name.with_suffix(".keys.json").write_bytes((Path(scratch) / "market.db-keys").read_bytes())
        told = {"head": report.head, "seq": report.seq, "balances": balances, "receipts": receipts}
        name.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
