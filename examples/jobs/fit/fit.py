"""One fit of a sweep: a logistic regression that tells versicolor (0) from virginica (1) by their petals, by gradient
descent. petals.csv is of the irises that Anderson measured and Fisher wrote of in 1936. Units: centimetres.

What it reads and leaves are files that the environment names; a line behind COMPUTALOT_PROGRESS: tells how far it is.
"""

import csv
import json
import os
from math import exp, log
from pathlib import Path


def chance(weights, row):
    """How sure it is that the flower is of the second kind."""
    z = weights[0] + sum(w * x for w, x in zip(weights[1:], row))
    return 1 / (1 + exp(-max(-30.0, min(30.0, z))))


def loss_of(weights, rows, kinds):
    chances = [chance(weights, row) for row in rows]
    return -sum(log(p if kind else 1 - p) for p, kind in zip(chances, kinds)) / len(rows)


def fit(rows, kinds, rate, ridge, steps):
    weights = [0.0] * (len(rows[0]) + 1)
    for step in range(1, steps + 1):
        errors = [chance(weights, row) - kind for row, kind in zip(rows, kinds)]
        slopes = [sum(errors)] + [sum(e * row[i] for e, row in zip(errors, rows)) for i in range(len(rows[0]))]
        for i, slope in enumerate(slopes):
            weights[i] -= rate * (slope / len(rows) + (ridge * weights[i] if i else 0))
        if step % 100 == 0:
            told = {"step": step, "loss": loss_of(weights, rows, kinds)}
            print("COMPUTALOT_PROGRESS:" + json.dumps(told), flush=True)
    return weights


asked = json.loads(Path(os.environ["COMPUTALOT_TASK_PAYLOAD"]).read_text())
with open("petals.csv", newline="") as file:
    flowers = [(float(row["length"]), float(row["width"]), int(row["kind"])) for row in csv.DictReader(file)]
means = [sum(flower[i] for flower in flowers) / len(flowers) for i in (0, 1)]
rows = [[flower[i] - means[i] for i in (0, 1)] for flower in flowers]
kinds = [flower[2] for flower in flowers]

# Every fourth flower is kept to judge by.
learn, judge = [i for i in range(len(rows)) if i % 4], range(0, len(rows), 4)
weights = fit([rows[i] for i in learn], [kinds[i] for i in learn], asked["rate"], asked["ridge"], asked["steps"])
right = sum((chance(weights, rows[i]) > 0.5) == bool(kinds[i]) for i in judge)
result = {
    "loss": loss_of(weights, [rows[i] for i in judge], [kinds[i] for i in judge]),
    "right": right / len(judge),
    "weights": weights,
}
Path(os.environ["COMPUTALOT_TASK_RESULT"]).write_text(json.dumps(result))
