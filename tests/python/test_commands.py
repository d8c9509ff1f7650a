"""Commands and images as `wallet.submit` asks for them, with the container tool of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import calyx
import pytest
from conftest import people

DOCKER = Path(__file__).parents[1] / "runner" / "docker"


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A market that runs images by a tool which tells what it was asked, and the people in it."""
    tool = tmp_path / "tool"
    tool.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tool))
    commands = calyx.Commands(containers=str(DOCKER), scratch=str(tmp_path))
    with calyx.open(tmp_path / "market.db", commands=commands) as market:
        yield SimpleNamespace(market=market, calls=tool / "calls", **vars(people(market)))


def test_a_wallet_submits_a_command_in_an_image_and_holds_its_receipt(yard: SimpleNamespace) -> None:
    yard.market.set_prices(base="0.001")
    job = yard.agent.submit(image="repo/trainer:1", command="sh -c 'echo epoch 1; echo epoch 2'", max_budget=4.00)
    assert list(job.logs()) == ["epoch 1", "epoch 2"]
    receipt = job.wait()
    assert receipt is not None and receipt.verified
    assert job.result is None
    asked = [json.loads(line) for line in yard.calls.read_text().splitlines()]
    ran = next(words for words in asked if words[0] == "run")
    assert ran[-4:] == ["repo/trainer:1", "sh", "-c", "echo epoch 1; echo epoch 2"]


def test_a_worker_runs_commands_as_its_market_does(yard: SimpleNamespace) -> None:
    with yard.market.worker():
        job = yard.agent.submit(image="repo/trainer:1", command=["sh", "-c", "echo 5 > $COMPUTALOT_TASK_RESULT"])
        job.wait(timeout=60)
    assert job.result == 5


def test_a_lease_names_its_image(yard: SimpleNamespace) -> None:
    job = yard.agent.submit(image="repo/trainer:1", command="true")
    assert yard.market.lease("elsewhere", commands=True) is None
    lease = yard.market.lease("elsewhere", images=["*"])
    assert lease is not None
    assert (lease.job_id, lease.image, lease.command) == (job.id, "repo/trainer:1", ["true"])


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"image": "--privileged", "command": "true"}, "/image"),
        ({"image": "repo/a b", "command": "true"}, "/image"),
        ({"image": "repo/a"}, "/runner_command"),
        ({"command": "true"}, "/project"),
        ({"image": "repo/a", "command": "echo 'open"}, "/command"),
        ({"image": "repo/a", "command": "   "}, "/command"),
        ({"image": "repo/a", "command": []}, "/runner_command"),
        ({"image": "repo/a", "command": "true", "runner_command": ["true"]}, "/command"),
        ({"image": "repo/a", "command": "true", "task": "square"}, "/task"),
        ({"image": "repo/a", "task": "square"}, "/image"),
    ],
)
def test_what_is_no_command_in_an_image_is_refused(yard: SimpleNamespace, members: dict, field: str) -> None:
    with pytest.raises(calyx.Invalid) as raised:
        yard.agent.submit(**members)
    assert raised.value.details["field"] == field


def test_a_market_without_commands_runs_none(tmp_path: Path) -> None:
    with calyx.open(tmp_path / "market.db") as market:
        job = people(market).agent.submit(image="repo/trainer:1", command="true")
        with pytest.raises(TimeoutError):
            job.wait(timeout=0.2)


def test_commands_with_no_place_to_run_say_so(tmp_path: Path) -> None:
    nowhere = calyx.Commands(containers="none", scratch=str(tmp_path))
    with calyx.open(tmp_path / "market.db", commands=nowhere) as market, pytest.raises(calyx.Refused) as raised:
        market.worker().start()
    assert raised.value.reason == "bare_host_refused"
