"""Failures, environments and convergence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from normlab.stats.arm_results import arm_results
from normlab.stats.runs import convergence, environments, failures
from synthetic import POINTS, article_plan, failed, falling, made_outcome

PLAN = article_plan(seeds=4, norms=("batch", "layer"))
BATCH, LAYER = PLAN.arms


def test_failed_runs_stand_by_kind_with_one_traceback_each() -> None:
    outcomes = [failed(BATCH, seed, f"RuntimeError: sample {seed} of 64 is empty at 0x7f{seed}a") for seed in range(3)]
    outcomes += [failed(LAYER, 0, "RuntimeError: sample 7 of 64 is empty at 0x7fff"), failed(LAYER, 1, "KeyError: 'x'")]
    first, second = failures(arm_results(PLAN, outcomes))
    assert (first.reason, first.trace[1]) == ("RuntimeError: sample 0 of 64 is empty at 0x7f0a", "  line 0")
    assert [(arm.norm, seed) for arm, seed in first.runs] == [("batch", 0), ("batch", 1), ("batch", 2), ("layer", 0)]
    assert first.labels == ("BatchNorm", "LayerNorm")
    assert (second.reason, second.labels) == ("KeyError: 'x'", ("LayerNorm",))
    assert failures(arm_results(PLAN, [made_outcome(BATCH, 0, falling(0.1))])) == ()


def test_long_tracebacks_are_cut() -> None:
    outcome = replace(failed(BATCH, 0), trace="\n".join(map(str, range(100))))
    assert failures(arm_results(PLAN, [outcome]))[0].trace[-1] == "11"


def test_convergence_is_judged_on_held_out_data() -> None:
    falls = np.concatenate([[1.0], POINTS[1:] ** -0.5])
    flat = np.full(len(POINTS), 0.5)
    test = made_outcome(LAYER, 0, flat).series["test_loss"]
    batch = [made_outcome(BATCH, seed, falls) for seed in range(3)]
    batch = [replace(item, series={**item.series, "test_loss": test}) for item in batch]
    found = convergence(arm_results(PLAN, [*batch, made_outcome(LAYER, 0, falls)]))
    assert [round(item.final_loss, 3) for item in found] == [0.293, 0.293]
    assert [item.has_converged for item in found] == [True, False]
    unknown = convergence(arm_results(PLAN, []))
    assert [item.has_converged for item in unknown] == [None, None]
    assert math.isnan(unknown[0].held_out)


def test_environments_are_counted() -> None:
    outcomes = [made_outcome(BATCH, seed, falling(0.1), environment={"engine": "ab"[seed // 3]}) for seed in range(4)]
    assert environments(arm_results(PLAN, outcomes)) == (({"engine": "a"}, 3), ({"engine": "b"}, 1))
