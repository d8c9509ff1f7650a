"""Pictures: what is drawn, and what is said where nothing can be."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import calyx
import pytest
from calyx import plot
from calyx.recipes import prop_amm

VECTORS = Path(__file__).parents[1] / "vectors"


def packing_result() -> tuple[dict[str, Any], list[float]]:
    candidate = [3.0 * (i // 3) if i % 3 == 0 else 0.0 for i in range(45)]
    candidate[3] = 0.5  # the second piece lies on the first
    with calyx.open() as market:
        human = market.create_wallet(owner_type="human", owner_id="payer")
        market.topup(human, 10)
        job = human.submit(recipe="packing", payload={"operation": "eval", "candidate": candidate})
        job.wait()
        return job.result, candidate


def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_a_packing_is_drawn_piece_by_piece(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib.patches import Wedge

    result, candidate = packing_result()
    figure = plot.packing(result, candidate, tmp_path / "packing.png")
    wedges = [patch for patch in figure.axes[0].patches if isinstance(patch, Wedge)]
    assert len(wedges) == 15
    # The two that overlap are of one colour, and the others of another.
    colours = [wedge.get_facecolor() for wedge in wedges]
    assert colours[0] == colours[1] != colours[2]
    assert len(set(colours[2:])) == 1
    assert "1 pairs overlap" in figure.axes[0].get_title()
    assert (tmp_path / "packing.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(calyx.Invalid) as refused:
        plot.packing(result)
    assert refused.value.details["field"] == "/candidate"


def test_edges_are_drawn_of_either_result(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = prop_amm.compile((VECTORS / "prop_amm/strategies/cp66.rs").read_text()).evaluate(count=20, steps=50)
    figure = plot.edges(found, tmp_path / "edges.svg")
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 20
    assert "<svg" in (tmp_path / "edges.svg").read_text()
    of_job = {"edges": [{"seed": 1, "edge": 2.0}, {"seed": 2, "edge": None}, {"seed": 3, "edge": 4.0}]}
    drawn = plot.edges(of_job)
    assert drawn.axes[0].get_title() == "2 seeds, 1 more without an edge"
    assert drawn.axes[0].get_legend().get_texts()[0].get_text() == "mean 3.0000"
    with pytest.raises(calyx.Invalid) as refused:
        plot.edges({"avg_edge": 1.0})
    assert refused.value.reason == "field_missing"


def test_without_matplotlib_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without_matplotlib(monkeypatch)
    with pytest.raises(calyx.Unsupported) as refused:
        plot.edges({"edges": [{"seed": 1, "edge": 2.0}]})
    assert "matplotlib" in json.dumps(refused.value.message)
