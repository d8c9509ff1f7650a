#!/usr/bin/env python3
"""A paid job, end to end, from Python.

    first_job.py [FOLDER]

The result that is sold here is the verdict on packing_candidate.json beside this file, by calyx's recipe `packing`:
the same bytes on every machine. What the job leaves in FOLDER (first-job-files without one) others can verify: see
verify_receipt.sh and verify_receipt.py.

The exit status is 0 only when every step held.
"""

import base64
import json
import sys
from pathlib import Path

import calyx
from calyx.recipes import packing


def say(step: str, what: str) -> None:
    print(f"{step:<16} {what}")


def tampered(jws: str) -> str:
    """`jws` with one digit of the amount in its payload changed, and the signature left as it was."""
    header, payload, signature = jws.split(".")
    signed = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    changed = signed.replace(b'"gross":"3.80"', b'"gross":"9.80"')
    if changed == signed:
        raise SystemExit("first_job.py: the receipt does not say 3.80")
    return f"{header}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}.{signature}"


def need(held: object, what: str) -> None:
    """Ends the job unless the step held. Not `assert`, which `python -O` leaves out."""
    if not held:
        raise SystemExit(f"first_job.py: {what}")


def first_job(folder: Path, market: calyx.Market) -> None:
    alice = market.create_wallet(owner_type="human", owner_id="alice")
    host = market.create_wallet(owner_type="human", owner_id="gpu-host-7")
    say("Create a wallet", f"alice, a human: {alice.id}")

    bought = market.topup(alice, 2000, reference="invoice-1")
    say("Top up", f"{bought.amount} FLOPS, which is USD {bought.amount.usd:.0f}; alice has {bought.new_balance}")

    # From here on each speaks with its own key, and can do no more than that key may.
    as_alice = calyx.Wallet(api_key=alice.api_key, market=market)
    as_host = calyx.Wallet(api_key=host.api_key, market=market)
    agent = market.session(alice.api_key).create_wallet(
        owner_type="agent",
        owner_id="research-agent-v1",
        parent=alice,
        spend_cap_per_job=5.00,
        approval_threshold=20.00,
        allowed_gpu_types=["CPU", "RTX 4090", "A100"],
    )
    as_alice.fund(agent, 12.40)
    say("Fund an agent", f"research-agent-v1 gets {agent.balance} and may lock {agent.spend_cap_per_job} a job: {agent.id}")

    as_agent = calyx.Wallet(api_key=agent.api_key, market=market)
    try:
        as_agent.spend("job-441", 6.00, gpu_type="CPU", host=host)
        need(False, "a cap was not enforced")
    except calyx.Refused as no:
        need(no.reason == "spend_cap_per_job", str(no))
        say("Stay in bounds", f"6.00 is refused: {no.message}")
    locked = as_agent.spend("job-441", 4.00, gpu_type="CPU", host=host)
    say("Lock escrow", f"{locked.amount_locked} for job-441; the agent has {locked.new_balance} left")

    # The host computes it, here on this thread: a job of the operator's costs nobody anything.
    candidate = json.loads((Path(__file__).parent / "packing_candidate.json").read_text())
    computed = market.submit(recipe="packing", payload={"operation": "eval", "candidate": candidate})
    computed.wait(timeout=60)
    result, output_hash = computed.result["raw"], computed.state().output_hash
    need(result["valid"] and result["score"] == packing.evaluate(candidate).score, "the packing is not valid")
    say("The job runs", f"packing.eval: 15 semicircles fit a circle of {result['score']}")
    say("", output_hash)

    earned = as_host.earn("job-441", 3.80, output_hash, "CPU", 1)
    say(
        "Settle",
        f"{earned.gross_amount}: the host gets {earned.net_payout}, the platform {earned.platform_fee}, "
        "and 0.20 goes back to the agent",
    )

    receipt = next(as_agent.receipts())
    keys = market.public_keys()
    need(receipt.verified and calyx.verify_receipt(receipt.jws, keys), "the receipt is not valid")
    say("Verify", f"calyx says valid: {receipt.id}")

    copy = tampered(receipt.jws)
    verdict = calyx.verify_receipt(copy, keys)
    need(not verdict, "a tampered receipt was taken for good")
    say("Tamper", f"a copy that says 9.80 is refused: {verdict.reason}")

    audit = market.audit(receipt)  # against the receipt that the agent holds
    need(audit, f"the audit found a fault: {audit.first_fault}")
    say("Audit", f"passed: {audit.events} events, {audit.entries} entries, {audit.receipts} receipt")

    left = [str(wallet.balance) for wallet in (as_alice, as_agent, as_host)]
    need(left == ["1987.60", "8.60", "3.23"], f"a balance is wrong: {left}")
    say("Balances", f"alice {left[0]}, the agent {left[1]}, the host {left[2]}, fees {earned.platform_fee}")

    (folder / "receipt.jws").write_text(receipt.jws)
    (folder / "receipt.json").write_text(receipt.to_json())
    (folder / "tampered.jws").write_text(copy)
    (folder / "keys.json").write_text(json.dumps(keys, separators=(",", ":")))


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "first-job-files")
    folder.mkdir(parents=True, exist_ok=True)
    with calyx.open(folder / "market.db") as market:
        first_job(folder, market)


if __name__ == "__main__":
    main()
