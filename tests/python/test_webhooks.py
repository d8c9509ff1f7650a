"""Webhooks in Python: a job's end is sent by a function, and a receiver checks what came."""

from __future__ import annotations

import json
from typing import Any

import pytest

import calyx


def market_with_a_message(**options: Any) -> tuple[calyx.Market, calyx.Job, str]:
    market = calyx.open(callbacks=calyx.CallbackRules(), **options)
    alice = market.create_wallet(owner_type="human", owner_id="alice")
    secret = alice.rotate_webhook_secret()
    market.register_task("double", lambda payload: 2 * payload["n"])
    job = alice.submit(task="double", payload={"n": 21}, callback_url="https://hooks.example.org/done")
    job.wait()
    return market, job, secret


def test_a_message_is_sent_and_checked() -> None:
    market, job, secret = market_with_a_message(clock=lambda: 1_800_000_000_000_000)
    sent: list[calyx.WebhookRequest] = []

    def transport(request: calyx.WebhookRequest) -> int:
        sent.append(request)
        return 204

    round = market.deliver_webhooks(transport, resolve=lambda host: ["93.184.216.34"])
    assert (round.delivered, round.failed, round.dead, round.next_at) == (1, 0, 0, None)
    (request,) = sent
    assert request.address == "93.184.216.34"
    assert (request.host, request.port, request.https, request.target) == ("hooks.example.org", 443, True, "/done")
    told = json.loads(request.body)
    assert told["type"] == "job.completed"
    assert told["data"]["job_id"] == job.id == request.headers["webhook-id"]

    assert calyx.verify_webhook(secret, request.headers, request.body, now=1_800_000_000)
    capital = {name.upper(): value for name, value in request.headers.items()}
    assert calyx.verify_webhook(secret, capital, request.body, now=1_800_000_299).valid
    late = calyx.verify_webhook(secret, request.headers, request.body, now=1_800_000_301)
    assert (bool(late), late.reason) == (False, "timestamp")
    assert calyx.verify_webhook(secret, request.headers, request.body + b" ", now=1_800_000_000).reason == "signature"
    assert calyx.verify_webhook("whsec_x", request.headers, request.body, now=1_800_000_000).reason == "secret"
    assert calyx.verify_webhook(secret, {}, b"").reason == "malformed"
    with pytest.raises(calyx.Invalid):
        calyx.verify_webhook(secret, request.headers, request.body.decode())  # type: ignore[arg-type]


def test_the_standards_own_example() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert calyx.verify_webhook(secret, headers, b'{"test": 2432232314}', now=1_614_265_330)


def test_what_a_transport_answers_or_raises(capsys: pytest.CaptureFixture[str]) -> None:
    now = [1_800_000_000_000_000]
    market, _, _ = market_with_a_message(clock=lambda: now[0])
    resolve = lambda host: ["93.184.216.34"]  # noqa: E731
    answers: list[Any] = [500, (429, 7200), "nonsense", ZeroDivisionError()]

    def transport(request: calyx.WebhookRequest) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    waits = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", lambda told: None)
        while answers:
            assert market.deliver_webhooks(transport, resolve=resolve).failed == 1
            round = market.deliver_webhooks(transport, resolve=resolve)
            assert round.failed == 0 and round.next_at is not None
            due = int(round.next_at.timestamp()) + 1
            waits.append(due - now[0] // 1_000_000)
            now[0] = due * 1_000_000
    assert 5 <= waits[0] <= 7
    assert 7200 <= waits[1] <= 7202
    assert 1800 <= waits[2] <= 1982
    assert market.deliver_webhooks(lambda request: 200, resolve=lambda host: ["127.0.0.1"]).failed == 1


def test_markets_without_callbacks_refuse_them() -> None:
    market = calyx.open()
    alice = market.create_wallet(owner_type="human", owner_id="alice")
    with pytest.raises(calyx.Unsupported):
        alice.submit(task="t", callback_url="https://example.org/")
    with pytest.raises(calyx.Unsupported):
        market.deliver_webhooks(lambda request: 200)
    with pytest.raises(calyx.Invalid):
        market.deliver_webhooks(7)  # type: ignore[arg-type]
    with pytest.raises(calyx.Invalid):
        calyx.open(callbacks=calyx.CallbackRules(ports=(0,)))
    other = calyx.open(callbacks=calyx.CallbackRules())
    bob = other.create_wallet(owner_type="human", owner_id="bob")
    with pytest.raises(calyx.Invalid) as refused:
        bob.submit(task="t", callback_url="https://example.org/")
    assert refused.value.details["rule"] == "secret"
    bob.rotate_webhook_secret()
    with pytest.raises(calyx.Invalid) as refused:
        bob.submit(task="t", callback_url="https://[::1]/")
    assert refused.value.details["rule"] == "loopback"
