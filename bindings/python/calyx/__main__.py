"""The command line: ``python -m calyx --help``.

Exits 0 when all is well, 1 when a receipt is not valid or an audit finds a fault, 2 when it could not tell.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from . import Error, Receipt, ReceiptAudit, __version__, open as open_market, recompute_receipt, verify_receipt


def _read(path: str) -> str:
    return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")


def operator_key(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market) as market:
        issued = market.issue_operator_key(arguments.label)
    print(issued.api_key)
    print(f"{issued.id}: keep the key above, it is not shown again", file=sys.stderr)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    verdict = verify_receipt(_read(arguments.receipt), _read(arguments.jwks))  # raises when there are no keys
    if not verdict.valid or verdict.payload is None:
        print(f"not valid: {verdict.reason}")
        return 1
    said = [str(verdict.payload[name]) for name in ("id", "gpu_model", "output_hash") if name in verdict.payload]
    amount = verdict.payload.get("amount")
    if isinstance(amount, dict) and isinstance(amount.get("gross"), str):
        said.insert(1, f"{amount['gross']} FLOPS")
    print(f"valid: {', '.join(said)}")
    if arguments.job is None:
        return 0
    receipt = Receipt.load(_read(arguments.receipt), _read(arguments.jwks))
    return _say_recomputed(recompute_receipt(receipt, json.loads(_read(arguments.job))))


def _say_recomputed(audit: ReceiptAudit) -> int:
    if audit:
        print(f"reproduced: {audit.tasks} tasks came to {audit.recomputed_hash}")
        return 0
    where = "" if audit.first_difference is None else f"; task {audit.first_difference} differs first"
    why = "" if audit.error is None else f": {audit.error}"
    print(f"not reproduced: signed {audit.output_hash}, now {audit.recomputed_hash or 'nothing'}{where}{why}")
    return 1


def audit(arguments: argparse.Namespace) -> int:
    if arguments.receipt is not None:
        with open_market(arguments.market, read_only=True) as market:
            return _say_recomputed(market.audit_receipt(arguments.receipt))
    anchor = None if arguments.anchor is None else _read(arguments.anchor)
    with open_market(arguments.market, read_only=True) as market:
        report = market.audit(anchor, deep=arguments.deep)
    counts = (
        f"{report.events} events, {report.entries} entries, {report.receipts} receipts, "
        f"{report.signatures} signatures, {report.checkpoints} checkpoints"
    )
    if report:
        print(f"ok: {counts}; event {report.seq} is {report.head}")
        return 0
    print(f"fault: {report.first_fault}")
    return 1


def export(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market, read_only=True) as market:
        if arguments.output in (None, "-"):
            market.export(arguments.format, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            market.export(arguments.format, arguments.output)
    return 0


def operator_keys(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market, read_only=arguments.revoke is None) as market:
        if arguments.revoke is not None:
            market.revoke_key(arguments.revoke)
        for key in market.operator_keys():
            ended = "" if key.revoked_at is None else f", revoked {key.revoked_at:%Y-%m-%d}"
            print(f"{key.id}  ...{key.last4}  {key.created_at:%Y-%m-%d}{ended}  {key.label}".rstrip())
    return 0


def keys(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market, read_only=True) as market:
        print(json.dumps(market.public_keys(), indent=2))
    return 0


def jobs(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market, read_only=True) as market:
        for job in market.jobs(arguments.limit, status=arguments.status):
            done = f"{job.progress.completed + job.progress.failed}/{job.progress.tasks}"
            print(f"{job.id}  {job.status:<9}  {done:>9}  {job.cost} FLOPS  {job.name}")
    return 0


def job(arguments: argparse.Namespace) -> int:
    with open_market(arguments.market, read_only=True) as market:
        state = market.job(arguments.job_id).state()
    for field in fields(state):
        value = getattr(state, field.name)
        if field.name == "progress":
            said = ", ".join(f"{getattr(value, one.name)} {one.name}" for one in fields(value))
        elif isinstance(value, datetime):
            said = f"{value:%Y-%m-%dT%H:%M:%SZ}"
        else:
            said = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        if said:
            print(f"{field.name}: {said}")
    return 0


def docs(arguments: argparse.Namespace) -> int:
    page = "/llms.txt" if arguments.llm else "/api/v1/docs/python-sdk"
    with open_market(arguments.market, read_only=arguments.market is not None) as market:
        print(market.request("GET", page).body.decode().rstrip("\n"))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m calyx",
        description="Works on a market file from the command line. Exits 0 when all is well, 1 when a receipt is "
        "not valid or an audit finds a fault, 2 when it could not tell.",
    )
    top.add_argument("--version", action="version", version=f"calyx {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser(
        "operator-key",
        help="mint an operator's API key",
        description="Mints an operator's API key and prints it, this once. Creates the market when there is none.",
    )
    one.add_argument("market", help="the market file")
    one.add_argument("--label", default="", help="what the key is for, at most 64 bytes")
    one.set_defaults(run=operator_key)

    one = commands.add_parser(
        "operator-keys",
        help="list the operators' API keys, or revoke one",
        description="Lists the operators' API keys: id, last letters, day of issue, label. The keys themselves are "
        "nowhere to be read.",
    )
    one.add_argument("market", help="the market file")
    one.add_argument("--revoke", metavar="ID", help="end this key for ever (key_...), then list")
    one.set_defaults(run=operator_keys)

    one = commands.add_parser(
        "verify",
        help="verify a receipt, with no market at hand",
        description="Judges a receipt by the issuer's public keys alone.",
    )
    one.add_argument("receipt", help="a file with the receipt's JSON document or its bare JWS; - reads from stdin")
    one.add_argument("--jwks", required=True, metavar="FILE", help="the issuer's JSON Web Key Set")
    one.add_argument(
        "--job", metavar="FILE", help="the job as it was submitted: compute it again and compare what comes out"
    )
    one.set_defaults(run=verify)

    one = commands.add_parser(
        "audit",
        help="re-sum, re-chain and re-verify a market",
        description="Re-sums, re-chains and re-verifies everything and names the first thing wrong.",
    )
    one.add_argument("market", help="the market file")
    one.add_argument("--anchor", metavar="FILE", help="a receipt or checkpoint that the market must agree with")
    one.add_argument(
        "--receipt", metavar="ID", help="instead, compute this receipt's job again and compare (rcpt_...)"
    )
    one.add_argument("--deep", action="store_true", help="check every receipt's signature by itself")
    one.set_defaults(run=audit)

    one = commands.add_parser(
        "export", help="write the ledger", description="Writes the whole ledger, to stdout unless told otherwise."
    )
    one.add_argument("market", help="the market file")
    one.add_argument("--format", required=True, choices=("csv", "jsonl", "hledger"), help="how it is written")
    one.add_argument("-o", "--output", metavar="FILE", help="where to: replaced when all is written, and as it was when that fails")
    one.set_defaults(run=export)

    one = commands.add_parser(
        "keys",
        help="print a market's public keys",
        description="Prints the public keys that verify the market's receipts, as a JSON Web Key Set.",
    )
    one.add_argument("market", help="the market file")
    one.set_defaults(run=keys)

    one = commands.add_parser(
        "docs",
        help="print the API's reference",
        description="Prints the guide to the Python client, as this build serves it.",
    )
    one.add_argument("market", nargs="?", help="a market file; without it, what every market has")
    one.add_argument("--llm", action="store_true", help="the compact reference of all routes, for agents")
    one.set_defaults(run=docs)

    one = commands.add_parser(
        "jobs", help="list a market's jobs", description="Lists jobs, the youngest first: status, tasks done, cost, name."
    )
    one.add_argument("market", help="the market file")
    one.add_argument("--limit", type=int, help="how many")
    one.add_argument("--status", help="only those that are queued, running, completed, …")
    one.set_defaults(run=jobs)

    one = commands.add_parser("job", help="show a job", description="Shows a job as it stands.")
    one.add_argument("market", help="the market file")
    one.add_argument("job_id", help="job_…")
    one.set_defaults(run=job)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        code: int = asked.run(asked)
        return code
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (Error, OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        print(f"calyx: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
