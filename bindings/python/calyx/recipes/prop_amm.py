"""Strategies of the Prop AMM challenge: compiled, validated and simulated, to the bit of its own simulator.

>>> from calyx.recipes import prop_amm
>>> strategy = prop_amm.compile(Path("lib.rs").read_text())
>>> assert strategy.validate().valid
>>> strategy.evaluate(count=1000, threads=2).avg_edge
399.96840026357046
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import _native
from ..commands import Commands

__all__ = ["CallFailure", "Evaluation", "SeedEdge", "Strategy", "Verdict", "Violation", "compile", "load"]


@dataclass(frozen=True)
class Violation:
    """Quotes without a proper shape: ``kind`` is ``monotonicity`` or ``concavity``, ``context`` the search."""

    kind: str
    context: str


@dataclass(frozen=True)
class SeedEdge:
    """What one seed came to: its edge in Y, or None where there was a violation."""

    seed: int
    edge: float | None
    violation: Violation | None


@dataclass(frozen=True)
class CallFailure:
    """The call of the strategy that ended an evaluation: ``kind`` is ``step_limit`` or ``panic``."""

    seed: int
    step: int
    kind: str
    message: str
    line: int


@dataclass(frozen=True)
class Evaluation:
    """What the seeds came to, in their order; up to the failure, where there is one.

    ``total_edge`` and ``avg_edge`` are None where there was a violation or a failure.
    """

    edges: list[SeedEdge]
    violations: int
    failure: CallFailure | None
    total_edge: float | None
    avg_edge: float | None


@dataclass(frozen=True)
class Verdict:
    """The first fault found, if ``valid`` is false: its ``reason``, and where it is.

    ``reason`` is ``zero_output``, ``monotonicity``, ``concavity``, ``runtime_shape``, ``step_limit``, ``panic`` or
    ``parity``. ``size`` is in Y for a purchase (``side`` is ``buy``) and in X for a sale. ``runs`` are the
    simulations of ``full``, when it came to them. ``parity`` is of ``full``, too: whether the source as rustc builds
    it gave the same answers, ``passed``, ``failed`` or ``skipped``, for ``parity_reason`` (``no_enclosure``,
    ``no_rustc``, ``not_reached`` and so on); ``parity_message`` says that in words.
    """

    valid: bool
    reason: str
    message: str
    side: str
    size: float | None
    line: int
    runs: Evaluation | None
    parity: str
    parity_reason: str
    parity_message: str


def _evaluation(found: dict[str, Any]) -> Evaluation:
    edges = [SeedEdge(seed, edge, violation and Violation(*violation)) for seed, edge, violation in found.pop("edges")]
    failure = found.pop("failure")
    return Evaluation(edges=edges, failure=failure and CallFailure(**failure), **found)


class Strategy:
    """A compiled strategy, or a loaded one, which has no name and no bytecode.

    Threads: it never changes, so any number of them may use it; calls let go of the GIL.
    """

    def __init__(self, native: _native.Strategy) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """The source's constant NAME."""
        return self._native.name

    @property
    def model_used(self) -> str:
        """The source's constant MODEL_USED."""
        return self._native.model_used

    @property
    def instructions(self) -> int:
        """How many instructions its bytecode has."""
        return self._native.instructions

    def bytecode(self) -> bytes:
        """The bytecode, the same for the same source and version of calyx."""
        return self._native.bytecode()

    def evaluate(
        self,
        *,
        seed_base: int = 0,
        start: int = 0,
        count: int = 1000,
        steps: int = 10_000,
        strict_curves: bool = True,
        bpf_rules: bool = False,
        threads: int = 1,
        device: str = "auto",
    ) -> Evaluation:
        """Simulates the seeds from ``seed_base + start`` on, modulo 2^64.

        ``threads`` is how many the call may use, ``device`` is ``auto``, ``cpu`` or ``cuda``; results do not depend on
        them. ``bpf_rules``: a call has 100,000 instructions, and one that fails pays nothing instead of ending all;
        an object is always under these rules. Raises :class:`calyx.Invalid` for numbers outside of their limits,
        :class:`calyx.Unsupported` where no such device answers.
        """
        return _evaluation(
            self._native.evaluate(
                seed_base=seed_base,
                start=start,
                count=count,
                steps=steps,
                strict_curves=strict_curves,
                bpf_rules=bpf_rules,
                threads=threads,
                device=device,
            )
        )

    def validate(self, checks: str = "fast", *, commands: Commands | None = None) -> Verdict:
        """Is it a pricing curve? ``checks`` is ``concavity``, ``fast`` or ``full``, each with all before it.

        ``commands`` says how programs of this machine may run: with it ``full`` has rustc build the source, where
        there is one, and compares answers. What rustc gets and makes runs under bubblewrap, or with
        ``allow_bare_host`` under Landlock alone, and never in this process. Raises :class:`calyx.Invalid` for
        another word, and what :func:`calyx.open` raises for ``commands`` that cannot be had.
        """
        found = self._native.validate(checks, commands and commands._native())
        runs = found.pop("runs")
        return Verdict(runs=runs and _evaluation(runs), **found)

    def __repr__(self) -> str:
        return f"<Strategy {self.name!r}, {self.instructions} instructions>"


def compile(source: str) -> Strategy:  # as re.compile is one
    """Compiles one Rust file in the challenge's form.

    Raises :class:`calyx.Invalid` whose ``reason`` is ``strategy_refused``; its details have ``code``, ``line`` and
    ``column``.
    """
    return Strategy(_native.compile_strategy(source))


def load(object_file: bytes) -> Strategy:
    """Loads an eBPF or sBPF object, which is verified before any of it runs. It is evaluated, and not validated.

    Raises :class:`calyx.Invalid` whose ``reason`` is ``strategy_refused``; its details have ``code`` and ``at``.
    """
    return Strategy(_native.load_strategy(object_file))
