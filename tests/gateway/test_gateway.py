"""The gateway as a program: started on a free port, spoken to over HTTP, stopped.

CALYX_GATEWAY names the program; without it the tests are skipped. The curl commands are those of the
documents, but for the base URL, the ids and the keys.
"""

import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import evm_wallet
import pytest

PROGRAM = os.environ.get("CALYX_GATEWAY")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="CALYX_GATEWAY names no program")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

MEBIBYTE = 1 << 20

# ThreadSanitizer sees nothing of the distribution's cpp-httplib but what that calls: two threads' first requests read
# a static of a function, by memcmp, and not that the second of them had to wait until it was made.
UNSEEN = pathlib.Path(__file__).with_name("tsan.supp")


class Gateway:
    def __init__(self, *options):
        unseen = os.environ.get("TSAN_OPTIONS", "") + f":suppressions='{UNSEEN}'"
        self.process = subprocess.Popen(
            [PROGRAM, "--port", "0", "--issue-operator-key", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TSAN_OPTIONS": unseen},
            text=True,
        )
        first = self.process.stdout.readline().strip()
        if not first.startswith("operator key: "):
            raise AssertionError(first + self.process.communicate()[1])
        self.key = first.removeprefix("operator key: ")
        self.key_id = self.process.stdout.readline().strip().removeprefix("operator key's id: ")
        self.url = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.port = int(self.url.rsplit(":", 1)[1])

    def connect(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))

    def ask(self, method, target, body=None, key=None, headers=()):
        with self.connect() as connection:
            return ask_on(connection, method, target, body, key or self.key, headers)

    def stop(self, how=signal.SIGTERM):
        """Ends it and gives what it printed after its first two lines."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise


def ask_on(connection, method, target, body=None, key=None, headers=()):
    sent = {"Content-Type": "application/json", **dict(headers)}
    if key:
        sent["X-API-Key"] = key
    text = json.dumps(body) if isinstance(body, dict) else body
    connection.request(method, target, text, sent)
    answer = connection.getresponse()
    said = answer.read()
    return answer.status, (json.loads(said) if said else None), answer.headers


def raw(port, text):
    """Sends bytes as they stand, and gives all that comes until the other end closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(text)
        said = b""
        while piece := line.recv(65536):
            said += piece
        return said


@pytest.fixture
def gateway(tmp_path):
    started = Gateway("--market", str(tmp_path / "market.db"))
    yield started
    started.stop()


