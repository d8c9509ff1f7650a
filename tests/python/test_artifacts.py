"""Artifacts from Python: put, listed and read; and over the jobs API's client."""

from __future__ import annotations

import hashlib
from pathlib import Path

import calyx
import pytest


def test_artifacts_are_put_listed_and_read(path: Path, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    with calyx.open(path) as market:
        owner = market.create_wallet(owner_type="human", owner_id="alice")
        alice = market.session(owner.api_key)
        made = alice.put_artifact(data, "all bytes.bin", idempotency_key="once")
        assert (made.name, made.size, made.wallet_id) == ("all bytes.bin", len(data), owner.id)
        assert made.sha256 == hashlib.sha256(data).hexdigest()
        assert (made.job_id, made.task) == (None, None)
        assert alice.put_artifact(data, "all bytes.bin", idempotency_key="once") == made
        with pytest.raises(calyx.Conflict, match="key_reused"):
            alice.put_artifact(b"other", "all bytes.bin", idempotency_key="once")

        file = tmp_path / "file.txt"
        file.write_bytes(b"from a file")
        assert alice.put_artifact_file(file).name == "file.txt"
        assert alice.put_artifact_file(file, "other").name == "other"
        assert [one.name for one in alice.artifacts()] == ["other", "file.txt", "all bytes.bin"]
        assert [one.name for one in alice.artifacts(limit=1)] == ["other"]
        with pytest.raises(calyx.NotFound, match="file_missing"):
            alice.put_artifact_file(tmp_path / "none")

        assert alice.artifact(made.id) == made
        assert alice.read_artifact(made.id) == data
        assert [len(piece) for piece in alice.artifact_pieces(made.id, offset=5)] == [1 << 20, (1 << 20) - 5]
        bob = market.session(market.create_wallet(owner_type="human", owner_id="bob").api_key)
        assert list(bob.artifacts()) == []
        for call in (bob.artifact, bob.read_artifact, bob.artifact_pieces):
            with pytest.raises(calyx.NotFound, match="artifact_unknown"):
                call(made.id)
        with pytest.raises(calyx.NotFound, match="artifact_unknown"):
            alice.artifact("art_none")


def test_a_market_in_memory_keeps_none(market) -> None:
    with pytest.raises(calyx.Unsupported):
        market.put_artifact(b"data")
    assert list(market.artifacts()) == []
