"""Commands and images as `wallet.submit` asks for them, with the container tool of the tests."""

from __future__ import annotations

import hashlib
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


#: The whole of the document's example, with the key that this market gave.
PROGRAM = """
import calyx

wallet = calyx.Wallet(api_key=KEY, spend_cap_per_job=5.00, allowed_gpus=["RTX 4090", "A100"])
print(wallet.balance)

job = wallet.submit(
    image="pytorch/pytorch:2.3", command="python train.py --epochs 10", gpu_type="RTX 4090", max_budget=4.00
)
for line in job.logs():
    print(line)
receipt = job.wait()

assert receipt.verified == True
print(f"Spent: {receipt.flops_spent} FLOPS")
print(f"Output: {receipt.output_hash}")
print(f"GPU: {receipt.gpu_model}")
print(f"Duration: {receipt.duration_seconds}s")
"""


def test_the_documents_program_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], yard: SimpleNamespace
) -> None:
    image = tmp_path / "tool" / "image"
    image.mkdir()
    (image / "train.py").write_text("import sys\nfor epoch in range(int(sys.argv[2])):\n    print('epoch', epoch)\n")
    yard.market.set_prices(gpus={"RTX 4090": "0.001"})
    monkeypatch.setenv("CALYX_MARKET", str(tmp_path / "market.db"))
    with yard.market.worker(name="gpu-farm", host=yard.host, gpu_count=1, gpu_types=["RTX 4090"]):
        exec(compile(PROGRAM, "agent_job.py", "exec"), {"KEY": yard.agent.api_key})
    said = capsys.readouterr().out.splitlines()
    assert said[:11] == ["12.40", *(f"epoch {epoch}" for epoch in range(10))]
    assert said[11].startswith("Spent: ") and said[11].endswith(" FLOPS")
    assert said[12] == "Output: sha256:" + hashlib.sha256(b"null").hexdigest()
    assert said[13] == "GPU: RTX 4090"
    assert said[14].startswith("Duration: ")
    ran = next(words for words in map(json.loads, yard.calls.read_text().splitlines()) if words[0] == "run")
    assert ran[ran.index("--gpus") + 1] == '"device=0"'
    assert ran[-5:] == ["pytorch/pytorch:2.3", "python", "train.py", "--epochs", "10"]


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