def curl(command):
    """Runs a curl command as a reader of the documents would, and gives the status and the answer."""
    done = subprocess.run(
        ["sh", "-c", command + " -s -w '\\n%{http_code}'"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(body)


@needs_curl
def test_the_documents_commands_run_a_paid_job_from_wallet_to_verified_receipt(gateway):
    base, op = gateway.url, gateway.key

    def post(target, key, body):
        return curl(
            f"curl {base}{target} -H \"X-API-Key: {key}\" -H \"Content-Type: application/json\" -d '{body}'"
        )

    status, listed = curl(f'curl {base}/v1/wallets \\\n -H "X-API-Key: {op}" \\\n -H "Content-Type: application/json"')
    assert (status, listed["items"]) == (200, [])

    status, human = post("/v1/wallets", op, '{ "owner_type": "human", "owner_id": "alice" }')
    assert status == 201
    status, agent = post(
        "/v1/wallets",
        op,
        '{ "owner_type": "agent", "owner_id": "research-agent-v1", "parent_wallet_id": "%s", '
        '"spend_cap_per_job": 5.00, "approval_threshold": 20.00, "allowed_gpu_types": ["RTX 4090", "A100"] }'
        % human["id"],
    )
    assert status == 201
    assert agent["id"].startswith("wlt_")
    assert (agent["status"], agent["balance"], agent["spend_cap_per_job"]) == ("active", 0.0, 5.0)
    assert agent["allowed_gpu_types"] == ["RTX 4090", "A100"]
    status, host = post("/v1/wallets", op, '{ "owner_type": "human", "owner_id": "gpu-host" }')
    assert status == 201

    wallet = f"/v1/wallets/{agent['id']}"
    assert post(wallet + "/topup", op, '{ "amount": 12.40 }')[0] == 200
    status, seen = curl(f'curl {base}{wallet} \\\n -H "X-API-Key: {agent["api_key"]}"')
    assert (status, seen["id"], seen["balance"], seen["status"]) == (200, agent["id"], 12.4, "active")

    status, spent = post(
        wallet + "/spend",
        agent["api_key"],
        '{ "job_id": "job-441", "amount": 4.00, "gpu_type": "RTX 4090" }',
    )
    assert (status, spent["job_id"], spent["amount_locked"], spent["new_balance"]) == (200, "job-441", 4.0, 8.4)
    assert spent["txn_id"].startswith("txn_")

    status, earned = post(
        f"/v1/wallets/{host['id']}/earn",
        op,
        '{ "job_id": "job-441", "gross_amount": 3.80, "output_hash": "sha256:%s", "gpu_model": "RTX 4090", '
        '"duration_seconds": 10082 }' % ("4d" * 32),
    )
    assert status == 200
    assert (earned["gross_amount"], earned["platform_fee"], earned["net_payout"]) == (3.8, 0.57, 3.23)

    status, receipt = curl(f'curl {base}/v1/receipts/{earned["receipt_id"]} -H "X-API-Key: {op}"')
    assert (status, receipt["receipt_id"]) == (200, earned["receipt_id"])
    whole = json.dumps(receipt)
    status, verdict = curl(f"curl {base}/v1/receipts/verify -H \"Content-Type: application/json\" -d '{whole}'")
    assert status == 200
    assert next(v for v in verdict.values() if isinstance(v, bool)) is True
    tampered = json.dumps({**receipt, "jws": receipt["jws"][:-2] + ("AA" if receipt["jws"][-2:] != "AA" else "BA")})
    status, verdict = curl(f"curl {base}/v1/receipts/verify -H \"Content-Type: application/json\" -d '{tampered}'")
    assert status == 200
    assert next(v for v in verdict.values() if isinstance(v, bool)) is False

    status, said = post(wallet + "/spend", agent["api_key"], '{ "job_id": "job-442", "amount": 6.00, "gpu_type": "A100" }')
    assert (status, said["error"]["code"]) == (403, "spend_cap_per_job")


@needs_curl
def test_curl_sends_its_own_content_type_and_that_does_not_matter(gateway):
    status, wallet = curl(
        f"curl {gateway.url}/v1/wallets -H 'X-API-Key: {gateway.key}' -d '{{\"owner_type\":\"human\",\"owner_id\":\"f\"}}'"
    )
    assert (status, wallet["owner_id"]) == (201, "f")
    status, said = curl(f"curl {gateway.url}/v1/wallets -H 'X-API-Key: {gateway.key}' -F a=b")
    assert (status, said["error"]["code"]) == (400, "not_json")


@needs_curl
def test_a_post_without_a_body_is_answered_at_once(gateway):
    began = time.monotonic()
    status, said = curl(f"curl -X POST {gateway.url}/v1/approvals/apr_0/approve -H 'X-API-Key: {gateway.key}'")
    assert status in (404, 422) and "error" in said
    assert time.monotonic() - began < 4


def test_the_contract_s_refusals_pass_with_their_headers(gateway):
    status, said, headers = gateway.ask("PUT", "/v1/wallets", {})
    assert (status, said["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in headers["Allow"]
    assert gateway.ask("GET", "/v1/wallets", key="cyx_live_wrong")[0] == 401
    assert gateway.ask("GET", "/v1/nothing")[1]["error"]["code"] == "route_unknown"
    assert headers["Content-Type"].startswith("application/json")


def test_the_target_reaches_the_engine_as_it_was_sent(gateway):
    for n in range(3):
        assert gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": f"o{n}"})[0] == 201
    status, page, _ = gateway.ask("GET", "/v1/wallets?limit=2")
    assert (status, len(page["items"])) == (200, 2)
    status, said, _ = gateway.ask("GET", "/v1/wallets/%zz")
    assert (status, said["error"]["code"]) == (400, "malformed_target")
    # Not looked at by anyone on the way: neither dots nor doubled slashes are another path.
    for target in ("/v1/./wallets", "/v1/x/../wallets", "//v1/wallets"):
        assert gateway.ask("GET", target)[1]["error"]["code"] == "route_unknown"


def test_a_range_cuts_no_answer(gateway):
    status, keys, _ = gateway.ask("GET", "/v1/receipts/keys", headers={"Range": "bytes=0-3"})
    assert status == 200 and "keys" in keys


def test_many_requests_share_one_connection(gateway):
    with gateway.connect() as connection:
        connection.connect()
        local = connection.sock.getsockname()
        for n in range(50):
            wallet = {"owner_type": "human", "owner_id": f"o{n}"}
            assert ask_on(connection, "POST", "/v1/wallets", wallet, gateway.key)[0] == 201
            assert ask_on(connection, "GET", "/v1/receipts/keys")[0] == 200
            assert ask_on(connection, "GET", "/v1/wallets")[0] == 401
            assert connection.sock.getsockname() == local


def test_a_body_is_read_to_its_limit_and_not_beyond(gateway):
    with gateway.connect() as connection:
        status, said, _ = ask_on(connection, "POST", "/v1/wallets", " " * MEBIBYTE, gateway.key)
        assert (status, said["error"]["code"]) == (400, "not_json")
        status, said, _ = ask_on(connection, "POST", "/v1/wallets", " " * (MEBIBYTE + 1), gateway.key)
        assert (status, said["error"]["code"]) == (413, "too_large")
        # The long body was taken off the line, so what follows it is the next request.
        assert ask_on(connection, "GET", "/v1/receipts/keys")[0] == 200
    pieces = (b" " * 65536 for _ in range(17))
    status, said, _ = gateway.ask("POST", "/v1/wallets", pieces)  # chunked
    assert (status, said["error"]["code"]) == (413, "too_large")


def test_a_length_that_nobody_would_wait_for_is_refused_before_a_byte_is_read(gateway):
    head = b"POST /v1/wallets HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    for length in (1 << 31, 10**18 - 1):
        said = raw(gateway.port, head % length)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b'"too_large"' in said


RAW = {"Content-Type": "application/octet-stream"}


def test_long_bodies_reach_the_routes_that_take_them(gateway, tmp_path):
    data = os.urandom(MEBIBYTE) * 21 + b"end"
    with gateway.connect() as connection:
        for size in (MEBIBYTE + 1, len(data)):
            artifact = data[-size:]
            sha256 = hashlib.sha256(artifact).hexdigest()
            target = f"/api/v1/artifacts?name=a&sha256={sha256}"
            status, made, _ = ask_on(connection, "POST", target, artifact, gateway.key, RAW)
            assert (status, made["size"], made["sha256"]) == (201, size, sha256)
        connection.request("GET", f"/api/v1/artifacts/{made['artifact_id']}", headers={"X-API-Key": gateway.key})
        assert connection.getresponse().read() == data

        pieces = (data[at : at + 100_000] for at in range(0, len(data), 100_000))  # chunked
        target = f"/api/v1/artifacts?name=b&sha256={sha256}"
        status, again, _ = ask_on(connection, "POST", target, pieces, gateway.key, RAW)
        assert (status, again["size"]) == (201, len(data))

        _, ticket, _ = ask_on(connection, "POST", "/api/v1/artifacts/direct", {"name": "c"}, gateway.key)
        status, direct, _ = ask_on(connection, "PUT", ticket["url"], data, headers=RAW)
        assert (status, direct["sha256"]) == (201, sha256)

        _, begun, _ = ask_on(connection, "POST", "/api/v1/artifacts/multipart", {"name": "d"}, gateway.key)
        part = f"/api/v1/artifacts/multipart/{begun['upload_id']}/parts/1"
        status, sent, _ = ask_on(connection, "PUT", part, data, gateway.key, RAW)
        assert (status, sent["size"], sent["sha256"]) == (200, len(data), sha256)

        asked = {"task": "t", "fan_out": {"items": [{"x": "y" * 1000} for _ in range(4000)]}}
        status, job, _ = ask_on(connection, "POST", "/api/v1/jobs", asked, gateway.key)
        assert status == 201, job
        asked = {"worker": "w", "tasks": ["t"], "tasks_max": 2}
        leased = ask_on(connection, "POST", "/api/v1/workers/lease", asked, gateway.key)[1]["lease"]
        done = {"status": "completed", "ran_ms": 1, "result": "z" * 900_000}
        report = {"lease_id": leased["lease_id"], "first": leased["first"], "outcomes": [done, done]}
        status, told, _ = ask_on(connection, "POST", "/api/v1/workers/report", report, gateway.key)
        assert status == 200, told
        _, state, _ = ask_on(connection, "GET", f"/api/v1/jobs/{job['job_id']}", key=gateway.key)
        assert state["progress"]["completed"] == 2

    (tmp_path / "noise").write_bytes(data)
    packed = tmp_path / "code.tar"
    subprocess.run(["tar", "cf", packed, "-C", tmp_path, "noise"], check=True)
    assert gateway.ask("POST", "/api/v1/projects", {"name": "my-proj"})[0] == 201
    status, pushed, _ = gateway.ask("POST", "/api/v1/projects/my-proj/push", packed.read_bytes(), headers=RAW)
    assert (status, pushed["revision"]) == (201, 1)


def test_nobody_holds_what_goes_to_the_disk(gateway):
    pieces = (b"x" * MEBIBYTE for _ in range(256))
    status, made, _ = gateway.ask("POST", "/api/v1/artifacts?name=a", pieces, headers=RAW)
    assert (status, made["size"]) == (201, 256 * MEBIBYTE)
    with open(f"/proc/{gateway.process.pid}/status") as file:
        peak_kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    # A sanitizer keeps what was freed for a while, and its own notes beside it.
    sanitized = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ
    assert peak_kib < (1024 if sanitized else 128) << 10


def test_a_body_beyond_its_routes_limit_is_told_the_limit(gateway):
    rows = [
        ("POST", "/v1/wallets", MEBIBYTE),
        ("POST", "/api/v1/jobs?x=y", 64 * MEBIBYTE),
        ("POST", "/api/v1/workers/report", 64 * MEBIBYTE),
        ("PUT", "/api/v1/artifacts/multipart/upl_0/parts/1", 64 * MEBIBYTE),
        ("POST", "/api/v1/projects/p/push", 512 * MEBIBYTE),
        ("POST", "/api/v1/artifacts", 2048 * MEBIBYTE),
    ]
    for method, target, most in rows:
        for expect in ("", "Expect: 100-continue\r\n"):
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n{expect}"
            over = f"{head}Connection: close\r\nContent-Length: {most + 1}\r\n\r\n"
            said = raw(gateway.port, over.encode() + b" " * (most + 1 if most == MEBIBYTE and not expect else 0))
            assert said.count(b"HTTP/1.1 ") == 1
            assert said.startswith(b"HTTP/1.1 413 "), (target, said)
            assert b'"details":{"limit":%d}' % most in said
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
            line.sendall(f"{head}Content-Length: {most}\r\n\r\n".encode())  # as many are waited for
            assert line.recv(65536).startswith(b"HTTP/1.1 100 "), target
    # Chunked, nobody knows its length beforehand.
    pieces = (b" " * MEBIBYTE for _ in range(65))
    status, said, headers = gateway.ask("POST", "/api/v1/jobs", pieces)
    assert (status, said["error"]["details"]) == (413, {"limit": 64 * MEBIBYTE})
    assert gateway.ask("GET", "/live")[0] == 200


def test_a_long_body_that_its_sender_may_not_send_is_refused_at_its_beginning(gateway):
    head = "POST {} HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Length: {}\r\n\r\n"
    artifact = "/api/v1/artifacts"
    with gateway.connect() as connection:
        status, said, _ = ask_on(connection, "POST", artifact, b"x" * (2 * MEBIBYTE), "cyx_live_wrong", RAW)
        assert (status, said["error"]["code"]) == (401, "unauthorized")
        assert ask_on(connection, "GET", "/live")[0] == 200  # the rest was taken off the line
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
        line.sendall(head.format(artifact, "cyx_live_wrong", 2048 * MEBIBYTE).encode())
        piece = b"x" * MEBIBYTE
        with contextlib.suppress(OSError):  # which is how it ends, long before all is sent
            for sent in range(2048):
                line.sendall(piece)
        assert sent < 100
    # One that breaks off leaves nothing.
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
        line.sendall(head.format(artifact, gateway.key, 4 * MEBIBYTE).encode() + b"x" * (2 * MEBIBYTE))
        line.shutdown(socket.SHUT_WR)
        assert line.recv(65536) == b""
    assert gateway.ask("GET", "/api/v1/artifacts")[1]["artifacts"] == []


def test_so_many_long_bodies_are_taken_at_once(gateway):
    head = f"POST /api/v1/artifacts HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n"
    head += f"Content-Length: {4 * MEBIBYTE}\r\nExpect: 100-continue\r\n\r\n"
    # Some more than fit: one that comes while a refused one is still counted is refused itself, and not asked again.
    lines = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(20)]
    try:
        for line in lines:
            line.sendall(head.encode())
            assert line.recv(65536).startswith(b"HTTP/1.1 100 ")

        def refused():
            status, said, headers = gateway.ask("POST", "/api/v1/artifacts", b"x" * (2 * MEBIBYTE), headers=RAW)
            assert status in (201, 503), said
            return status == 503 and (said["error"]["code"], headers["Retry-After"])

        assert until(refused) == ("too_many_bodies", "5")
        assert gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "o"})[0] == 201
    finally:
        for line in lines:
            line.close()
    until(lambda: gateway.ask("POST", "/api/v1/artifacts", b"x" * (2 * MEBIBYTE), headers=RAW)[0] == 201)


def test_max_body_lowers_the_limit(tmp_path):
    gateway = Gateway("--market", str(tmp_path / "market.db"), "--max-body", "64")
    try:
        fits = json.dumps({"owner_type": "human", "owner_id": "o"}).ljust(64)
        assert gateway.ask("POST", "/v1/wallets", fits)[0] == 201
        assert gateway.ask("POST", "/v1/wallets", fits + " ")[0] == 413
        status, said, _ = gateway.ask("POST", "/api/v1/artifacts?name=a", b"x" * 65)
        assert (status, said["error"]["details"]) == (413, {"limit": 64})
    finally:
        gateway.stop()


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_body_whose_length_two_readers_could_see_differently_ends_the_connection(gateway, head):
    said = raw(gateway.port, head + b"GET /v1/receipts/keys HTTP/1.1\r\nHost: x\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1, "what followed was taken for a request"


def test_what_is_no_http_is_refused_and_the_next_caller_is_served(gateway):
    for text in (b"\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"):
        said = raw(gateway.port, text)
        assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    said = raw(gateway.port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 414 ")
    assert gateway.ask("GET", "/v1/receipts/keys")[0] == 200


def test_concurrent_callers_are_all_answered_and_the_books_add_up(gateway):
    wallet = gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "o"})[1]
    target = f"/v1/wallets/{wallet['id']}"

    def caller(name):
        with gateway.connect() as connection:
            for n in range(20):
                topup = {"amount": 1, "reference": f"{name}-{n}"}
                status, moved, _ = ask_on(connection, "POST", target + "/topup", topup, gateway.key)
                assert status == 200, moved

    with concurrent.futures.ThreadPoolExecutor(16) as callers:
        list(callers.map(caller, range(16)))
    assert gateway.ask("GET", target)[1]["balance"] == 320
    assert gateway.ask("GET", "/v1/audit")[1]["ok"] is True


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_what_was_answered_stands(tmp_path, how):
    market = str(tmp_path / "market.db")
    gateway = Gateway("--market", market)
    wallet = gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "o"})[1]
    with gateway.connect() as idle:  # a kept connection must not hold up the end
        idle.connect()
        began = time.monotonic()
        said, complained = gateway.stop(how)
        assert time.monotonic() - began < 10
    assert gateway.process.returncode == 0
    assert (said, complained) == ("", ""), "it is silent about what it serves"

    again = Gateway("--market", market)
    try:
        assert again.ask("GET", f"/v1/wallets/{wallet['id']}", key=wallet["api_key"])[0] == 200
    finally:
        again.stop()


