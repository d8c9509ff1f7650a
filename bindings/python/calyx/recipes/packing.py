"""Packings of fifteen unit semicircles: verdicts on them, and searches for small ones.

A candidate is 45 numbers: x, y and direction of each piece. They are judged as they are; round them to 6 decimals
first, as the challenge does, for the score that it gives.

>>> from calyx.recipes import packing
>>> verdicts = packing.eval_batch(numpy_array)  # of shape (n, 45), which is not copied
>>> numpy.asarray(verdicts.score)[verdicts.best()]
2.948573
>>> packing.feasible_optimize(seed=2, max_iters=100_000, n_restarts=4).fun  # a minute
2.948553
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _native
from ..errors import Invalid

__all__ = [
    "Progress",
    "SearchResult",
    "Verdict",
    "Verdicts",
    "basin_hopping",
    "differential_evolution",
    "eval_batch",
    "evaluate",
    "feasible_optimize",
]


@dataclass(frozen=True)
class Verdict:
    """What is said of one candidate: ``score`` is the radius of its circle, and smaller is better."""

    valid: bool
    score: float
    centre_x: float
    centre_y: float
    #: The areas that pairs share, added; the largest of them; and how many are above 1e-6.
    overlap_total: float
    overlap_max: float
    overlapping_pairs: int


@dataclass(frozen=True)
class Verdicts:
    """What is said of many, a column each: buffers that ``numpy.asarray`` reads without a copy."""

    valid: memoryview
    score: memoryview
    centre_x: memoryview
    centre_y: memoryview
    overlap_total: memoryview
    overlap_max: memoryview
    overlapping_pairs: memoryview

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: int) -> Verdict:
        return Verdict(
            valid=bool(self.valid[index]),
            score=self.score[index],
            centre_x=self.centre_x[index],
            centre_y=self.centre_y[index],
            overlap_total=self.overlap_total[index],
            overlap_max=self.overlap_max[index],
            overlapping_pairs=self.overlapping_pairs[index],
        )

    def best(self) -> int | None:
        """The index of the smallest valid one, the first of equals; None where none is valid."""
        found = [i for i in range(len(self)) if self.valid[i]]
        return min(found, key=lambda i: self.score[i], default=None)


def eval_batch(candidates: Any, *, device: str = "auto", areas: str = "exact") -> Verdicts:
    """Judges candidates that lie in a buffer of doubles in C's order, such as a numpy array of shape (n, 45).

    ``device`` is ``auto``, ``cpu`` or ``cuda``; the results are the same bytes. ``areas`` is ``exact``, or
    ``polygon`` for those that the challenge's scorer computes, of polygons with 4,096 points on each arc. Raises
    :class:`calyx.Invalid` for a buffer of another kind or length, or a number that is not finite;
    :class:`calyx.Unsupported` where no such device answers.
    """
    found = _native.judge_packings(candidates, device, areas)
    kinds = {"valid": "B", "overlapping_pairs": "I"}
    return Verdicts(**{name: memoryview(column).cast(kinds.get(name, "d")) for name, column in found.items()})


def evaluate(candidate: Sequence[float], *, areas: str = "exact") -> Verdict:
    """Judges one candidate of 45 numbers. Raises :class:`calyx.Invalid` as :func:`eval_batch`."""
    numbers = array("d", candidate)
    if len(numbers) != 45:
        message = f"has {len(numbers)} numbers, needs 45: x, y and direction of each of 15 pieces"
        raise Invalid("field_value", message, {"field": "/candidate"})
    return eval_batch(numbers, device="cpu", areas=areas)[0]


@dataclass(frozen=True)
class Progress:
    """How far a search is. ``score`` is None before anything valid, and ``objective`` before anything at all."""

    evaluations: int
    iterations: int
    objective: float | None
    score: float | None
    candidate: list[float]


@dataclass(frozen=True)
class SearchResult:
    """What a search came to, by the names of SciPy's ``OptimizeResult`` where that has them.

    ``x`` is the smallest valid packing, with 6 decimals, and ``fun`` its radius; where nothing valid was found
    ``fun`` is None, ``success`` False and ``x`` has the smallest ``objective``: the radius, and the penalty of what
    is shared. ``message`` is ``iterations``, ``budget``, ``converged`` or ``stopped``; of one that was stopped
    ``checkpoint`` goes on, with the same arguments.
    """

    x: list[float]
    fun: float | None
    success: bool
    message: str
    nfev: int
    nit: int
    objective: float | None
    checkpoint: bytes | None
    #: Which of ``chains`` searches found it, counted from 0; the counts are of all of them.
    chain: int


Callback = Callable[[Progress], Any]


def _search(
    method: str,
    x0: Sequence[float] | None,
    callback: Callback | None,
    checkpoint: bytes | None,
    options: dict[str, Any],
) -> SearchResult:
    def told(progress: dict[str, Any]) -> bool:
        assert callback is not None
        return bool(callback(Progress(**progress)))

    start = None if x0 is None else array("d", x0)
    found = _native.search_packings(method, options, start, None if callback is None else told, checkpoint)
    return SearchResult(
        x=found["candidate"],
        fun=found["score"],
        success=found["score"] is not None,
        message=found["ended"],
        nfev=found["evaluations"],
        nit=found["iterations"],
        objective=found["objective"],
        checkpoint=found["checkpoint"],
        chain=found["chain"],
    )


def feasible_optimize(
    x0: Sequence[float] | None = None,
    *,
    seed: int = 0,
    max_iters: int = 10_000,
    n_restarts: int = 8,
    penalty: float = 100.0,
    max_evaluations: int = 0,
    pieces: int = 15,
    chains: int = 1,
    device: str = "auto",
    threads: int = 1,
    callback: Callback | None = None,
    checkpoint: bytes | None = None,
) -> SearchResult:
    """Local search that puts what is valid first, from ``x0`` or from chance.

    What it finds depends on its arguments alone, on every machine. ``max_evaluations`` is a budget (0: none);
    ``penalty`` is what a unit of shared area costs. ``callback`` is told how far it is some ten times a second, and
    ends the search when it gives a true value; its exceptions pass. ``chains`` are independent searches with the
    seeds ``seed``, ``seed + 1`` and so on, each with all of the limits, of which the best one is the result;
    ``device="cuda"`` runs each on a warp, and a CPU may use ``threads`` for them. Raises :class:`calyx.Invalid` for an argument
    beyond its limits, or a ``checkpoint`` of another search; :class:`calyx.Unsupported` where no such device
    answers.
    """
    options = {
        "seed": seed,
        "max_iters": max_iters,
        "n_restarts": n_restarts,
        "penalty": penalty,
        "max_evaluations": max_evaluations,
        "pieces": pieces,
        "chains": chains,
        "device": device,
        "threads": threads,
    }
    return _search("feasible_optimize", x0, callback, checkpoint, options)


def basin_hopping(
    x0: Sequence[float] | None = None,
    *,
    niter: int = 100,
    T: float = 1.0,
    stepsize: float = 0.1,
    seed: int = 0,
    penalty: float = 100.0,
    max_evaluations: int = 0,
    pieces: int = 15,
    chains: int = 1,
    device: str = "auto",
    threads: int = 1,
    callback: Callback | None = None,
    checkpoint: bytes | None = None,
) -> SearchResult:
    """Hops, each with a descent, taken or not as Metropolis has it at the temperature ``T``.

    ``stepsize`` is the deviation of a hop, adapted as SciPy adapts it. The rest is as in :func:`feasible_optimize`.
    """
    options = {
        "seed": seed,
        "max_iters": niter,
        "temperature": T,
        "hop_scale": stepsize,
        "penalty": penalty,
        "max_evaluations": max_evaluations,
        "pieces": pieces,
        "chains": chains,
        "device": device,
        "threads": threads,
    }
    return _search("basin_hopping", x0, callback, checkpoint, options)


def differential_evolution(
    x0: Sequence[float] | None = None,
    *,
    maxiter: int = 1000,
    popsize: int = 15,
    seed: int = 0,
    penalty: float = 100.0,
    max_evaluations: int = 0,
    pieces: int = 15,
    chains: int = 1,
    device: str = "auto",
    threads: int = 1,
    callback: Callback | None = None,
    checkpoint: bytes | None = None,
) -> SearchResult:
    """best/1/bin with deferred updating, over a population of ``popsize`` times as many as there are numbers.

    ``x0`` joins the population. The rest is as in :func:`feasible_optimize`.
    """
    options = {
        "seed": seed,
        "max_iters": maxiter,
        "population_size": popsize * 3 * pieces,
        "penalty": penalty,
        "max_evaluations": max_evaluations,
        "pieces": pieces,
        "chains": chains,
        "device": device,
        "threads": threads,
    }
    return _search("differential_evolution", x0, callback, checkpoint, options)
