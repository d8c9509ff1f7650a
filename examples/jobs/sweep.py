"""Sweeps a script: fit/fit.py is pushed as a project, run once for each learning rate and ridge penalty, and the fits
are ranked by their loss on flowers that they have not seen. Usage: sweep.py
"""

from pathlib import Path

import calyx

# A command is a process of this machine, which whoever opens the market must allow.
commands = calyx.Commands(allow_bare_host=True, containers="none")
market = calyx.open("sweep.db", commands=commands)
alice = market.create_wallet(owner_type="human", owner_id="alice")
market.topup(alice, 2000.00)
market.set_prices(base=0.5)  # a second of a task

project = alice.create_project("iris", description="tells two kinds of iris apart")
revision = project.push(Path(__file__).with_name("fit"))
print(f"revision {revision.number} of {project.name}: {', '.join(file.path for file in revision.files)}")

job = alice.submit(
    type="sweep",
    project=project.name,
    command="python3 fit.py",
    parameters={"rate": [0.03, 0.3, 3], "ridge": [0, 0.001, 0.01]},
    fixed_payload={"steps": 1000},
    rank_by={"metric": "loss", "mode": "min"},
    timeout_s=30,
    max_budget=500.00,
)
receipt = job.wait()  # with no worker about, this thread runs the commands

print("rank  rate   ridge   loss    right")
for rank, row in enumerate(job.result["ranked"], 1):
    point, fit = row["parameters"], row["result"]
    print(f"{rank:4}  {point['rate']:<5}  {point['ridge']:<6}  {fit['loss']:.4f}  {fit['right']:.0%}")
verdict = "verified" if receipt.verified else "not to be believed"
print(f"{job.cost} of {job.hold} FLOPS, receipt {receipt.id}: {verdict}")
assert receipt.verified and job.result["points"] == 9 and job.result["best"]["result"]["right"] > 0.9
