"""Projects from Python: code that is pushed as a folder or a tarball, and run by commands; and over the client."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import calyx
import pytest
from calyx.projects import tarball_of
from computalot import ComputalotClient


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with a script that may be run, one that may not, and what no push takes along."""
    folder = tmp_path / "code"
    (folder / "lib").mkdir(parents=True)
    (folder / "run.sh").write_text("echo $COMPUTALOT_TASK_PAYLOAD\n")
    (folder / "run.sh").chmod(0o700)
    (folder / "lib" / "six.py").write_text("SIX = 6\n")
    (folder / "lib" / "six.py").chmod(0o666)
    (folder / "answer.py").write_text(
        "import json, os, sys\n"
        "sys.path.insert(0, 'lib')\n"
        "from six import SIX\n"
        "n = json.load(open(os.environ['COMPUTALOT_TASK_PAYLOAD']))['n']\n"
        "json.dump(SIX * n, open(os.environ['COMPUTALOT_TASK_RESULT'], 'w'))\n"
    )
    for left_out in (".git", "lib/__pycache__"):
        (folder / left_out).mkdir()
        (folder / left_out / "leftover").write_text("mine")
    return folder


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A market in a file, its commands on the bare host, and alice, whose ``project`` is empty."""
    commands = calyx.Commands(allow_bare_host=True, containers="none", scratch=str(tmp_path))
    with calyx.open(tmp_path / "market.db", commands=commands) as market:
        alice = market.create_wallet(owner_type="human", owner_id="alice")
        market.topup(alice, 2000)
        yield SimpleNamespace(market=market, alice=alice, project=alice.create_project("code"))


@pytest.fixture
def unpacks(yard: SimpleNamespace, tmp_path: Path) -> None:
    """Only where pushed tarballs can be read."""
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "file").touch()
    try:
        yard.alice.create_project("probe").push(tmp_path / "probe")
    except calyx.Unsupported as error:
        assert error.reason == "not_built"
        pytest.skip("built without libarchive")


def test_a_project_is_made_found_changed_and_deleted(yard: SimpleNamespace) -> None:
    project = yard.project
    assert (project.name, project.wallet_id, project.description) == ("code", yard.alice.id, "")
    with pytest.raises(calyx.Conflict, match="project_exists"):
        yard.alice.create_project("code")
    with pytest.raises(calyx.Invalid, match="field_value"):
        yard.alice.create_project("no/slash")

    assert project.change(description="fits", remote_dir="here").description == "fits"
    changed = project.change(remote_dir="there")
    assert (changed.description, changed.remote_dir) == ("fits", "there")
    assert yard.alice.project("code") == changed
    other = yard.market.create_project("nobodys")
    assert other.wallet_id is None
    alices = yard.market.session(yard.alice.api_key)
    assert [one.name for one in yard.alice.projects()] == [one.name for one in alices.projects()] == ["code"]
    assert [one.name for one in yard.market.projects()] == ["code", "nobodys"]
    assert [one.name for one in yard.market.projects(limit=1)] == ["code"]

    bob = yard.market.session(yard.market.create_wallet(owner_type="human", owner_id="bob").api_key)
    for call in (lambda: bob.project("code"), lambda: bob.project("code", wallet=yard.alice)):
        with pytest.raises(calyx.NotFound, match="project_unknown"):
            call()
    project.delete()
    for call in (project.delete, project.status_details, project.invalidate, lambda: project.status):
        with pytest.raises(calyx.NotFound, match="project_unknown"):
            call()
    assert list(yard.alice.projects()) == []


def test_a_folder_is_pushed_and_its_code_runs(yard: SimpleNamespace, code: Path, unpacks: None) -> None:
    project = yard.project
    assert not project.status.can_accept_new_jobs
    first = project.push(code)
    assert (first.number, first.manifest) == (1, {})
    assert {file.path: file.mode for file in first.files} == {
        "answer.py": 0o644,
        "lib/six.py": 0o644,
        "run.sh": 0o755,
    }
    assert first.added == ["answer.py", "lib/six.py", "run.sh"]
    assert project.status == calyx.ProjectStatus("code", True, False, 1, "published")

    job = yard.alice.submit(project="code", command="python3 answer.py", payload={"n": 7}, max_budget=10)
    (code / "lib" / "six.py").write_text("SIX = 60\n")
    second = project.push(str(code))
    assert (second.number, second.added, second.removed, second.changed) == (2, [], [], ["lib/six.py"])
    job.wait(timeout=60)
    assert job.result == 42, "a job keeps the revision that it was submitted with"
    job = yard.alice.submit(project="code", runner_command=["python3", "answer.py"], payload={"n": 7})
    job.wait(timeout=60)
    assert job.result == 420

    details = project.status_details()
    assert details.revision is not None and details.revision.sha256 == second.sha256
    assert details.status.revision_state == "warm"
    assert project.invalidate().revision_state == "invalidated"
    assert project.init().ready_for_jobs


def test_bytes_and_files_are_pushed_as_they_are(yard: SimpleNamespace, tmp_path: Path, unpacks: None) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        about = tarfile.TarInfo("one.txt")
        about.size = 3
        tar.addfile(about, io.BytesIO(b"one"))
    (tmp_path / "one.tar").write_bytes(plain.getvalue())
    pushed = [yard.project.push(plain.getvalue()), yard.project.push(tmp_path / "one.tar")]
    assert [(one.number, one.size, one.sha256) for one in pushed] == [
        (number, len(plain.getvalue()), pushed[0].sha256) for number in (1, 2)
    ]
    with pytest.raises(calyx.Invalid) as refused:
        yard.project.push(b"no tarball")
    assert (refused.value.reason, refused.value.details["rule"]) == ("archive_refused", "not_an_archive")
    with pytest.raises(calyx.NotFound, match="file_missing"):
        yard.project.push(tmp_path / "none")
    with pytest.raises(calyx.Invalid, match="field_type"):
        yard.project.push(7)


def test_the_same_files_are_the_same_bytes_anywhere(code: Path, tmp_path: Path) -> None:
    bytes_of_it = tarball_of(code)
    twin = tmp_path / "somewhere" / "else"
    twin.mkdir(parents=True)
    for name in ("run.sh", "answer.py", "lib/six.py"):  # made in another order, at another time
        (twin / name).parent.mkdir(exist_ok=True)
        (twin / name).write_bytes((code / name).read_bytes())
    (twin / "run.sh").chmod(0o555)
    os.utime(twin / "answer.py", (1, 1))
    assert tarball_of(twin) == bytes_of_it
    assert bytes_of_it[4:8] == b"\0\0\0\0", "the time in the header of gzip"

    with tarfile.open(fileobj=io.BytesIO(bytes_of_it)) as tar:
        members = tar.getmembers()
    assert [one.name for one in members] == ["answer.py", "lib", "lib/six.py", "run.sh"]
    assert [one.mode for one in members] == [0o644, 0o755, 0o644, 0o755]
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 0)}
    (twin / "answer.py").chmod(0o744)
    assert tarball_of(twin) != bytes_of_it


def test_what_is_neither_a_file_nor_a_folder_is_refused(yard: SimpleNamespace, code: Path) -> None:
    (code / "lib" / "link").symlink_to("/etc/passwd")
    with pytest.raises(calyx.Invalid) as refused:
        yard.project.push(code)
    assert refused.value.reason == "archive_refused"
    assert refused.value.details == {"rule": "symbolic_link", "entry": "lib/link"}
    (code / "lib" / "link").unlink()
    (code / "lib" / "link").symlink_to(code, target_is_directory=True)
    with pytest.raises(calyx.Invalid, match="symbolic link"):
        yard.project.push(code)
    (code / "lib" / "link").unlink()
    os.mkfifo(code / "pipe")
    assert stat.S_ISFIFO((code / "pipe").stat().st_mode)
    with pytest.raises(calyx.Invalid, match="neither a file nor a folder"):
        yard.project.push(code)


def test_a_name_that_is_no_utf8_is_refused(yard: SimpleNamespace, code: Path, unpacks: None) -> None:
    (code / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(calyx.Invalid) as refused:
        yard.project.push(code)
    assert refused.value.details["rule"] == "not_utf8"


def test_state_is_shared_and_a_version_guards_it(yard: SimpleNamespace) -> None:
    project = yard.project
    with pytest.raises(calyx.NotFound, match="kv_unknown"):
        project.kv_get("best")
    first = project.kv_put("best", {"loss": 0.5, "at": [1, None]}, version=0)
    assert first == calyx.KvEntry("best", {"loss": 0.5, "at": [1, None]}, 1) == project.kv_get("best")
    with pytest.raises(calyx.Conflict) as late:
        project.kv_put("best", {"loss": 0.6}, version=0)
    assert (late.value.reason, late.value.details["version"]) == ("kv_changed", 1)
    assert project.kv_put("best", None, version=1).version == 2
    assert project.kv_put("best", "whatever stands").version == 3
    with pytest.raises(calyx.Invalid) as refused:
        project.kv_put("best", {"loss": float("nan")})
    assert refused.value.details["field"] == "/value/loss"
    with pytest.raises(calyx.Invalid, match="field_value"):
        project.kv_put("two words", 1)


def test_a_stream_tells_what_a_project_becomes(yard: SimpleNamespace, code: Path, unpacks: None) -> None:
    stream = yard.project.stream()
    begun = next(stream)
    assert (begun.kind, begun.status.revision_state) == ("snapshot", "none")
    pushing = threading.Thread(target=yard.project.push, args=(code,))
    pushing.start()
    became = next(stream)
    pushing.join()
    assert (became.kind, became.status) == ("event", yard.project.status)
    assert next(yard.project.stream(after=begun.cursor)).cursor == became.cursor
    with pytest.raises(calyx.Invalid, match="no place"):
        yard.project.stream(after="somewhere")
    yard.project.delete()
    assert [one.kind for one in stream] == ["end"]
    with pytest.raises(calyx.NotFound, match="project_unknown"):
        yard.project.stream()


def test_a_market_in_memory_keeps_no_code(market: calyx.Market, code: Path) -> None:
    project = market.create_project("code")
    with pytest.raises(calyx.Unsupported):
        project.push(code)
    with pytest.raises(calyx.Conflict, match="project_not_ready"):
        project.init()


def test_the_client_pushes_a_project(yard: SimpleNamespace, code: Path, unpacks: None) -> None:
    client = ComputalotClient(controller_url=yard.market, token=yard.alice.api_key)
    made = client.create_project("fits", description="of curves")
    assert (made["name"], made["description"], made["remote_dir"]) == ("fits", "of curves", None)
    assert client.project_status("fits")["can_accept_new_jobs"] is False
    pushed = client.push_project("fits", code)
    assert (pushed["revision"], pushed["sha256"]) == (1, yard.project.push(code).sha256)
    assert client.push_project("fits", tarball_of(code))["revision"] == 2
    assert client.get_project("fits")["active_revision"] == 2
    assert client.project_status("fits")["can_accept_new_jobs"] is True
    assert [one["name"] for one in client.list_projects()["projects"]] == ["code", "probe", "fits"]
    assert len(client.list_projects(limit=1)["projects"]) == 1
    with pytest.raises(calyx.NotFound, match="project_unknown"):
        client.push_project("none/such", code)


@pytest.fixture
def declaring(tmp_path: Path, unpacks: None) -> Iterator[SimpleNamespace]:
    """A market whose host answers for data sources as ``answer`` says, and keeps caches; ``pushed`` declares both."""
    state = SimpleNamespace(asked=[], answer=lambda source: tmp_path / source.name)

    def find(source: calyx.DataSource) -> Path:
        state.asked.append(source)
        return state.answer(source)

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model").write_text("of the model\n")
    (tmp_path / "caches").mkdir()
    folder = tmp_path / "declaring"
    folder.mkdir()
    weights = {"name": "weights", "type": "huggingface", "source": "org/model", "mount_path": "/models/weights"}
    manifest = {"data_sources": [weights], "cache_mounts": [{"name": "hub", "mount_path": "/cache/hub"}]}
    (folder / "computalot.project.json").write_text(json.dumps(manifest))
    commands = calyx.Commands(
        allow_bare_host=True, containers="none", scratch=str(tmp_path), data_sources=find, caches=tmp_path / "caches"
    )
    with calyx.open(tmp_path / "declared.db", commands=commands) as market:
        alice = market.create_wallet(owner_type="human", owner_id="alice")
        market.topup(alice, 2000)
        alice.create_project("declaring").push(folder)
        state.market, state.alice, state.commands = market, alice, commands
        state.run = lambda command: alice.submit(project="declaring", command=["sh", "-c", command], max_budget=1)
        yield state


@pytest.mark.parametrize("workers", [0, 1])
def test_data_sources_are_asked_of_a_function_and_caches_kept(declaring: SimpleNamespace, workers: int) -> None:
    """CP-45."""
    with contextlib.ExitStack() as stack:
        if workers:
            stack.enter_context(declaring.market.worker(commands=declaring.commands))
        for count in ("1", "2"):
            job = declaring.run(
                "cat $COMPUTALOT_DATA_DIR/weights/model; cd $COMPUTALOT_CACHE_DIR/hub; echo >> n; wc -l < n"
            )
            assert list(job.logs()) == ["of the model", count]
            job.wait()
            assert job.status == "completed"
    (source,) = declaring.asked
    assert (source.name, source.type, source.source) == ("weights", "huggingface", "org/model")
    assert (source.revision, source.sha256, source.mount_path) == ("", "", "/models/weights")
    assert (source.project, source.project_revision, source.wallet_id) == ("declaring", 1, declaring.alice.id)
    assert source.stopped()  # nobody waits for it any more


def test_what_a_function_for_data_sources_raises_is_its_tasks_failure(declaring: SimpleNamespace) -> None:
    def refuse(source: calyx.DataSource) -> str:
        raise calyx.Refused("not_your_wallet", "the model is gated")

    declaring.answer = refuse
    job = declaring.run("true")
    with pytest.raises(calyx.JobFailed, match="source_refused"):
        job.wait()
    (task,) = job.tasks()
    assert task.failure == "source_refused"
    assert task.error == "data source weights: the model is gated"
    assert len(declaring.asked) == 1

    def slip(source: calyx.DataSource) -> str:
        raise ConnectionError("the hub is down")

    declaring.answer = slip
    job = declaring.run("true")
    with declaring.market.worker(commands=declaring.commands):
        while (task := next(job.tasks())).failure is None:
            time.sleep(0.01)
    assert task.failure == "source_unavailable"
    assert task.error == "data source weights: ConnectionError: the hub is down"
    assert job.cancel().status == "cancelled"


def test_what_finds_data_sources_is_a_function() -> None:
    with pytest.raises(calyx.Invalid, match="options_invalid"):
        calyx.open(commands=calyx.Commands(data_sources="/models"))  # type: ignore[arg-type]
