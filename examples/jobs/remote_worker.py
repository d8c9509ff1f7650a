"""A worker elsewhere. It needs a market's URL, an operator's key and Python's own library, and no calyx.

    CALYX_API_KEY=cyx_op_... python3 remote_worker.py URL [--functions FILE --task NAME ...] [--commands]

Each task is a process, which finds its payload in the file COMPUTALOT_TASK_PAYLOAD and leaves its result in the
file COMPUTALOT_TASK_RESULT: a function NAME(payload) of FILE, or a job's command, in the files of its project, with
the folders for its cache_mounts below COMPUTALOT_CACHE_DIR, which last as long as a lease. It finds no data_sources.
SIGTERM stops it, and what it has not done is for others at once. It keeps no limit but timeout_s: trust what it runs.
"""

import argparse
import codecs
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request

FUNCTION = """import json, os, runpy, sys
payload = json.load(open(os.environ["COMPUTALOT_TASK_PAYLOAD"]))
json.dump(runpy.run_path(sys.argv[1])[sys.argv[2]](payload), open(os.environ["COMPUTALOT_TASK_RESULT"], "w"))"""
KEPT = 2**16  # of its output, four times: the market keeps the first 64 KiB of a stream and the last 192
stopping = []  # a signal's handler may append to a list, where an Event could wait for itself


