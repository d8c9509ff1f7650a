"""What the tests share: a market in memory, a market in a file, and the people in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import calyx
import pytest

OUTPUT = b"the result of a job"
OUTPUT_HASH = hashlib.sha256(OUTPUT).hexdigest()


class Clock:
    """A clock that a test turns. Units: microseconds since 1970."""

    def __init__(self) -> None:
        self.us = 1_775_077_200_000_000  # 2026-04-01T21:00:00Z

    def __call__(self) -> int:
        return self.us

    def pass_seconds(self, seconds: int) -> None:
        self.us += seconds * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def market(clock: Clock) -> Iterator[calyx.Market]:
    with calyx.open(clock=clock) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.db"


def people(market: calyx.Market) -> SimpleNamespace:
    """A human with 2,000 FLOPS, her agent with 12.40 of them, and a host."""
    owner = market.create_wallet(owner_type="human", owner_id="alice")
    agent = market.create_wallet(
        owner_type="agent",
        owner_id="research-agent-v1",
        parent=owner,
        spend_cap_per_job=5.00,
        approval_threshold=20.00,
        allowed_gpu_types=["RTX 4090", "A100"],
    )
    host = market.create_wallet(owner_type="human", owner_id="gpu-farm")
    market.topup(owner, 2000)
    owner.fund(agent, 12.40)
    return SimpleNamespace(owner=owner, agent=agent, host=host)


@pytest.fixture
def they(market: calyx.Market) -> SimpleNamespace:
    return people(market)


def settle(they: SimpleNamespace, job_id: str = "job-441") -> calyx.Earned:
    """The documents' job: 4 FLOPS locked, 3.80 earned."""
    they.agent.spend(job_id, 4.00, gpu_type="RTX 4090")
    return they.host.earn(job_id, 3.80, OUTPUT_HASH, "RTX 4090", 10082)


def supply(market: calyx.Market) -> int:
    """What all wallets hold and have locked. Units: micro-FLOPS."""
    states = [wallet.state() for wallet in market.wallets()]
    return sum(state.balance.micro + state.held.micro for state in states)
