"""Buys two computations, computes one of them again, and draws both.

Whoever doubts a recipe's receipt runs the recipe: the same payload gives the same bytes on any machine, so the hash
in the receipt can be compared. Usage: recipes.py (pictures are made where matplotlib is installed)
"""

import base64
from pathlib import Path

import calyx
from calyx.recipes import prop_amm

source = Path(__file__).with_name("strategy.rs").read_text()
market = calyx.open("recipes.db")
alice = market.create_wallet(owner_type="human", owner_id="alice")
market.topup(alice, 2000.00)
market.set_prices(base=0.5)  # a second of a task

# What does a strategy earn? The source travels in the payload, and is compiled by calyx.
strategy = prop_amm.compile(source)
print(f"{strategy.name}: {'valid' if strategy.validate().valid else 'refused'}, {strategy.instructions} instructions")
payload = {"operation": "eval", "count": 100, "steps": 500, "per_seed": True}
payload["rs_source_b64"] = base64.b64encode(source.encode()).decode()
job = alice.submit(recipe="prop_amm", payload=payload, timeout_s=60, max_budget=500.00)
receipt = job.wait()  # with no worker about, this thread computes it
print(f"edge {job.result['avg_edge']:.4f} over {job.result['count']} seeds, {job.cost} FLOPS")

# The doubt, resolved: another market, another wallet, the same bytes.
with calyx.open() as laptop:
    bob = laptop.create_wallet(owner_type="human", owner_id="bob")
    laptop.topup(bob, 2000.00)
    again = bob.submit(recipe="prop_amm", payload=payload, timeout_s=60)
    again.wait()
    assert again.state().output_hash == job.state().output_hash == receipt.output_hash
here = strategy.evaluate(count=100, steps=500, threads=2)
assert here.avg_edge == job.result["avg_edge"]
print(f"receipt {receipt.id}: {'verified' if receipt.verified else 'not to be believed'}, and computed again")

# How small a circle holds fifteen half disks? A search with a seed is a recipe like any other.
search = alice.submit(
    recipe="packing",
    payload={"operation": "feasible_optimize", "seed": 7, "max_evaluations": 600_000},
    timeout_s=60,
    max_budget=500.00,
)
search.wait()
found = search.result
print(f"packing: R = {found['score']:.6f} after {found['evaluations']} evaluations, {search.cost} FLOPS")
assert found["rounded"]["valid"]

try:
    calyx.plot.edges(here, "edges.svg")
    calyx.plot.packing(found, path="packing.png")
    print("pictures: edges.svg, packing.png")
except calyx.Unsupported as no:
    print(f"no pictures: {no.message}")
