"""The installed package: it comes from the prefix, says its version, and pays for a job.

    imported.py PREFIX
"""

import sys
from pathlib import Path

import calyx
import computalot

prefix = Path(sys.argv[1]).resolve()
for module in (calyx, calyx._native, computalot):
    if prefix not in Path(module.__file__).resolve().parents:
        sys.exit(f"{module.__name__} came from {module.__file__}, not from {prefix}")
for file in ("py.typed", "_native.pyi", "calyx-runner"):
    if not (Path(calyx.__file__).parent / file).is_file():
        sys.exit(f"{file} is not in the package")
if not (Path(computalot.__file__).parent / "py.typed").is_file():
    sys.exit("computalot is not said to be typed")

with calyx.open(None) as market:
    payer = market.create_wallet(owner_type="human", owner_id="payer")
    host = market.create_wallet(owner_type="human", owner_id="host")
    market.topup(payer, 10)
    payer.spend(job_id="job-1", amount=4, host=host)
    earned = host.earn(
        job_id="job-1", gross_amount="3.80", output_hash="a" * 64, gpu_model="A100", duration_seconds=12
    )
    if not earned.receipt.verified or str(payer.balance) != "6.20":
        sys.exit(f"a job came out wrong: {earned}, {payer.balance}")
    market.register_task("square", lambda payload: payload["x"] ** 2)
    with market.worker():
        job = market.submit(task="square", payload={"x": [1, 2, 3]}, fan_out={"by": "x"})
        job.wait(timeout=30)
    if computalot.ComputalotClient(market, market.issue_operator_key().api_key).results(job.id)["result"] != [1, 4, 9]:
        sys.exit(f"a job of tasks came out wrong: {job.result}")
print(f"calyx {calyx.__version__} works from {prefix}")
