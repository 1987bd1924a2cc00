"""The stacked engine does what sequential does, for each replica by itself, and says before what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers import bits, cohort_of, threads
from normlab.engine import calibrate
from normlab.engine.cache import RecipeCache
from normlab.engine.calibrate import MOST_STEPS, Pace, Trial
from normlab.engine.choose import choose
from normlab.engine.sequential import Sequential
from normlab.engine.stacked import engine as stacked
from normlab.engine.stacked.engine import Stacked
from normlab.engine.stacked.wide import Wide
from normlab.errors import InputError
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Layout, Slot
from normlab.recipe import Cohort
from normlab.study.outcome import Outcome

OPTIMIZERS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
}
WITHOUT_RULE = {"spectral"}  # vmap refuses it, see the test of reasons


def catalogue(layout: Layout, groups: int) -> list[str]:
    """Every norm that takes input of that layout."""
    own = {"ghost": "ghost:size=24"}
    return [
        f"{spec.name}:groups={groups}"
        if "groups" in {option.name for option in spec.options}
        else own.get(spec.name, spec.name)
        for spec in NORMS
        if layout in spec.axes and spec.name not in WITHOUT_RULE and not (spec.name == "instance" and layout == "NC")
    ]


ARTICLE, CNN = catalogue("NC", 5), catalogue("NCHW", 4)
DTYPES = ("float64", "float32")
SMALL_CNN = {"hidden": (4, 8, 8), "batch_size": 128}  # 9 steps an epoch
OF_ONE_SIZE = {**SMALL_CNN, "samples": 384}  # three steps an epoch; each size of a batch is traced by itself


def pairs(norms: list[str], quick: list[str]) -> list[object]:
    """Every norm with one optimizer, in turn: what an optimizer does with gradients does not depend on the norm."""
    return [
        pytest.param(norm, optimizer, marks=[] if norm in quick else pytest.mark.slow)
        for norm, optimizer in zip(norms, cycle(OPTIMIZERS))
    ]


@pytest.fixture
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of two replicas, to be quick."""
    monkeypatch.setattr(stacked, "lanes", lambda recipe, device: 2)


def cohort(task: str, norm: str, seeds: tuple[int, ...] = (0, 1), **values: object) -> Cohort:
    return cohort_of(norm, task, seeds=seeds, tail=1.0, **values)


def train(cohort: Cohort) -> list[Outcome]:
    return list(Stacked().train(cohort, "cpu"))