def post(path, body):
    """Asks the market; again for half a minute while it does not answer, for a lease is good that long."""
    headers = {"X-API-Key": os.environ["CALYX_API_KEY"], "Content-Type": "application/json"}
    for left in range(30, -1, -1):
        try:
            request = urllib.request.Request(arguments.url + path, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except OSError as error:
            code = error.code if isinstance(error, urllib.error.HTTPError) else 503
            if code == 409:  # lease_lost: its tasks are somebody else's, or its job is over
                return {"left": 0}
            if left == 0 or code not in (429, 503):
                raise
            time.sleep(1)


def text_of(raw):
    return codecs.getincrementaldecoder("utf-8")("replace").decode(raw)  # without half a character at its end


def printed(log):
    """All that is printed so far, as far as it is kept, as members of a report."""
    with log.open("rb") as file:
        raw, dropped = file.read(KEPT * 4 + 1), 0
        text = text_of(raw)
        if len(raw) > KEPT * 4:
            tail_at = file.seek(-KEPT * 3, os.SEEK_END)
            dropped = tail_at - KEPT
            text = f"{text_of(raw[:KEPT])}\n[… {dropped:,} bytes dropped …]\n{text_of(file.read(KEPT * 3))}"
    return {"stdout": text or None, "stdout_dropped_bytes": dropped}


class Lease:
    """Tasks that are ours as long as the market hears of us every thirty seconds."""

    def __init__(self, told):
        self.told, self.over, self.lost, self.log = told, threading.Event(), False, None
        self.source, self.caches = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
        self.missing = None
        threading.Thread(target=self.beat, daemon=True).start()

    def report(self, **members):
        return post("/api/v1/workers/report", {"lease_id": self.told["lease_id"], **members})

    def beat(self):
        """Says that we live every ten seconds, and what the task has printed about when it does."""
        at, told = time.monotonic(), None
        while not self.over.wait(1):
            with contextlib.suppress(OSError):  # the next one may come through
                index, log = self.log or (None, None)
                size = os.path.getsize(log) if log else 0
                if (index, size) != told and size or time.monotonic() - at >= 10:
                    at, told = time.monotonic(), (index, size)
                    self.lost = self.report(first=index, **printed(log) if size else {})["left"] == 0

    def fetch(self):
        """The files of the project's revision, of which the market took none that lead out of their folder."""
        url = f"{arguments.url}/api/v1/workers/leases/{self.told['lease_id']}/source"
        request = urllib.request.Request(url, headers={"X-API-Key": os.environ["CALYX_API_KEY"]})
        how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with urllib.request.urlopen(request, timeout=60) as answer, tarfile.open(fileobj=answer, mode="r|*") as files:
            files.extractall(self.source.name, **how)

    def mount(self):
        """What the project's manifest declares. Its names are folders', and one that leads elsewhere is left out."""
        manifest = pathlib.Path(self.source.name, "computalot.project.json")
        declared = json.loads(manifest.read_text()) if manifest.exists() else {}
        for source in declared.get("data_sources", [])[:1]:
            self.missing = f"data source {source['name']}: this worker finds none"
        for cache in declared.get("cache_mounts", []):
            if "/" not in cache["name"] and not cache["name"].startswith("."):
                pathlib.Path(self.caches.name, cache["name"]).mkdir(mode=0o700)

    def work(self):
        with self.source, self.caches:
            try:
                if self.told["runner_command"] and self.told["project"]:
                    self.fetch()
                    self.mount()
            except (OSError, tarfile.TarError):  # somebody else may get through
                time.sleep(1)
                return self.report(gives_back=True)
            return self.tasks()

    def tasks(self):
        for index, payload in enumerate(self.told["payloads"], self.told["first"]):
            outcome = self.run(index, payload)
            self.log = None
            if outcome is None:
                return self.lost or self.report(gives_back=True)
            # By `first` a report that is sent again, since its answer was lost, is known and counts once.
            try:
                left = self.report(first=index, outcomes=[outcome])["left"]
            except urllib.error.HTTPError:  # the result is no JSON that the market takes
                left = self.report(first=index, outcomes=[{"status": "result_invalid", "ran_ms": 0}])["left"]
            if left == 0:
                return True

    def run(self, index, payload):
        """What one task came to, or nothing when it is no longer ours to do."""
        if self.missing:
            return {"status": "source_unavailable", "message": self.missing, "ran_ms": 0}
        argv, cwd = [sys.executable, "-c", FUNCTION, arguments.functions, self.told["work"]["name"]], None
        if self.told["runner_command"]:
            argv, cwd = self.told["runner_command"], self.source.name
        with tempfile.TemporaryDirectory() as home:
            given, result, log = (pathlib.Path(home, file) for file in ("payload.json", "result.json", "log"))
            given.write_text(json.dumps(payload))
            env = {"PATH": os.defpath, "COMPUTALOT_TASK_PAYLOAD": str(given), "COMPUTALOT_TASK_RESULT": str(result)}
            env["COMPUTALOT_CACHE_DIR"] = self.caches.name
            begun, ran_s = time.monotonic(), 0.0
            self.log = index, log
            try:
                with log.open("wb") as out:
                    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=out, stderr=out, start_new_session=True)
            except OSError as error:
                return {"status": "not_started", "message": str(error), "ran_ms": 0}
            while (code := process.poll()) is None and ran_s < self.told["timeout_s"] and not (stopping or self.lost):
                time.sleep(0.01)
                ran_s = time.monotonic() - begun
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it left running
            process.wait()
            if code is None and ran_s < self.told["timeout_s"]:
                # Its lease may be gone with its job: named so, what it has printed to its end is kept all the same.
                job, attempt = self.told["job_id"], self.told["attempt"]
                self.report(first=index, job_id=job, attempt=attempt, **printed(log))
                return None
            outcome = {"status": "timed_out" if code is None else "exit_nonzero", "message": f"exit code {code}"}
            if code == 0:
                try:
                    outcome = {"status": "completed", "result": json.loads(result.read_text())}
                except (OSError, ValueError) as error:
                    outcome = {"status": "result_invalid", "message": str(error)}
            return {**outcome, **printed(log), "ran_ms": int(ran_s * 1000)}


parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
for name in ("url", "--functions"):
    parser.add_argument(name)
parser.add_argument("--commands", action="store_true")
parser.add_argument("--task", action="append", default=[])
arguments = parser.parse_args()
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
asked = {"worker": f"remote-{os.getpid()}", "tasks": arguments.task, "commands": arguments.commands}
while not stopping:
    if leased := post("/api/v1/workers/lease", {**asked, "tasks_max": 8})["lease"]:
        lease = Lease(leased)
        lease.work()
        lease.over.set()
    else:
        time.sleep(0.2)