def test_a_long_body_under_way_is_for_later_when_it_is_stopped(gateway):
    head = f"POST /api/v1/artifacts HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\nContent-Length: {1 << 30}\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
        line.sendall((head + "Expect: 100-continue\r\n\r\n").encode())
        assert line.recv(65536).startswith(b"HTTP/1.1 100 ")
        line.sendall(b"x" * (2 * MEBIBYTE))
        gateway.process.send_signal(signal.SIGTERM)
        said = b""
        while not said:
            with contextlib.suppress(TimeoutError):
                line.settimeout(0.1)
                line.sendall(b"x")
                said = line.recv(65536)
        line.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while piece := line.recv(65536):
                said += piece
        assert said.startswith(b"HTTP/1.1 503 ") and b'"closed"' in said and b"Retry-After: 5" in said
    assert gateway.process.wait(timeout=30) == 0


def test_requests_under_way_are_answered_when_it_is_stopped(gateway):
    wallet = gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "o"})[1]
    target = f"/v1/wallets/{wallet['id']}/topup"
    body = b'{"amount":1}'
    head = (
        f"POST {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as line:
        line.sendall(head + body[:4])
        time.sleep(0.3)  # the request has begun to be read
        gateway.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        line.sendall(body[4:])
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert gateway.process.wait(timeout=30) == 0


def submitted(gateway):
    status, job, _ = gateway.ask("POST", "/api/v1/jobs", {"task": "t"})
    assert status == 201
    return job["job_id"]


def events_in(text):
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


@needs_curl
def test_curl_follows_a_job_to_its_end(gateway):
    job = submitted(gateway)
    url = f"{gateway.url}/api/v1/jobs/{job}/stream"
    curl = subprocess.Popen(
        ["curl", "-sS", "-N", "-i", "-H", f"Authorization: Bearer {gateway.key}", url],
        stdout=subprocess.PIPE,
        text=True,
    )
    head = []
    while line := curl.stdout.readline().strip():
        head.append(line.lower())
    assert head[0].startswith("http/1.1 200")
    assert "content-type: text/event-stream" in head
    assert "cache-control: no-store" in head
    for line in curl.stdout:  # each event comes as it happens, not with the end
        if line.strip() == "event: submitted":
            break
    assert gateway.ask("PUT", f"/api/v1/jobs/{job}/cancel")[0] == 200
    rest, _ = curl.communicate(timeout=20)
    assert curl.returncode == 0
    assert events_in(rest) == ["ended", "end"]

    with gateway.connect() as connection:
        connection.request("GET", f"/api/v1/jobs/{job}/stream", headers={"X-API-Key": gateway.key, "Last-Event-ID": "1"})
        answer = connection.getresponse()
        assert events_in(answer.read().decode()) == ["ended", "end"]
        # The connection is good for more.
        assert ask_on(connection, "GET", f"/api/v1/jobs/{job}/stream?last_event_id=3", key=gateway.key)[0] == 204
        assert ask_on(connection, "GET", f"/api/v1/jobs/{job}", key=gateway.key)[0] == 200
    said = raw(
        gateway.port,
        f"GET /api/v1/jobs/watch?ids={job} HTTP/1.0\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n\r\n".encode(),
    )
    assert b"chunked" not in said.lower()
    assert events_in(said.decode()) == ["submitted", "ended", "end"]


SCRIPT = """
import json, os
payload = json.load(open(os.environ['COMPUTALOT_TASK_PAYLOAD']))
print('COMPUTALOT_PROGRESS:{"epoch":5,"loss":0.23}')
print('scored')
result = {'score': 0.95, 'tested': payload['test']}
json.dump(result, open(os.environ['COMPUTALOT_TASK_RESULT'], 'w'))
"""


@needs_curl
def test_the_documents_commands_of_projects_and_recipes_run_as_they_stand(tmp_path):
    gateway = Gateway("--market", str(tmp_path / "market.db"), "--work", "1", "--allow-bare-host")
    try:
        (tmp_path / "Dockerfile").write_text("FROM scratch\n")
        (tmp_path / "computalot.project.json").write_text("{}")
        (tmp_path / "script.py").write_text(SCRIPT)
        ids = {}

        def run(command, status):
            for name, value in {
                "https://dev.computalot.com": gateway.url,
                "$TOKEN": gateway.key,
                "<job_id>": ids.get("job", ""),
                "<id1>": ids.get("job", ""),
                "<id2>": ids.get("second", ""),
            }.items():
                command = command.replace(name, value)
            done = subprocess.run(
                ["sh", "-c", command + " -w '\\n%{http_code}'"], capture_output=True, text=True, timeout=60, cwd=tmp_path
            )
            assert done.returncode == 0, done.stderr
            body, code = done.stdout.rsplit("\n", 1)
            assert int(code) == status, done.stdout
            return body

        assert run(
            """curl -sS -X POST https://dev.computalot.com/api/v1/feedback \\
-H "Content-Type: application/json" \\
-d '{"type": "bug", "title": "Brief summary", "description": "What happened, what you expected"}'""",
            201,
        )
        said = run('curl -sS -H "Authorization: Bearer $TOKEN" https://dev.computalot.com/api/v1/recipes', 200)
        assert [recipe["name"] for recipe in json.loads(said)["recipes"]] == ["gpu_probe", "packing", "prop_amm"]
        # Three numbers are no 45: the sample of the document is refused, with the place.
        said = run(
            """curl -sS -X POST -H "Authorization: Bearer $TOKEN" \\
-H "Content-Type: application/json" \\
https://dev.computalot.com/api/v1/recipes/packing/jobs \\
-d '{"payload": {"operation": "eval", "candidate": [0.12, 0.31, 0.88]}, "timeout_s": 300}'""",
            422,
        )
        assert json.loads(said)["error"]["details"]["field"] == "/payload/candidate"

        run(
            """curl -sS -X POST -H "Authorization: Bearer $TOKEN" \\
-H "Content-Type: application/json" \\
https://dev.computalot.com/api/v1/projects \\
-d '{"name": "my-proj", "remote_dir": "/root/projects/my-proj"}'""",
            201,
        )
        said = run(
            """tar czf code.tar.gz Dockerfile computalot.project.json script.py
curl -sS -X POST -H "Authorization: Bearer $TOKEN" \\
--data-binary @code.tar.gz \\
https://dev.computalot.com/api/v1/projects/my-proj/push""",
            201,
        )
        assert json.loads(said)["revision"] == 1
        for name in ("second", "job"):
            said = run(
                """curl -sS -X POST -H "Authorization: Bearer $TOKEN" \\
-H "Content-Type: application/json" \\
https://dev.computalot.com/api/v1/jobs \\
-d '{"type": "structured_runner", "runner_command": ["python3", "script.py"], "payload": {"test": true}, "project": "my-proj", "timeout_s": 120}'""",
                201,
            )
            ids[name] = json.loads(said)["job_id"]
        run(
            """curl -sS -X POST -H "Authorization: Bearer $TOKEN" \\
-H "Content-Type: application/json" \\
https://dev.computalot.com/api/v1/projects/my-proj/init""",
            200,
        )
        said = run(
            """curl -sS -H "Authorization: Bearer $TOKEN" \\
https://dev.computalot.com/api/v1/projects/my-proj/status""",
            200,
        )
        assert json.loads(said)["can_accept_new_jobs"] is True

        stream = run(
            'curl -sS -N -H "Authorization: Bearer $TOKEN" https://dev.computalot.com/api/v1/jobs/<job_id>/stream', 200
        )
        assert events_in(stream)[-2:] == ["ended", "end"]
        stream = run(
            'curl -sS -N -H "Authorization: Bearer $TOKEN" "https://dev.computalot.com/api/v1/jobs/watch?ids=<id1>,<id2>"',
            200,
        )
        assert events_in(stream)[-1] == "end"
        at = 'curl -sS -H "Authorization: Bearer $TOKEN" https://dev.computalot.com/api/v1'
        results = json.loads(run(at + "/results/<job_id>", 200))
        assert (results["status"], results["result"]) == ("completed", {"score": 0.95, "tested": True})
        (task,) = json.loads(run(at + "/jobs/<job_id>/tasks", 200))["tasks"]
        assert task["progress"] == {"epoch": 5, "loss": 0.23}
        assert "scored" in json.loads(run(at + "/jobs/<job_id>/output", 200))["stdout"]
    finally:
        gateway.stop()


def open_stream(gateway, job):
    line = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    line.sendall(
        f"GET /api/v1/jobs/{job}/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n\r\n".encode()
    )
    return line, line.recv(65536)


def test_a_client_that_goes_frees_its_stream_and_so_many_there_may_be(gateway):
    job = submitted(gateway)
    lines = [open_stream(gateway, job) for _ in range(48)]
    try:
        assert all(said.startswith(b"HTTP/1.1 200 ") for _, said in lines)
        status, answer, headers = gateway.ask("GET", f"/api/v1/jobs/{job}/stream")
        assert (status, answer["error"]["code"]) == (503, "too_many_streams")
        assert headers["Retry-After"]
        assert gateway.ask("GET", f"/api/v1/jobs/{job}")[0] == 200
        for line, _ in lines:
            line.close()
        until = time.monotonic() + 30  # no longer than the comment that nobody takes any more
        while True:
            line, said = open_stream(gateway, job)
            line.close()
            if said.startswith(b"HTTP/1.1 200 "):
                break
            assert time.monotonic() < until, said
            time.sleep(0.2)
    finally:
        for line, _ in lines:
            line.close()


def test_a_gateway_that_stops_ends_its_streams_in_order(gateway):
    job = submitted(gateway)
    with gateway.connect() as connection:
        connection.request("GET", f"/api/v1/jobs/{job}/stream", headers={"X-API-Key": gateway.key})
        answer = connection.getresponse()
        assert answer.readline() == b"retry: 2000\n"
        while answer.readline() != b"event: submitted\n":
            pass
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert events_in(answer.read().decode()) == []  # whole: a body cut off would raise
        assert gateway.process.wait(timeout=30) == 0
        assert time.monotonic() - began < 10


def test_it_listens_on_this_machine_alone_unless_told(gateway):
    assert gateway.url.startswith("http://127.0.0.1:")
    others = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, gateway.port), timeout=5).close()