def agree(cohort: Cohort, steps: int, tolerance: float) -> None:
    """Every series of every run, as far as ``steps``, is that of the sequential engine."""
    assert Stacked().supports(cohort.recipe) is None
    for ours, oracle in zip(train(cohort), Sequential().train(cohort, "cpu"), strict=True):
        assert (ours.arm, ours.seed) == (oracle.arm, oracle.seed)
        assert (ours.status, ours.stopped_at, ours.reason) == (oracle.status, oracle.stopped_at, oracle.reason)
        assert (ours.parameters, ours.batch_hash) == (oracle.parameters, oracle.batch_hash)
        assert ours.weight_hash == oracle.weight_hash
        assert list(ours.series) == list(oracle.series)
        for name, expected in oracle.series.items():
            found, soon = ours.series[name], expected.steps <= steps
            assert np.array_equal(found.steps, expected.steps)
            if "running" in name and cohort.recipe.training.dtype == "float32":
                # The bias before batch normalization has a gradient of rounding errors, which Adam makes steps of.
                np.testing.assert_allclose(found.values[soon], expected.values[soon], rtol=2e-3, atol=1e-2)
            elif name.endswith("_accuracy") or "_accuracy_" in name:  # rounding may turn the answer to one sample
                np.testing.assert_allclose(found.values[soon], expected.values[soon], atol=3e-3)
            else:  # the gradient turns faster than the loss when weights differ
                rtol = 100 * tolerance if name == "gradient_norm" else tolerance
                np.testing.assert_allclose(found.values[soon], expected.values[soon], rtol=rtol, err_msg=name)


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize(("norm", "optimizer"), pairs(ARTICLE, ARTICLE[::8]))
def test_article_in_float64(norm: str, optimizer: str) -> None:
    """FRN, which on N,C input is close to a sign function, is chaotic: it is followed over fewer steps."""
    how = {**OPTIMIZERS[optimizer], "learning_rate": 1e-3}
    agree(cohort("article", norm, epochs=4, dtype="float64", **how), 20 if norm == "frn" else 50, 1e-9)


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize("norm", [*ARTICLE[2::8], *(pytest.param(n, marks=pytest.mark.slow) for n in ARTICLE[6::8])])
def test_article_in_float32(norm: str) -> None:
    agree(cohort("article", norm, epochs=2), 20, 1e-4)


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize(("norm", "optimizer"), pairs(CNN, []))
def test_cnn_in_float64(norm: str, optimizer: str) -> None:
    """At larger rates InstanceNorm on 2x2 positions is chaotic: a last bit grows tenfold every 5 steps."""
    how = {**OF_ONE_SIZE, **OPTIMIZERS[optimizer], "learning_rate": 1e-3}
    agree(cohort("digits-cnn", norm, epochs=4, dtype="float64", **how), 12, 1e-9)


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize("norm", [pytest.param(n, marks=pytest.mark.slow) for n in CNN[::4]])
def test_cnn_in_float32(norm: str) -> None:
    """On one split; how far float32 drifts apart depends on the data, which float64 above has anew for each seed."""
    how = {**OF_ONE_SIZE, "optimizer": "sgd", "learning_rate": 0.01, "fixed_data": True}
    agree(cohort("digits-cnn", norm, epochs=4, **how), 12, 1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_rounding_grows_no_more_than_the_oracles(norm: str) -> None:
    """Adam makes steps of the rounding errors in biases before a norm, so that float32 runs drift apart, whoever
    trains them: the distance from the run in float64 must be that of the sequential engine, within a factor of 3."""
    given = {dtype: cohort("digits-cnn", norm, epochs=2, batch_size=128, dtype=dtype) for dtype in DTYPES}
    truth, oracle = ([losses(run) for run in Sequential().train(given[dtype], "cpu")] for dtype in DTYPES)
    ours = [losses(run) for run in train(given["float32"])]
    error = np.abs(np.array(ours) / np.array(truth) - 1).max()
    assert error < max(1e-4, 3 * np.abs(np.array(oracle) / np.array(truth) - 1).max())


def losses(outcome: Outcome) -> list[float]:
    return outcome.series["training_loss"].values[:20].tolist()


@pytest.mark.usefixtures("two_lanes")
@pytest.mark.parametrize(
    "setting",
    [
        {"label_noise": 0.2, "loss": "squared_error", "activation": "gelu"},
        {"dropout": 0.3, "placement": "after", "activation": "tanh"},
        pytest.param({"hidden": (20, 20, 20), "batch_size": 333, "activation": "silu"}, marks=pytest.mark.slow),
    ],
    ids=["label noise", "dropout", "deep"],
)
def test_every_other_setting(setting: dict) -> None:
    agree(cohort("article", "batch", epochs=3, dtype="float64", **setting), 48, 1e-9)


@pytest.mark.usefixtures("two_lanes")
def test_a_norm_of_the_users_that_draws_its_initial_values() -> None:
    """The draws are those of the sequential engine, each replica's own."""
    agree(cohort("article", "helpers:EXPLODING", seeds=(0, 1, 2, 3), epochs=1, dtype="float64"), 16, 1e-9)


@pytest.mark.parametrize(
    "given",
    [
        cohort("article", "batch", epochs=2),
        pytest.param(cohort("digits-cnn", "batch", epochs=1, **OF_ONE_SIZE), marks=pytest.mark.slow),
        pytest.param(cohort("digits-cnn", "group:groups=4", epochs=1, **OF_ONE_SIZE), marks=pytest.mark.slow),
    ],
    ids=["article", "cnn-batch", "cnn-group"],
)
def test_a_run_does_not_depend_on_its_cohort_or_on_threads(given: Cohort) -> None:
    """Cohorts of 1, 7 and 64, in any order, on one thread and on two: the same bits."""
    whole = {outcome.seed: bits(outcome) for outcome in train(replace(given, seeds=tuple(range(64))))}
    with threads(2):
        for seeds in ((5,), (63,), (3, 41, 0, 12, 62, 7, 8)):
            outcomes = train(replace(given, seeds=seeds))
            assert sorted(outcome.seed for outcome in outcomes) == sorted(seeds)
            for outcome in outcomes:
                assert bits(outcome) == whole[outcome.seed]
    assert len({value["training_loss"] for value in whole.values()}) == 64


@pytest.mark.parametrize("task", ["article", pytest.param("digits-cnn", marks=pytest.mark.slow)])
def test_a_replica_that_diverges_leaves_the_others_to_the_bit(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 1 is planted with weights that overflow; its neighbours are as they are without it."""
    monkeypatch.setattr(stacked, "lanes", lambda recipe, device: 4)
    given = cohort(task, "batch", seeds=(0, 1, 2, 3), epochs=1, batch_size=128)
    healthy = train(given)
    draw = stacked.draw

    def planted(recipe, seed):
        state = draw(recipe, seed)
        if seed == 1:
            name = next(reversed([name for name in state.weights if name.endswith("weight")]))
            state.weights[name][:] = 1e38
        return state

    monkeypatch.setattr(stacked, "draw", planted)
    sick = train(given)
    assert [outcome.status for outcome in sick] == ["finished", "diverged", "finished", "finished"]
    assert sick[1].stopped_at == 0
    assert len(sick[1].series["training_loss"].values) == 1
    for before, after in zip(healthy, sick, strict=True):
        assert after.seed == 1 or bits(before) == bits(after)


@pytest.mark.usefixtures("two_lanes")
def test_divergence_is_that_of_the_oracle() -> None:
    given = cohort("article", "none", optimizer="sgd", learning_rate=1e3, loss="squared_error", epochs=3)
    ours, oracle = train(given), list(Sequential().train(given, "cpu"))
    assert [outcome.status for outcome in oracle] == ["diverged"] * 2
    for found, expected in zip(ours, oracle, strict=True):
        assert found.status == "diverged"
        assert abs(found.stopped_at - expected.stopped_at) <= 1
        assert np.isfinite(found.series["training_loss"].values[:-1]).all()


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        ("helpers:BRANCHING", "data-dependent control flow"),
        ("helpers:DITHERING", "random operation"),
        ("helpers:FAILING", "norm1.calls changes in training although it is no buffer"),
        ("helpers:OWN_BATCH", "no population statistics"),
    ],
)
def test_what_vmap_cannot_do_is_found_before_training(norm: str, reason: str) -> None:
    given = cohort("article", norm)
    assert reason in (Stacked().supports(given.recipe) or "")
    with pytest.raises(InputError, match="an engine must be able to train every norm"):
        choose(given, "stacked")


NOT_FUSED = "not fused: it trains multilayer perceptrons, which have no layer of the kind unflatten"


def test_it_is_chosen_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(calibrate, "_known", RecipeCache(9))
    steps = {"sequential": 2e-3, "stacked": 1e-4}  # seconds, whatever else this machine does
    monkeypatch.setattr(Trial, "_measure", lambda trial, short: Pace(0.0, steps[trial.engine.name]))
    said: list[str] = []

    def chosen(seeds: int, epochs: int) -> str:
        some = cohort("digits-cnn", "batch", seeds=tuple(range(seeds)), epochs=epochs, **SMALL_CNN)
        choice = choose(some, on_trial=said.append)
        return f"{choice.engine.name}: {choice.reason}"

    assert chosen(1, 1) == f"sequential: the work is short; {NOT_FUSED}"
    assert said == []
    assert chosen(64, 1).startswith("sequential: the work takes it about ")
    assert [sentence.split()[:2] for sentence in said] == [["Timing", "sequential"]]
    assert len(list(tmp_path.rglob("*.json"))) == 1
    assert chosen(64, 500).startswith("stacked: 100 us per step and replica in a short trial on this machine, 2000 for")
    assert [sentence.split()[0] for sentence in said[1:]] == ["Looking", "Timing"]
    assert said[2].split()[1] == "stacked", "the other was timed before"
    assert len(list(tmp_path.rglob("*.json"))) == 2
    monkeypatch.setattr(calibrate, "_known", RecipeCache(9))
    assert "us per step and replica in a short trial" in chosen(64, 400)
    assert [sentence.split()[0] for sentence in said[3:]] == ["Looking"], "times are kept for the next command"


def test_a_trial_is_short_however_small_the_batches_are() -> None:
    for batch_size in (1, 2, 64):
        for engine in (Sequential(), Stacked()):
            recipe = cohort("digits-cnn", "layer2d", epochs=500, batch_size=batch_size).recipe
            trial = Trial(engine, recipe, 2, "cpu")
            assert trial.short.arm.condition.steps <= MOST_STEPS
            assert trial.short.recipe.task.samples == trial.short.arm.condition.task.samples


def test_a_user_without_a_home_folder_can_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "NORMLAB_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nowhere(kind: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(nowhere))
    trial = Trial(Sequential(), cohort("article", "batch").recipe, 1, "cpu")
    assert trial.pace(lambda sentence: None).step > 0


class Clocked(Sequential):
    """Trains nothing, and says how long that took: compiling once, a start for each run, and its steps."""

    def __init__(self, start: float, step: float) -> None:
        self.start, self.step, self.now, self.compiling = start, step, 0.0, 60.0

    def train(self, runs, device, on_steps=lambda steps: None):
        for recipe, _ in runs:
            self.now += self.compiling + self.start + self.step * recipe.arm.condition.steps
            self.compiling = 0.0
        yield from ()


@pytest.mark.parametrize(("start", "step"), [(2.0, 0.1), (0.5, 1e-3), (0.001, 0.01), (0.0, 0.3)])
def test_a_pace_tells_what_happens_once_from_what_happens_at_each_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path, start: float, step: float
) -> None:
    engine = Clocked(start, step)
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(calibrate, "_known", RecipeCache(9))
    monkeypatch.setattr(calibrate, "perf_counter", lambda: engine.now)
    pace = Trial(engine, cohort("article", "batch", epochs=500).recipe, 1, "cpu").pace(lambda sentence: None)
    if start + step * MOST_STEPS < calibrate.ENOUGH_SECONDS:
        assert (pace.start, pace.step) == pytest.approx((start, step), abs=1e-9)
    assert pace.seconds(10_000) == pytest.approx(start + 10_000 * step)


@pytest.mark.usefixtures("two_lanes")
def test_on_a_gpu_it_is_a_candidate() -> None:
    choice = choose(cohort("article", "batch", epochs=1), device="cuda")
    assert choice.engine.name == "sequential", "the work is short"
    assert "not fused: it trains on the CPU only" in choice.reason
    assert choose(cohort("article", "batch", epochs=1), "stacked", device="cuda").engine.name == "stacked"


@pytest.mark.parametrize("norm", ["batch", "group:groups=4", "instance", "instance:affine=true"])
@pytest.mark.parametrize("training", [True, False])
def test_wide_operations_are_torchs(norm: str, training: bool) -> None:
    """Outputs, gradients and running statistics of stacked layers against those of each layer alone."""
    torch.manual_seed(0)
    slot = Slot(8, "NCHW", (4, 4))
    models = [nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), parse(norm).build(slot)).double() for _ in range(3)]
    for model in models:
        model.train(training)
    images = torch.randn(3, 5, 3, 4, 4, dtype=torch.float64)
    parameters, buffers = torch.func.stack_module_state(models)

    def loss(parameters, buffers, x):
        with Wide():
            return torch.func.functional_call(models[0], (parameters, buffers), (x,)).pow(3).sum()

    gradients = torch.func.vmap(torch.func.grad(loss))(parameters, buffers, images)
    for replica, model in enumerate(models):
        model(images[replica]).pow(3).sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][replica], parameter.grad, rtol=1e-9, atol=1e-9)
        for name, buffer in model.named_buffers():
            if "running" in name:
                torch.testing.assert_close(buffers[name][replica], buffer, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("task", ["article", "digits-cnn"])
def test_a_gpu_gives_the_oracles_losses(task: str) -> None:
    given = cohort(task, "batch", epochs=3, dtype="float64")
    for ours, oracle in zip(Stacked().train(given, "cuda"), Sequential().train(given, "cpu"), strict=True):
        np.testing.assert_allclose(
            ours.series["training_loss"].values[:50], oracle.series["training_loss"].values[:50], rtol=1e-9
        )
