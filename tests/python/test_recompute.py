"""A receipt's job, computed again: in its market, and from what was submitted by whoever holds the receipt."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import calyx
import pytest

#: A search that takes long enough to cost something.
SEARCH = {"payload": {"operation": "feasible_optimize", "seed": 3, "max_iters": 3000, "n_restarts": 1}}


@pytest.fixture
def market(path: Path) -> Iterator[calyx.Market]:
    with calyx.open(path) as opened:
        opened.set_prices(base=1)
        yield opened


@pytest.fixture
def wallet(market: calyx.Market) -> calyx.Wallet:
    owner = market.create_wallet(owner_type="human", owner_id="alice")
    market.topup(owner, 1_000_000)
    return owner


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "calyx", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_market_computes_a_receipt_again(market: calyx.Market, wallet: calyx.Wallet, path: Path) -> None:
    job = wallet.submit(recipe="packing", **SEARCH)
    receipt = job.wait()
    assert receipt is not None
    audit = market.audit_receipt(receipt)
    assert audit
    assert audit.reproduced
    assert (audit.receipt_id, audit.job_id, audit.tasks) == (receipt.id, job.id, 1)
    assert audit.output_hash == audit.recomputed_hash == receipt.output_hash
    assert audit.input_hash == job.state().input_hash == receipt.payload["work"]["input_hash"]
    assert audit.first_difference is None
    said = command("audit", path, "--receipt", receipt.id)
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"reproduced: 1 tasks came to {receipt.output_hash}\n"


def test_whoever_holds_receipt_and_job_computes_it_again(
    market: calyx.Market, wallet: calyx.Wallet, tmp_path: Path
) -> None:
    receipt = wallet.submit(recipe="packing", **SEARCH).wait()
    assert receipt is not None
    assert calyx.recompute_receipt(receipt, {**SEARCH, "max_budget": 5, "tags": ["x"]})
    other: dict[str, Any] = {"payload": {**SEARCH["payload"], "seed": 4}}
    with pytest.raises(calyx.Invalid, match="content_mismatch"):
        calyx.recompute_receipt(receipt, other)

    files = {"receipt": receipt.jws, "keys": json.dumps(market.public_keys()), "job": json.dumps(SEARCH)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    names = (tmp_path / "receipt", "--jwks", tmp_path / "keys", "--job")
    said = command("verify", *names, tmp_path / "job")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == f"reproduced: 1 tasks came to {receipt.output_hash}"
    (tmp_path / "job").write_text(json.dumps(other))
    said = command("verify", *names, tmp_path / "job")
    assert said.returncode == 2
    assert "content_mismatch" in said.stderr


def test_a_recipe_of_the_host_is_judged_by_its_schema_and_its_class(
    market: calyx.Market, wallet: calyx.Wallet, path: Path
) -> None:
    def double(payload: dict[str, int]) -> int:
        time.sleep(0.005)
        return 2 * payload["n"]

    def even(payload: dict[str, int]) -> None:
        if payload["n"] % 2:
            raise ValueError("is odd")

    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "maximum": 50}}}
    market.register_recipe("double", double, summary="Twice.", payload_schema=schema, result_class="exact", check=even)
    found = next(one for one in market.recipes() if one.name == "double")
    assert (found.summary, found.payload_schema, found.result_class) == ("Twice.", schema, "exact")
    assert {one.name: one.result_class for one in market.recipes()}["packing"] == "exact"

    for payload, field, says in (
        ({}, "/payload/n", "is missing"),
        ({"n": "2"}, "/payload/n", "must be of type integer"),
        ({"n": 52}, "/payload/n", "is 52, must be at most 50"),
        ({"n": 3}, "/payload", "is odd"),
    ):
        with pytest.raises(calyx.Invalid) as refused:
            wallet.submit(recipe="double", payload=payload)
        assert refused.value.details["field"] == field
        assert says in refused.value.message
    assert list(market.jobs()) == []

    job = wallet.submit(recipe="double", payload={"n": 8})
    receipt = job.wait()
    assert job.result == 16
    assert receipt is not None
    assert market.audit_receipt(receipt)
    market.register_recipe("double", lambda payload: 2 * payload["n"] + 1, result_class="exact")
    audit = market.audit_receipt(receipt)
    assert not audit
    assert (audit.first_difference, audit.error) == (0, None)
    market.register_recipe("double", double)
    with pytest.raises(calyx.Conflict, match="not_reproducible"):
        market.audit_receipt(receipt)
    said = command("audit", path, "--receipt", receipt.id)  # a process that has no such recipe
    assert said.returncode == 2
    assert "recipe_unknown" in said.stderr

    # Each task of a job that fans out is judged as it is made.
    market.register_recipe("double", double, payload_schema=schema, check=even)
    job = wallet.submit(recipe="double", fan_out={"items": [{"n": 4}, {"n": 99}]}, max_retries=0)
    job.wait()
    assert job.state().status == "partial"
    assert "is 99, must be at most 50" in (job.state().error or "")


def test_what_is_no_recipe_is_refused(market: calyx.Market) -> None:
    for arguments, field in (
        ({"payload_schema": {"pattern": "a"}}, "/payload_schema/pattern"),
        ({"payload_schema": {"items": []}}, "/payload_schema/items"),
        ({"result_class": "perfect"}, "/result_class"),
        ({"check": 7}, "/check"),
    ):
        with pytest.raises(calyx.Invalid) as refused:
            market.register_recipe("double", lambda payload: payload, **arguments)
        assert refused.value.details["field"] == field
    assert "double" not in {one.name for one in market.recipes()}
