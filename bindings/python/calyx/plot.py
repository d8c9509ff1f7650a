"""Pictures of results: what a packing looks like, and how a strategy's edges lie.

Needs matplotlib, which calyx does not: without it each function raises :class:`calyx.Unsupported`. What they draw on
is a figure of its own, so nothing of pyplot's state is touched.

>>> calyx.plot.edges(strategy.evaluate(count=1000), "edges.svg")
>>> calyx.plot.packing(job.result(), candidate, "packing.png")
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Invalid, Unsupported
from .recipes.prop_amm import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["edges", "packing"]

_FILL, _OVERLAP, _LINE = "#8fb8de", "#e07a5f", "#24323f"


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Unsupported("unsupported", "pictures need matplotlib, which is not installed here") from None
    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def packing(
    result: Mapping[str, Any], candidate: Sequence[float] | None = None, path: str | Path | None = None
) -> Figure:
    """The pieces of a packing in their circle; those that overlap are red.

    ``result`` is what the recipe ``packing`` gives for one candidate: ``candidate`` is that, unless the result has it.
    Drawn are the numbers rounded to 6 decimals, as they are scored. ``path`` is where to save it, as PNG or SVG by its
    suffix.
    """
    numbers = list(result.get("candidate") or ()) if candidate is None else list(candidate)
    if not numbers or len(numbers) % 3 != 0:
        raise Invalid(
            "field_value",
            f"has {len(numbers)} numbers, needs x, y and direction of each piece",
            {"field": "/candidate"},
        )
    verdict = result["rounded"]
    from_pairs = {piece for pair in verdict["overlapping_pairs"] for piece in pair}
    figure = _figure(6, 6)
    from matplotlib.patches import Circle, Wedge

    axes = figure.add_subplot()
    mec = verdict["mec"]
    axes.add_patch(Circle((mec["cx"], mec["cy"]), mec["r"], fill=False, edgecolor=_LINE, linewidth=1.2))
    for piece in range(len(numbers) // 3):
        x, y, theta = (round(number, 6) for number in numbers[3 * piece : 3 * piece + 3])
        middle = math.degrees(theta)
        colour = _OVERLAP if piece in from_pairs else _FILL
        axes.add_patch(Wedge((x, y), 1, middle - 90, middle + 90, facecolor=colour, edgecolor=_LINE, linewidth=0.8))
        away = 4 / (3 * math.pi)  # the centre of a half disk's mass
        axes.annotate(
            str(piece), (x + away * math.cos(theta), y + away * math.sin(theta)), ha="center", va="center", fontsize=8
        )
    room = 1.03 * mec["r"]
    axes.set_xlim(mec["cx"] - room, mec["cx"] + room)
    axes.set_ylim(mec["cy"] - room, mec["cy"] + room)
    axes.set_aspect("equal")
    axes.set_axis_off()
    state = "valid" if verdict["valid"] else f"{len(verdict['overlapping_pairs'])} pairs overlap"
    axes.set_title(f"R = {mec['r']:.6f}, {state}")
    return _saved(figure, path)


def edges(result: Evaluation | Mapping[str, Any], path: str | Path | None = None) -> Figure:
    """How the edges of a strategy lie: their distribution, and their mean.

    ``result`` is an :class:`~calyx.recipes.prop_amm.Evaluation`, or what the recipe ``prop_amm`` gives with
    ``per_seed``. Seeds without an edge are counted in the title and not drawn. ``path`` is where to save it, as PNG
    or SVG by its suffix.
    """
    if isinstance(result, Evaluation):
        all_edges = [one.edge for one in result.edges]
    else:
        if "edges" not in result:
            raise Invalid("field_missing", "is missing: ask for per_seed", {"field": "/edges"})
        all_edges = [one["edge"] for one in result["edges"]]
    found = [edge for edge in all_edges if edge is not None]
    if not found:
        raise Invalid("field_value", "no seed has an edge", {"field": "/edges"})
    mean = sum(found) / len(found)
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    axes.hist(found, bins=min(60, max(5, round(2 * len(found) ** 0.5))), color=_FILL, edgecolor=_LINE, linewidth=0.4)
    axes.axvline(mean, color=_OVERLAP, linewidth=1.5, label=f"mean {mean:.4f}")
    axes.set_xlabel("edge of a seed, in Y")
    axes.set_ylabel("seeds")
    missing = len(all_edges) - len(found)
    axes.set_title(f"{len(found)} seeds" + (f", {missing} more without an edge" if missing else ""))
    axes.legend()
    return _saved(figure, path)
