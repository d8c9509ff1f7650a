"""Counts the words of a text: it is split by lines, each piece is counted by a worker, and the counts are added up
in the order of the pieces. Usage: word_count.py [FILE]
"""

import sys
from collections import Counter
from pathlib import Path
from re import findall

import calyx

text = Path(sys.argv[1] if len(sys.argv) > 1 else __file__).read_text(encoding="utf-8")


def count(payload):
    return Counter(word for line in payload["lines"] for word in findall(r"[a-z]+", line.lower()))


market = calyx.open("words.db")
alice = market.create_wallet(owner_type="human", owner_id="alice")
market.topup(alice, 2000.00)
market.set_prices(base=0.5)  # a second of a task
market.register_task("count", count)

job = alice.submit(
    type="map_reduce",
    task="count",
    payload={"lines": text.splitlines()},
    split={"field": "lines", "chunk_size": 5},
    reduce="sum",
    timeout_s=20,
    max_budget=500.00,
)
with market.worker(threads=2):
    job.wait()

for word, times in sorted(job.result.items(), key=lambda item: (-item[1], item[0]))[:5]:
    print(f"{times:5}  {word}")
progress = job.progress
print(f"{progress.completed} of {progress.tasks} tasks, {job.cost} of {job.hold} FLOPS")
assert job.result == count({"lines": text.splitlines()}), "the pieces add up to the whole"
