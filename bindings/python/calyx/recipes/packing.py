"""Verdicts on packings of fifteen unit semicircles: valid or not, and how large a circle they need.

A candidate is 45 numbers: x, y and direction of each piece. They are judged as they are; round them to 6 decimals
first, as the challenge does, for the score that it gives.

>>> from calyx.recipes import packing
>>> verdicts = packing.eval_batch(numpy_array)  # of shape (n, 45), which is not copied
>>> numpy.asarray(verdicts.score)[verdicts.best()]
2.948573
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import _native
from ..errors import Invalid

__all__ = ["Verdict", "Verdicts", "eval_batch", "evaluate"]


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


def eval_batch(candidates: Any, *, device: str = "auto") -> Verdicts:
    """Judges candidates that lie in a buffer of doubles in C's order, such as a numpy array of shape (n, 45).

    ``device`` is ``auto``, ``cpu`` or ``cuda``; the results are the same bytes. Raises :class:`calyx.Invalid` for a
    buffer of another kind or length, or a number that is not finite; :class:`calyx.Unsupported` where no such device
    answers.
    """
    found = _native.judge_packings(candidates, device)
    kinds = {"valid": "B", "overlapping_pairs": "I"}
    return Verdicts(**{name: memoryview(column).cast(kinds.get(name, "d")) for name, column in found.items()})


def evaluate(candidate: Sequence[float]) -> Verdict:
    """Judges one candidate of 45 numbers. Raises :class:`calyx.Invalid` as :func:`eval_batch`."""
    numbers = array("d", candidate)
    if len(numbers) != 45:
        message = f"has {len(numbers)} numbers, needs 45: x, y and direction of each of 15 pieces"
        raise Invalid("field_value", message, {"field": "/candidate"})
    return eval_batch(numbers, device="cpu")[0]
