"""python -m calyx, as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import calyx
import pytest
from conftest import people, settle


def run(*arguments: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "calyx", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )


@pytest.fixture
def receipt(path: Path) -> calyx.Receipt:
    with calyx.open(path) as market:
        receipt = settle(people(market)).receipt
        path.with_name("receipt.json").write_text(receipt.to_json())
        path.with_name("receipt.jws").write_text(receipt.jws + "\n")
        path.with_name("checkpoint.txt").write_text(market.checkpoint(), encoding="utf-8")
        assert receipt.verified
    return receipt


def test_an_operators_key_is_minted_and_works(path: Path) -> None:
    minted = run("operator-key", path, "--label", "first")
    assert minted.returncode == 0, minted.stderr
    key = minted.stdout.strip()
    assert key.startswith("cyx_op_") and key not in minted.stderr
    with calyx.open(path) as market:
        assert market.session(key).role == "operator"
        assert market.request("GET", "/v1/wallets", {"X-API-Key": key}).status == 200


def test_a_receipt_is_verified_by_files_alone(path: Path, receipt: calyx.Receipt) -> None:
    keys = run("keys", path)
    assert keys.returncode == 0, keys.stderr
    assert json.loads(keys.stdout)["keys"][0]["kty"] == "OKP"
    path.with_name("keys.json").write_text(keys.stdout)
    for name in ("receipt.json", "receipt.jws"):
        good = run("verify", path.with_name(name), "--jwks", path.with_name("keys.json"))
        assert good.returncode == 0, good.stderr
        assert good.stdout == f"valid: {receipt.id}, 3.80 FLOPS, RTX 4090, {receipt.output_hash}\n"
    good = run("verify", "-", "--jwks", path.with_name("keys.json"), stdin=receipt.jws)
    assert good.returncode == 0

    path.with_name("bad.json").write_text(receipt.to_json().replace("RTX 4090", "RTX 5090"))
    bad = run("verify", path.with_name("bad.json"), "--jwks", path.with_name("keys.json"))
    assert (bad.returncode, bad.stdout) == (1, "not valid: fields_differ\n")
    none = run("verify", path.with_name("none.json"), "--jwks", path.with_name("keys.json"))
    assert none.returncode == 2 and "none.json" in none.stderr


def test_an_audit_says_ok_or_names_the_fault(path: Path, receipt: calyx.Receipt) -> None:
    anchors = [["--anchor", path.with_name(name)] for name in ("receipt.json", "checkpoint.txt")]
    for more in ([], ["--deep"], *anchors):
        good = run("audit", path, *more)
        assert good.returncode == 0, good.stderr + good.stdout
        assert good.stdout.startswith("ok: ") and "1 receipts" in good.stdout

    with calyx.open(path.with_name("other.db")) as other:
        people(other)
    fault = run("audit", path.with_name("other.db"), "--anchor", path.with_name("receipt.json"))
    assert fault.returncode == 1
    assert fault.stdout.startswith("fault: ")
    missing = run("audit", path.with_name("missing.db"))
    assert missing.returncode == 2 and missing.stderr.startswith("calyx: file_missing")
    assert not path.with_name("missing.db").exists()


def test_an_export_goes_to_stdout_or_a_file(path: Path, receipt: calyx.Receipt) -> None:
    for format in ("csv", "jsonl", "hledger"):
        shown = run("export", path, "--format", format)
        assert shown.returncode == 0 and shown.stdout, shown.stderr
        written = run("export", path, "--format", format, "-o", path.with_name("out"))
        assert written.returncode == 0, written.stderr
        assert path.with_name("out").read_text(encoding="utf-8") == shown.stdout
    assert run("export", path, "--format", "xlsx").returncode == 2


def test_help_and_version_are_there() -> None:
    assert run("--version").stdout == f"calyx {calyx.__version__}\n"
    shown = run("--help").stdout
    for command in ("operator-key", "verify", "audit", "export", "keys"):
        assert command in shown
        assert run(command, "--help").returncode == 0
    assert run().returncode == 2


def test_an_export_never_writes_over_the_market(path: Path, receipt: calyx.Receipt) -> None:
    link, hard, folder = path.with_name("link"), path.with_name("hard"), path.with_name("folder")
    link.symlink_to(path)
    folder.symlink_to(path.parent, target_is_directory=True)
    dangling = path.with_name("dangling")
    dangling.symlink_to(f"{path}-journal")  # a name that SQLite would use, and that is not there yet
    before = {file: file.read_bytes() for file in path.parent.glob("market.db*")}
    targets = [path, link, folder / path.name, dangling]
    targets += [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal", "-gate", "-keys")]
    targets.append(folder / f"{path.name}-keys")
    for target in targets:
        refused = run("export", path, "--format", "csv", "-o", target)
        assert (refused.returncode, refused.stdout) == (2, ""), target
        assert refused.stderr.startswith("calyx: path_refused"), refused.stderr
    assert path.read_bytes() == before[path]
    assert Path(f"{path}-keys").read_bytes() == before[Path(f"{path}-keys")]
    assert not Path(f"{path}-journal").exists()
    with calyx.open(path) as market:
        assert market.audit()
        hard.hardlink_to(path)  # another name of the same file, which is seen by device and inode alone
        with pytest.raises(calyx.Invalid, match="path_refused"):
            market.export("csv", hard)
        hard.unlink()


def test_an_export_that_fails_leaves_what_was_there(path: Path, receipt: calyx.Receipt, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    kept = out / "ledger.csv"
    kept.write_text("what was there")
    kept.chmod(0o640)
    pointed = out / "link.csv"
    pointed.symlink_to(kept)
    with calyx.open(path) as market:
        stranger = market.create_wallet("human", "eve").api_key
        with pytest.raises(calyx.Refused):
            market.session(stranger).export("csv", kept)
        with pytest.raises(IsADirectoryError):
            market.export("csv", out)
        with pytest.raises(FileNotFoundError):
            market.export("csv", out / "none" / "ledger.csv")
        with pytest.raises(calyx.Invalid):
            market.export("csv", 3)
        assert kept.read_text() == "what was there"
        assert sorted(one.name for one in out.iterdir()) == ["ledger.csv", "link.csv"]
        market.export("csv", str(pointed))
        assert pointed.is_symlink() and kept.read_text(encoding="utf-8") == "".join(market.export("csv"))
        assert kept.stat().st_mode & 0o777 == 0o640
        assert sorted(one.name for one in out.iterdir()) == ["ledger.csv", "link.csv"]


def test_keys_that_are_none_are_not_a_verdict(path: Path, receipt: calyx.Receipt) -> None:
    for name, text in (("none.json", None), ("broken.json", "{"), ("empty.json", '{"keys": []}')):
        if text is not None:
            path.with_name(name).write_text(text)
        told = run("verify", path.with_name("receipt.jws"), "--jwks", path.with_name(name))
        assert (told.returncode, told.stdout) == (2, ""), name
        assert told.stderr.startswith("calyx: "), told.stderr


def test_operators_keys_are_listed_and_revoked(path: Path) -> None:
    key = run("operator-key", path, "--label", "lost").stdout.strip()
    listed = run("operator-keys", path)
    assert listed.returncode == 0, listed.stderr
    assert "lost" in listed.stdout and key[-4:] in listed.stdout and key not in listed.stdout
    ended = run("operator-keys", path, "--revoke", listed.stdout.split()[0])
    assert ended.returncode == 0 and "revoked" in ended.stdout
    with calyx.open(path) as market, pytest.raises(calyx.Refused):
        market.session(key)
    assert run("operator-keys", path, "--revoke", "key_" + "0" * 26).returncode == 2


def test_the_reference_is_printed_with_and_without_a_market(path: Path) -> None:
    short = run("docs", "--llm")
    assert short.returncode == 0, short.stderr
    assert "| GET | `/api/v1/jobs/{id}` |" in short.stdout
    assert run("docs").stdout.startswith("# The Python client\n")
    with calyx.open(path) as market:
        assert market.request("GET", "/llms.txt").body.decode().rstrip("\n") == short.stdout.rstrip("\n")
    assert run("docs", path, "--llm").stdout == short.stdout
    missing = run("docs", path.with_name("none.db"))
    assert missing.returncode == 2 and missing.stderr.startswith("calyx: file_missing")


def test_metrics_are_for_the_host_s_machine_and_for_operators(path: Path) -> None:
    with calyx.open(path) as market:
        key = market.issue_operator_key("").api_key
        assert market.request("GET", "/metrics").status == 401
        local = market.request("GET", "/metrics", remote_is_local=True)
        assert local.status == 200 and b"\ncalyx_events_total " in local.body
        assert market.request("GET", "/metrics", {"X-API-Key": key}).status == 200
        assert market.request("GET", "/v1/audit", remote_is_local=True).status == 401
