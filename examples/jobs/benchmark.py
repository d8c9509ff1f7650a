"""Compares two ways to estimate pi: each is tried with the same twenty seeds, and the report says which is nearer and
whether that may be chance.
"""

from math import pi, sqrt
from random import Random

import calyx


def estimate(payload):
    dice, points = Random(payload["seed"]), payload["points"]
    if payload["method"] == "hits":  # points of the square that lie in the circle
        value = 4 * sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(points)) / points
    else:  # the mean height of the circle over its radius
        value = 4 * sum(sqrt(1 - dice.random() ** 2) for _ in range(points)) / points
    return {"error": abs(value - pi)}


market = calyx.open("benchmark.db")
alice = market.create_wallet(owner_type="human", owner_id="alice")
market.topup(alice, 2000.00)
market.set_prices(base=0.5)  # a second of a task
market.register_task("estimate", estimate)

job = alice.submit(
    type="benchmark",
    task="estimate",
    shared_payload={"points": 50_000},
    candidates=[
        {"name": "hits", "payload": {"method": "hits"}},
        {"name": "heights", "payload": {"method": "heights"}},
    ],
    replicas=20,
    seed=7,
    rank_by={"metric": "error", "mode": "min"},
    timeout_s=20,
    max_budget=500.00,
)
with market.worker(threads=2):
    receipt = job.wait()

report = job.result
for row in report["candidates"]:
    low, high = row["interval_95"]
    print(f"{row['rank']}. {row['name']:8} off by {row['mean']:.4f} in the mean, {low:.4f} to {high:.4f}")
print("may be chance:", report["overlaps"] or "none of it")
print(f"{job.cost} of {job.hold} FLOPS, receipt {receipt.id}")
assert report["best"] == "heights"