@pytest.mark.parametrize(
    "options",
    [
        ["--verbose"],
        ["--port"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--port", "80 "],
        ["--max-body", str(2048 * MEBIBYTE + 1)],
        ["--market", ""],
        ["--facilitator"],
        [
            "--facilitator",
            "https://a",
            "--simulated-tokens",
            "base/0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC=1",
        ],
    ],
)
def test_a_command_line_that_means_nothing_is_explained(options):
    done = subprocess.run([PROGRAM, *options], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: calyx_gateway" in done.stderr


def test_a_market_or_a_port_that_cannot_be_had_says_why(gateway, tmp_path):
    (tmp_path / "letter.txt").write_text("dear market,\n" * 500)
    new = tmp_path / "new.db"
    for options in (
        ["--market", str(tmp_path / "letter.txt")],
        ["--market", str(new), "--port", str(gateway.port)],
        ["--market", str(new), "--host", "192.0.2.1"],
    ):
        done = subprocess.run([PROGRAM, "--port", "0", *options], capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert done.stderr.startswith("calyx_gateway: ")
        assert done.stdout == ""
    assert list(tmp_path.glob("new.db*")) == [], "no market is made for nobody"


def test_the_operators_key_is_listed_and_can_be_revoked():
    gateway = Gateway()
    try:
        assert gateway.key_id in [key["id"] for key in gateway.ask("GET", "/v1/keys")[1]["items"]]
        assert gateway.ask("DELETE", f"/v1/keys/{gateway.key_id}")[0] == 200
        status, said, _ = gateway.ask("GET", "/v1/keys")
        assert (status, said["error"]["code"], said["error"]["details"]) == (401, "unauthorized", {})
    finally:
        gateway.stop()


def asked_without_a_key(server, target, headers=()):
    with server.connect() as connection:
        connection.request("GET", target, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()


def test_the_documentation_needs_no_key_and_says_its_type(gateway):
    for page, content in (
        ("/llms.txt", "text/plain; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/skill.md", "text/markdown; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ):
        status, said, body = asked_without_a_key(gateway, page)
        assert (status, said) == (200, content) and body


def test_metrics_are_read_on_this_machine_and_with_the_token(gateway, monkeypatch):
    status, content, body = asked_without_a_key(gateway, "/metrics")
    assert status == 200 and content == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE calyx_events_total counter\n" in body
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):  # somebody else asked, whoever it names
        assert asked_without_a_key(gateway, "/metrics", {name: "127.0.0.1"})[0] == 401
    monkeypatch.setenv("CALYX_METRICS_TOKEN", "token-of-the-scraper")
    behind = Gateway("--behind-proxy")
    try:
        assert asked_without_a_key(behind, "/metrics")[0] == 401
        for header in ({"Authorization": "Bearer token-of-the-scraper"}, {"X-API-Key": behind.key}):
            assert asked_without_a_key(behind, "/metrics", header)[0] == 200
        assert asked_without_a_key(behind, "/v1/audit", {"X-API-Key": "token-of-the-scraper"})[0] == 401
    finally:
        behind.stop()


def test_a_jobs_end_is_told_to_its_callback_url(tmp_path):
    came = []
    arrived = threading.Event()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            # A redirection is a failure, and nobody goes where it leads.
            self.send_response(307 if len(came) == 1 else 200)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            if len(came) == 2:
                arrived.set()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        gateway = Gateway("--market", str(tmp_path / "market.db"), "--callbacks-inside", str(receiver.server_port))
        try:
            status, alice, _ = gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "alice"})
            assert status == 201
            status, made, _ = gateway.ask("POST", f"/v1/wallets/{alice['id']}/webhook-secret")
            assert status == 201
            url = f"http://localhost:{receiver.server_port}/hook?a=b"
            job = {"task": "work", "wallet_id": alice["id"], "callback_url": url}
            status, submitted, _ = gateway.ask("POST", "/api/v1/jobs", job)
            assert status == 201, submitted
            job_id = submitted["job_id"]
            assert gateway.ask("PUT", f"/api/v1/jobs/{job_id}/cancel")[0] == 200
            assert arrived.wait(60)
            for path, headers, body in came:
                assert path == "/hook?a=b"
                assert headers["Host"] == f"localhost:{receiver.server_port}"
                assert headers["webhook-id"] == job_id
                told = json.loads(body)
                assert told["type"] == "job.cancelled"
                assert told["data"]["job_id"] == job_id
                signed = f"{job_id}.{headers['webhook-timestamp']}.".encode() + body
                key = base64.b64decode(made["secret"].removeprefix("whsec_"))
                mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
                assert headers["webhook-signature"] == "v1," + mac
            deadline = time.monotonic() + 20
            while True:
                _, listed, _ = gateway.ask("GET", f"/api/v1/jobs/{job_id}/webhooks")
                if listed["items"][0]["status"] == "delivered" or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            assert listed["items"][0]["status"] == "delivered"
            assert listed["items"][0]["attempts"] == 2
        finally:
            gateway.stop()
            receiver.shutdown()


def test_without_the_option_nobody_is_called_back(gateway):
    status, told, _ = gateway.ask("POST", "/api/v1/jobs", {"task": "t", "callback_url": "https://example.org/"})
    assert (status, told["error"]["code"]) == (501, "unsupported")


def test_a_quote_is_settled_by_a_facilitator_whatever_its_first_answers_are(tmp_path, monkeypatch):
    monkeypatch.setenv("CALYX_FACILITATOR_AUTHORIZATION", "Bearer of-the-host")
    transaction = "0x" + "ab" * 32
    came = []

    class Facilitator(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            came.append((self.path, self.headers, body))
            status, said = 200, json.dumps({"isValid": True})
            if len(came) == 1:  # longer than anybody reads
                said += " " * (64 << 10)
            elif len(came) == 2:  # somewhere else, where nobody goes
                status = 307
            elif self.path.endswith("/settle"):
                if len(came) == 4:  # done, and nobody is told
                    self.close_connection = True
                    return
                said = json.dumps({"success": True, "transaction": transaction, "network": "eip155:84532"})
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/x402/settle")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Facilitator) as facilitator:
        threading.Thread(target=facilitator.serve_forever, daemon=True).start()
        gateway = Gateway("--facilitator", f"http://127.0.0.1:{facilitator.server_port}/x402")
        try:
            network = {"network": "base-sepolia", "pay_to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}
            terms = {"base_url": "https://calyx.example", "networks": [network]}
            assert gateway.ask("PUT", "/v1/settings", terms)[0] == 200
            _, alice, _ = gateway.ask("POST", "/v1/wallets", {"owner_type": "human", "owner_id": "alice"})
            key = alice["api_key"]
            status, quote, _ = gateway.ask("POST", "/api/v1/account/quotes/topup", {"amount": "100"}, key)
            assert status == 201, quote
            status, said, headers = gateway.ask("POST", quote["pay"], None, key)
            if status == 501 and said["error"]["code"] == "not_built":
                pytest.skip("libsecp256k1-dev is not installed")
            assert status == 402
            asked = json.loads(base64.b64decode(headers["PAYMENT-REQUIRED"]))
            paid = evm_wallet.EvmWallet().pay(asked["accepts"][0])
            words = {"PAYMENT-SIGNATURE": evm_wallet.header(paid)}
            status, said, _ = gateway.ask("POST", quote["pay"], None, key, words)
            assert (status, said["status"]) == (202, "authorized"), said
            deadline = time.monotonic() + 60
            while status == 202 and time.monotonic() < deadline:
                time.sleep(0.1)
                status, said, headers = gateway.ask("POST", quote["pay"], None, key, words)
            assert (status, said["status"]) == (200, "paid"), said
            assert json.loads(base64.b64decode(headers["PAYMENT-RESPONSE"]))["transaction"] == transaction
            assert gateway.ask("GET", f"/v1/wallets/{alice['id']}")[1]["balance"] == 100
            paths = [path for path, _, _ in came]
            assert paths == ["/x402/verify"] * 3 + ["/x402/settle"] * 2
            for path, sent, body in came:
                assert sent["Authorization"] == "Bearer of-the-host"
                assert sent["Content-Type"] == "application/json"
                assert ("Idempotency-Key" in sent) == path.endswith("settle")
                assert body == {"x402Version": 2, "paymentPayload": paid, "paymentRequirements": paid["accepted"]}
        finally:
            gateway.stop()
            facilitator.shutdown()


def test_a_facilitator_that_others_could_read_along_with_is_refused():
    done = subprocess.run(
        [PROGRAM, "--port", "0", "--facilitator", "http://facilitator.example"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert "a facilitator's url is https" in done.stderr


def test_an_artifact_is_as_long_as_its_answer_says(gateway):
    data = bytes(range(256)) * 8000  # more than an answer holds at once, in parts that the gateway takes
    status, begun, _ = gateway.ask("POST", "/api/v1/artifacts/multipart", {"name": "all.bin", "size": len(data)})
    assert status == 201
    upload = f"/api/v1/artifacts/multipart/{begun['upload_id']}/parts"
    raw_type = {"Content-Type": "application/octet-stream"}
    for number in range(2):
        part = data[number * 1_024_000 :][:1_024_000]
        assert gateway.ask("PUT", f"{upload}/{number + 1}", part, headers=raw_type)[0] == 200
    status, made, _ = gateway.ask("POST", "/api/v1/artifacts/multipart/complete", {"upload_id": begun["upload_id"]})
    assert (status, made["size"]) == (201, len(data))

    target = f"/api/v1/artifacts/{made['artifact_id']}"
    with gateway.connect() as connection:
        for asked, first, last in ((None, 0, len(data) - 1), ("bytes=7-1999999", 7, 1_999_999), ("bytes=-3", -3, None)):
            headers = {"X-API-Key": gateway.key, **({"Range": asked} if asked else {})}
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            said = answer.read()
            expected = data[first:] if last is None else data[first : last + 1]
            assert answer.status == (206 if asked else 200)
            assert said == expected
            assert answer.headers["Content-Length"] == str(len(expected))
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert ask_on(connection, "GET", "/health")[0] == 200  # the connection is good for more


FUNCTIONS = """
import os, time
def square(payload):
    while not os.path.exists(payload["when"]):
        time.sleep(0.01)
    return {"x": payload["x"], "square": payload["x"] ** 2}
"""


def remote_worker(gateway, *options):
    """The reference worker of the examples, as a process that has nothing of calyx but this gateway's URL."""
    program = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "jobs", "remote_worker.py")
    return subprocess.Popen(
        [sys.executable, program, gateway.url, *options],
        env={"PATH": os.environ["PATH"], "CALYX_API_KEY": gateway.key},
        stderr=subprocess.PIPE,
        text=True,
    )


def until(look):
    """What `look` gives, once that is anything."""
    deadline = time.monotonic() + 60
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return seen


def ended(gateway, job):
    state = gateway.ask("GET", f"/api/v1/jobs/{job}")[1]
    return state if state["status"] in ("completed", "partial", "failed", "cancelled") else None


def test_workers_elsewhere_do_a_job_and_one_that_is_stopped_leaves_the_rest_to_others(gateway, tmp_path):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    options = ("--functions", str(tmp_path / "functions.py"), "--task", "square")
    when = tmp_path / "when"
    items = [{"x": x, "when": str(when)} for x in range(20)]
    status, submitted, _ = gateway.ask("POST", "/api/v1/jobs", {"task": "square", "fan_out": {"items": items}})
    assert status == 201, submitted
    job = submitted["job_id"]

    def progress():
        return gateway.ask("GET", f"/api/v1/jobs/{job}")[1]["progress"]

    first = remote_worker(gateway, *options)
    second = None
    try:
        until(lambda: progress()["running"] == 8)
        first.send_signal(signal.SIGTERM)
        assert (first.wait(timeout=30), first.stderr.read()) == (0, "")
        assert progress() == {"tasks": 20, "completed": 0, "failed": 0, "running": 0, "queued": 20}
        when.touch()
        second = remote_worker(gateway, *options)
        assert until(lambda: ended(gateway, job))["status"] == "completed"
        _, results, _ = gateway.ask("GET", f"/api/v1/results/{job}")
        assert results["result"] == [{"x": x, "square": x * x} for x in range(20)]
        _, listed, _ = gateway.ask("GET", f"/api/v1/jobs/{job}/tasks")
        assert {task["attempts"] for task in listed["tasks"]} == {1}
    finally:
        for worker in (first, second):
            if worker is not None:
                worker.terminate()
                assert worker.wait(timeout=30) == 0


def test_what_a_worker_elsewhere_runs_is_read_while_it_prints(gateway, tmp_path):
    (tmp_path / "functions.py").write_text(FUNCTIONS.replace("    while", "    print('begun', flush=True)\n    while"))
    item = {"x": 3, "when": str(tmp_path / "when")}
    job = gateway.ask("POST", "/api/v1/jobs", {"task": "square", "payload": item})[1]["job_id"]
    worker = remote_worker(gateway, "--functions", str(tmp_path / "functions.py"), "--task", "square")
    try:
        output = f"/api/v1/jobs/{job}/output"
        assert until(lambda: gateway.ask("GET", output)[1]["stdout"]) == "begun\n"
        assert gateway.ask("GET", f"/api/v1/jobs/{job}")[1]["status"] == "running"
        (tmp_path / "when").touch()
        assert until(lambda: ended(gateway, job))["status"] == "completed"
    finally:
        worker.terminate()
        assert (worker.wait(timeout=30), worker.stderr.read()) == (0, "")


def test_caches_are_kept_where_the_gateway_says(tmp_path):
    """CP-45."""
    caches = tmp_path / "caches"
    caches.mkdir()
    gateway = Gateway("--market", str(tmp_path / "market.db"), "--work", "1", "--allow-bare-host", "--caches", str(caches))
    try:
        hub = {"name": "hub", "mount_path": "/cache/hub"}
        (tmp_path / "computalot.project.json").write_text(json.dumps({"cache_mounts": [hub]}))
        packed = tmp_path / "code.tar.gz"
        subprocess.run(["tar", "czf", packed, "-C", tmp_path, "computalot.project.json"], check=True)
        assert gateway.ask("POST", "/api/v1/projects", {"name": "cached"})[0] == 201
        headers = {"Content-Type": "application/gzip"}
        assert gateway.ask("POST", "/api/v1/projects/cached/push", packed.read_bytes(), headers=headers)[0] == 201
        count = "cd $COMPUTALOT_CACHE_DIR/hub && echo >> n && wc -l < n > $COMPUTALOT_TASK_RESULT"
        for result in (1, 2):
            job = {"runner_command": ["sh", "-c", count], "project": "cached", "payload": {}}
            asked, submitted, _ = gateway.ask("POST", "/api/v1/jobs", job)
            assert asked == 201, submitted
            assert until(lambda job=submitted["job_id"]: ended(gateway, job))["status"] == "completed"
            assert gateway.ask("GET", f"/api/v1/results/{submitted['job_id']}")[1]["result"] == result
        assert [path.name for path in caches.glob("*/*/*/*")] == ["n"]
    finally:
        gateway.stop()


def test_what_a_cancelled_task_printed_last_is_told_by_its_worker_elsewhere(gateway, tmp_path):
    says_last = "    print('last', flush=True)\n    open(payload['when'] + '.said', 'w')\n    time.sleep(60)\n    return"
    functions = FUNCTIONS.replace("    while", "    print('begun', flush=True)\n    while").replace("    return", says_last)
    (tmp_path / "functions.py").write_text(functions)
    item = {"x": 3, "when": str(tmp_path / "when")}
    job = gateway.ask("POST", "/api/v1/jobs", {"task": "square", "payload": item})[1]["job_id"]
    worker = remote_worker(gateway, "--functions", str(tmp_path / "functions.py"), "--task", "square")
    output = f"/api/v1/jobs/{job}/output"
    try:
        assert until(lambda: gateway.ask("GET", output)[1]["stdout"]) == "begun\n"
        # While its worker is stopped the task prints on, and the job is cancelled.
        worker.send_signal(signal.SIGSTOP)
        (tmp_path / "when").touch()
        until((tmp_path / "when.said").exists)
        assert gateway.ask("PUT", f"/api/v1/jobs/{job}/cancel")[0] == 200
        assert gateway.ask("GET", output)[1]["stdout"] == "begun\n"
        worker.send_signal(signal.SIGCONT)
        assert until(lambda: gateway.ask("GET", output)[1]["stdout"] != "begun\n")
        assert gateway.ask("GET", output)[1]["stdout"] == "begun\nlast\n"
    finally:
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
        assert (worker.wait(timeout=30), worker.stderr.read()) == (0, "")


def test_a_worker_elsewhere_has_folders_for_caches_and_says_that_it_finds_no_data_sources(gateway, tmp_path):
    """CP-45, of the reference worker."""
    hub = {"name": "hub", "mount_path": "/cache/hub"}
    weights = {"name": "weights", "type": "huggingface", "source": "org/model", "mount_path": "/models/weights"}
    worker = remote_worker(gateway, "--commands")
    try:
        for name, manifest in (("cached", {"cache_mounts": [hub]}), ("weighty", {"data_sources": [weights]})):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "computalot.project.json").write_text(json.dumps(manifest))
            packed = tmp_path / f"{name}.tar.gz"
            subprocess.run(["tar", "czf", packed, "-C", folder, "computalot.project.json"], check=True)
            assert gateway.ask("POST", "/api/v1/projects", {"name": name})[0] == 201
            headers = {"Content-Type": "application/gzip"}
            pushed = gateway.ask("POST", f"/api/v1/projects/{name}/push", packed.read_bytes(), headers=headers)
            assert pushed[0] == 201, pushed
        count = "cd $COMPUTALOT_CACHE_DIR/hub && echo >> n && wc -l < n > $COMPUTALOT_TASK_RESULT"
        items = [{"n": n} for n in range(3)]
        job = {"runner_command": ["sh", "-c", count], "project": "cached", "fan_out": {"items": items}}
        asked, submitted, _ = gateway.ask("POST", "/api/v1/jobs", job)
        assert asked == 201, submitted
        assert until(lambda: ended(gateway, submitted["job_id"]))["status"] == "completed"
        _, results, _ = gateway.ask("GET", f"/api/v1/results/{submitted['job_id']}")
        assert results["result"] == [1, 2, 3]

        job = {"runner_command": ["true"], "project": "weighty", "payload": {}}
        submitted = gateway.ask("POST", "/api/v1/jobs", job)[1]
        tasks = f"/api/v1/jobs/{submitted['job_id']}/tasks"
        error = until(lambda: gateway.ask("GET", tasks)[1]["tasks"][0]["error"])
        assert error["code"] == "source_unavailable"
        assert error["message"] == "data source weights: this worker finds none"
        assert gateway.ask("PUT", f"/api/v1/jobs/{submitted['job_id']}/cancel")[0] == 200
    finally:
        worker.terminate()
        assert (worker.wait(timeout=30), worker.stderr.read()) == (0, "")


def test_a_worker_elsewhere_runs_commands_in_the_files_of_their_project(gateway, tmp_path):
    folder = tmp_path / "my-proj"
    folder.mkdir(parents=True)
    (folder / "script.py").write_text(SCRIPT)
    packed = tmp_path / "code.tar.gz"
    subprocess.run(["tar", "czf", packed, "-C", folder, "script.py"], check=True)
    assert gateway.ask("POST", "/api/v1/projects", {"name": "my-proj"})[0] == 201
    raw_type = {"Content-Type": "application/gzip"}
    assert gateway.ask("POST", "/api/v1/projects/my-proj/push", packed.read_bytes(), headers=raw_type)[0] == 201
    rows = [
        ("the document's own", ["python3", "script.py"], "completed", None),
        ("it fails", ["sh", "-c", "echo why >&2; exit 3"], "failed", "exit_nonzero"),
        ("it leaves nothing", ["true"], "failed", "result_invalid"),
        ("a NaN", ["sh", "-c", "echo NaN > $COMPUTALOT_TASK_RESULT"], "failed", "result_invalid"),
        ("no such program", ["no-such-program"], "failed", "not_started"),
        ("it takes too long", ["sleep", "60"], "failed", "timed_out"),
    ]
    worker = remote_worker(gateway, "--commands")
    try:
        for says, command, status, code in rows:
            job = {"runner_command": command, "payload": {"test": True}, "project": "my-proj"}
            job["timeout_s"] = 1 if code == "timed_out" else 60
            asked, submitted, _ = gateway.ask("POST", "/api/v1/jobs", job)
            assert asked == 201, submitted
            job = submitted["job_id"]
            if code == "not_started":  # which is tried again, by others perhaps; nobody waits for that here
                until(lambda job=job: gateway.ask("GET", f"/api/v1/jobs/{job}")[1]["started_at"])
                assert gateway.ask("PUT", f"/api/v1/jobs/{job}/cancel")[0] == 200
                continue
            assert until(lambda job=job: ended(gateway, job))["status"] == status, says
            (task,) = gateway.ask("GET", f"/api/v1/jobs/{job}/tasks")[1]["tasks"]
            if code is None:
                assert task["result"] == {"score": 0.95, "tested": True}
            else:
                assert task["error"]["code"] == code, says
            said = gateway.ask("GET", f"/api/v1/jobs/{job}/output")[1]
            assert {"completed": "scored", "exit_nonzero": "why"}.get(code or status, "") in said["stdout"]
    finally:
        worker.terminate()
        assert (worker.wait(timeout=30), worker.stderr.read()) == (0, "")
