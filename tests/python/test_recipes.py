"""Recipes without a market: strategies of the Prop AMM challenge."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import calyx
import pytest
from calyx.recipes import packing, prop_amm

VECTORS = Path(__file__).parents[1] / "vectors" / "prop_amm"

HEAD = """const NAME: &str = "t"; const MODEL_USED: &str = "None";
pub fn get_model_used() -> &'static str { MODEL_USED }
"""


def source(name: str) -> str:
    return (VECTORS / "strategies" / f"{name}.rs").read_text()


def left_out(test: str, why: str) -> None:
    """Tells what this machine cannot run and no package of ``./dev`` would bring, so that it is no failure."""
    if counts := os.environ.get("CALYX_TEST_COUNTS"):
        with open(counts, "a", encoding="utf-8") as told:
            told.write(f"skipped: {test} ({why})\n")


def test_edges_are_those_of_the_challenge() -> None:
    blocks = json.loads((VECTORS / "edges.json").read_text())["strategies"]["cp66"]["blocks"]
    block = next(one for one in blocks if one["steps"] == 200 and one["stride"] == 1)
    strategy = prop_amm.compile(source("cp66"))
    found = strategy.evaluate(seed_base=int(block["seed_base"]), count=block["count"], steps=200)
    assert len(found.edges) == block["count"] > 3
    for edge, expected in zip(found.edges, block["edges"], strict=True):
        assert edge.seed == int(expected["seed"])
        assert edge.edge == expected["edge"]
        assert edge.violation is None
    assert found.failure is None
    assert found.violations == 0
    total = 0.0
    for edge in found.edges:
        assert edge.edge is not None
        total += edge.edge
    assert found.total_edge == total
    assert found.avg_edge == total / block["count"]
    assert found == strategy.evaluate(seed_base=int(block["seed_base"]), count=block["count"], steps=200, threads=2)


def test_a_verdict_says_what_is_wrong_and_where() -> None:
    good = prop_amm.compile(source("cp30"))
    assert good.name == "cp 30 bps"
    assert good.model_used == "None"
    assert good.instructions > 10
    assert good.bytecode().startswith(b"calyx-bytecode/1\n")
    assert good.validate().valid
    bad = prop_amm.compile(source("bad_concave")).validate()
    assert (bad.valid, bad.reason, bad.side, bad.size) == (False, "concavity", "buy", 10.0)
    hidden = prop_amm.compile(source("bad_concave_hidden"))
    assert hidden.validate("concavity").valid
    full = hidden.validate("full")
    assert full.reason == "runtime_shape"
    assert full.runs is not None
    assert full.runs.violations == 1
    assert full.runs.edges[-1].edge is None
    assert full.runs.edges[-1].violation is not None
    assert full.runs.edges[-1].violation.kind == "concavity"
    with pytest.raises(calyx.Invalid) as refused:
        good.validate("most")
    assert refused.value.reason == "field_value"


def test_a_second_compiler_agrees_or_is_said_to_be_missing(tmp_path: Path) -> None:
    strategy = prop_amm.compile(source("cp66"))
    assert strategy.validate().parity == ""
    without = strategy.validate("full")
    assert (without.parity, without.parity_reason) == ("skipped", "no_enclosure")
    try:
        found = strategy.validate("full", commands=calyx.Commands(allow_bare_host=True, scratch=str(tmp_path)))
    except calyx.Error as refused:
        left_out("a second compiler", f"programs cannot be enclosed here: {refused}")
        return
    if found.parity_reason in ("no_rustc", "no_enclosure"):
        assert (found.valid, found.parity) == (True, "skipped")
        left_out("a second compiler", found.parity_message)
        return
    assert found.valid
    assert (found.parity, found.parity_reason, found.parity_message) == ("passed", "", "")
    assert found.runs == without.runs
    nowhere = calyx.Commands(bubblewrap="none", scratch=str(tmp_path))
    with pytest.raises(calyx.Refused) as refused_place:
        strategy.validate("full", commands=nowhere)
    assert refused_place.value.reason == "bare_host_refused"


def test_a_call_that_fails_ends_all_and_is_told() -> None:
    strategy = prop_amm.compile(HEAD + "pub fn compute_swap(data: &[u8]) -> u64 {\n  data[2000] as u64\n}\n")
    found = strategy.evaluate(count=3, steps=10)
    assert found.failure is not None
    assert (found.failure.kind, found.failure.seed, found.failure.line) == ("panic", 0, 4)
    assert found.edges == []
    assert found.avg_edge is None
    assert strategy.evaluate(count=3, steps=10, bpf_rules=True).failure is None


def test_what_is_no_strategy_is_refused_with_its_place() -> None:
    with pytest.raises(calyx.Invalid) as refused:
        prop_amm.compile(HEAD + "pub fn compute_swap(data: &[u8]) -> u64 {\n  unsafe { 1 }\n}\n")
    assert refused.value.reason == "strategy_refused"
    assert refused.value.details["code"] == "source_unsafe"
    assert (refused.value.details["line"], refused.value.details["column"]) == (4, 3)
    with pytest.raises(calyx.Invalid) as limits:
        prop_amm.compile(source("cp30")).evaluate(count=0)
    assert limits.value.details["field"] == "/count"


def test_a_signal_is_heard_within_a_simulation() -> None:
    class Enough(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Enough

    spins = "pub fn compute_swap(data: &[u8]) -> u64 {\n  let mut i = 0u64;\n  while i < 900_000 { i += 1; }\n  i\n}\n"
    strategy = prop_amm.compile(HEAD + spins)
    before = signal.signal(signal.SIGALRM, handler)
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Enough):
            strategy.evaluate(count=2, threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begun < 20  # by itself it would take hours
    assert threading.active_count() == 1


def test_packings_are_judged_where_they_lie() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    cases = json.loads((VECTORS.parent / "packing/eval.json").read_text())["candidates"]
    numbers = numpy.array([case["candidate"] for case in cases])
    verdicts = packing.eval_batch(numbers)
    assert len(verdicts) == len(cases) > 50
    score = numpy.asarray(verdicts.score)
    assert score.dtype == numpy.float64
    for i, case in enumerate(cases):
        assert bool(verdicts.valid[i]) == case["raw"]["exact_valid"]
        assert score[i] == pytest.approx(case["raw"].get("mec_exact", case["raw"]["mec"])[2], rel=1e-9)
        assert verdicts[i] == packing.evaluate(case["candidate"])
    best = verdicts.best()
    assert best is not None
    assert score[best] == min(score[i] for i in range(len(cases)) if verdicts.valid[i])
    # The same numbers in a row, and some that are no candidates.
    assert packing.eval_batch(numbers.reshape(-1)).score.tobytes() == verdicts.score.tobytes()
    for wrong, reason in (
        (numbers[:, :44].copy(), "field_value"),
        (numbers.astype("float32"), "field_type"),
        (numbers[:, ::-1], "field_type"),
        ([0.0] * 45, "field_type"),
        (numpy.full((2, 45), numpy.nan), "field_value"),
    ):
        with pytest.raises(calyx.Invalid) as refused:
            packing.eval_batch(wrong)
        assert refused.value.reason == reason
    for length in (0, 44, 90):
        with pytest.raises(calyx.Invalid, match=f"has {length} numbers"):
            packing.evaluate([0.0] * length)
    with pytest.raises(calyx.Invalid):
        packing.eval_batch(numbers, device="tpu")


def test_polygons_judge_as_the_scorer_does() -> None:
    cases = json.loads((VECTORS.parent / "packing/eval.json").read_text())["candidates"]
    decided = [case for case in cases if len(case["candidate"]) == 45]
    assert len(decided) > 20
    for case in decided:
        assert packing.evaluate(case["candidate"], areas="polygon").valid == case["raw"]["valid"], case["name"]
        assert packing.evaluate(case["candidate"]).valid == case["raw"]["exact_valid"], case["name"]
    with pytest.raises(calyx.Invalid) as refused:
        packing.evaluate(decided[0]["candidate"], areas="round")
    assert refused.value.details["field"] == "/areas"


def test_searches_have_scipys_names_and_go_on_from_where_they_were_stopped() -> None:
    whole = packing.feasible_optimize(seed=5, max_evaluations=20_000)
    assert (whole.message, whole.nfev, whole.success, whole.checkpoint) == ("budget", 20_000, True, None)
    assert packing.evaluate(whole.x).valid
    assert packing.evaluate(whole.x).score == whole.fun
    heard: list[packing.Progress] = []

    def enough(progress: packing.Progress) -> bool:
        heard.append(progress)
        return True

    part = packing.feasible_optimize(seed=5, max_evaluations=20_000, callback=enough)
    assert part.message == "stopped"
    assert part.checkpoint is not None
    assert len(heard) == 1
    assert len(heard[0].candidate) == 45
    assert packing.feasible_optimize(seed=5, max_evaluations=20_000, checkpoint=part.checkpoint) == whole
    with pytest.raises(calyx.Invalid) as refused:
        packing.feasible_optimize(seed=6, max_evaluations=20_000, checkpoint=part.checkpoint)
    assert refused.value.details["field"] == "/checkpoint"

    hops = packing.basin_hopping(whole.x, niter=20, T=0.5, stepsize=0.2, seed=1)
    assert hops.nit == 20
    assert hops.fun is not None
    assert whole.fun is not None
    assert hops.fun <= whole.fun
    evolved = packing.differential_evolution(popsize=1, maxiter=3, seed=1, pieces=4)
    assert evolved.nit == 3
    assert len(evolved.x) == 12
    for wrong in ({"niter": -1}, {"seed": 2**64}, {"stepsize": 0.0}, {"pieces": 33}):
        with pytest.raises(calyx.Invalid):
            packing.basin_hopping(**wrong)  # type: ignore[arg-type]


def test_chains_are_searches_with_seeds_in_a_row_and_the_best_one_counts() -> None:
    alone = [packing.basin_hopping(niter=40, seed=7 + i, max_evaluations=4_000) for i in range(3)]
    together = packing.basin_hopping(niter=40, seed=7, max_evaluations=4_000, chains=3, threads=2)
    funs = [one.fun for one in alone]
    assert together.fun == min(fun for fun in funs if fun is not None)
    assert together.chain == funs.index(together.fun)
    assert together.x == alone[together.chain].x
    assert together.nfev == sum(one.nfev for one in alone)
    for wrong in ({"chains": 0}, {"threads": 0}, {"device": "tpu"}, {"device": None}):
        with pytest.raises(calyx.Invalid) as refused:
            packing.basin_hopping(**wrong)  # type: ignore[arg-type]
        assert refused.value.details["field"] == "/" + next(iter(wrong))


def test_an_object_is_loaded_and_evaluated_and_a_device_is_asked_for_by_its_name() -> None:
    strategies = VECTORS / "strategies"
    loaded = prop_amm.load((strategies / "cp500.bpf.o").read_bytes())
    compiled = prop_amm.compile((strategies / "cp500.rs").read_text())
    edges = [one.evaluate(count=2, steps=100, device="cpu").edges for one in (loaded, compiled)]
    assert edges[0] == edges[1]
    with pytest.raises(calyx.Invalid) as refused:
        prop_amm.load(b"no object")
    assert refused.value.reason == "strategy_refused"
    with pytest.raises(calyx.Unsupported):
        loaded.validate()
    with pytest.raises(calyx.Invalid):
        compiled.evaluate(count=1, steps=1, device="tpu")


def test_a_callbacks_exception_passes_and_a_signal_ends_a_search() -> None:
    class Enough(Exception):
        pass

    def raises(_: packing.Progress) -> None:
        raise Enough

    with pytest.raises(Enough):
        packing.basin_hopping(niter=10**9, callback=raises)

    def handler(number: int, frame: object) -> None:
        raise Enough

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Enough):
            packing.basin_hopping(niter=10**9)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_task_reads_artifacts_leaves_some_and_keeps_what_its_next_try_needs(tmp_path: Path) -> None:
    with calyx.open(tmp_path / "m.db") as market:
        seen: list[bytes | None] = []
        late: list[calyx.TaskCall] = []

        @market.task
        def count(payload: dict[str, str], call: calyx.TaskCall) -> int:
            late.append(call)
            seen.append(call.checkpoint())
            call.keep_checkpoint(b"half\0way")
            if call.attempt == 1:
                raise ValueError("the first try")
            numbers = call.artifact_json(payload["numbers"])
            call.leave("copy.json", call.artifact(payload["numbers"]))
            return sum(numbers)

        payer = market.create_wallet(owner_type="human", owner_id="payer")
        mine = market.session(payer.api_key)
        artifact = mine.put_artifact(b"[1, 2, 3]", "numbers.json")
        job = mine.submit(task="count", payload={"numbers": artifact.id}, max_retries=1)
        with market.worker():
            job.wait(timeout=60)
        assert job.result == 6
        assert seen == [None, b"half\0way"]
        assert [file.name for file in next(job.tasks()).artifacts] == ["copy.json"]
        with pytest.raises(calyx.Stopped):
            late[0].keep_checkpoint(b"late")
