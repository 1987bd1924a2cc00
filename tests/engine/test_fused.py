"""Engine fused against plain PyTorch: gradients, steps, everything measured; and what a result must not depend on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, product

import numpy as np
import pytest
import torch

from helpers import bits, cohort_of, recipe_of
from normlab.engine.choose import choose
from normlab.engine.fused import Program, group_size, make_program, shortened, train_group, unpack
from normlab.engine.fused.engine import Fused
from normlab.engine.fused.kinds import NORMS
from normlab.engine.fused.perceptron import Perceptron, read
from normlab.engine.initial_state import InitialState, draw, load_data
from normlab.engine.model import build_model
from normlab.engine.sequential import Sequential, set_masks
from normlab.recipe import Cohort
from normlab.study.outcome import Outcome

TEXTS = {"group": "group:groups=5", "ghost": "ghost:size=16"}
EVERY_NORM = [TEXTS.get(name, name) for name in NORMS]
SMALL = {
    "hidden": (20, 30),  # groups of four and more: torch's gradient of smaller ones loses digits
    "epochs": 2,
    "dtype": "float64",
    "batch_size": 37,
}
OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9, "nesterov": True},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
}
VARIANTS = {
    "tanh": {"activation": "tanh"},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "after": {"placement": "after"},
    "after tanh": {"placement": "after", "activation": "tanh"},
    "squared error": {"loss": "squared_error"},
    "dropout": {"dropout": 0.3},
    "label noise": {"label_noise": 0.2},
    "one layer": {"hidden": (20,)},
    "four layers": {"hidden": (15, 20, 15, 30)},
}


def pairs(optimizers: Iterable[str]) -> list[tuple[str, str]]:
    """Every norm with an optimizer, in turn: what an optimizer does with gradients does not depend on the norm."""
    return list(zip(EVERY_NORM, cycle(optimizers)))


def small(norm: str, seeds: tuple[int, ...] = (0, 1, 2), **values: object) -> Cohort:
    return cohort_of(norm, seeds=seeds, **{**SMALL, **values})


def program_of(cohort: Cohort) -> Program:
    network = read(cohort.recipe)
    assert isinstance(network, Perceptron)
    return make_program(cohort.recipe, network, load_data(cohort.recipe))


def fused(cohort: Cohort) -> list[Outcome]:
    return list(Fused().train(cohort, "cpu"))


def both(cohort: Cohort) -> list[tuple[Outcome, Outcome]]:
    return list(zip(fused(cohort), Sequential().train(cohort, "cpu"), strict=True))


def assert_close(ours: Outcome, oracle: Outcome, rtol: float) -> None:
    """Everything that is measured, at the same steps; sizes near zero are compared with the size of the loss."""
    assert set(ours.series) == set(oracle.series)
    for name, expected in oracle.series.items():
        found = ours.series[name]
        assert np.array_equal(found.steps, expected.steps), name
        np.testing.assert_allclose(found.values, expected.values, rtol=rtol, atol=rtol * 0.1, err_msg=name)
    assert (ours.status, ours.parameters) == (oracle.status, oracle.parameters)
    assert (ours.batch_hash, ours.weight_hash) == (oracle.batch_hash, oracle.weight_hash)


@pytest.mark.parametrize("variant", ["plain", *VARIANTS])
@pytest.mark.parametrize("norm", EVERY_NORM)
def test_gradients_are_those_of_autograd(norm: str, variant: str) -> None:
    cohort = small(norm, **VARIANTS.get(variant, {}))
    starts = [draw(cohort.recipe, seed) for seed in cohort.seeds]
    program = shortened(program_of(cohort), 1)
    _, memory = train_group(program, starts)
    for lane, start in enumerate(starts):
        found = unpack(program, memory, program.layout.grad, lane)
        expected = _autograd(start)
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient.reshape(found[name].shape), rtol=1e-9, atol=1e-12)


def _autograd(state: InitialState) -> dict[str, np.ndarray]:
    model = build_model(state, "cpu")
    rows = state.batch_of(0)
    set_masks(model, state, 0, len(rows), "cpu")
    outputs = model(torch.from_numpy(state.data.training.inputs[rows]))
    loss = state.recipe.task.loss_of(state.recipe.options)
    loss.compute(outputs, torch.from_numpy(state.targets[rows])).backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("norm", "optimizer"), list(dict.fromkeys([*pairs(OPTIMIZERS), *product(["batch"], OPTIMIZERS)]))
)
def test_in_double_precision_it_is_the_oracle(norm: str, optimizer: str) -> None:
    """Over 54 steps, with everything that is measured."""
    for ours, oracle in both(small(norm, (0, 4), **OPTIMIZERS[optimizer])):
        assert len(ours.series["training_loss"].values) == 54
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.parametrize(("norm", "optimizer"), pairs(reversed(OPTIMIZERS)))
def test_in_single_precision_it_stays_close_to_the_oracle(norm: str, optimizer: str) -> None:
    """Over 20 steps of the published model."""
    for ours, oracle in both(cohort_of(norm, seeds=(0, 4), batch_size=100, **OPTIMIZERS[optimizer])):
        for name in ("training_loss", "canonical_loss", "test_loss"):
            found, expected = ours.series[name].values, oracle.series[name].values
            np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", ["batch", "group:groups=5", "dyt"])
def test_every_setting_is_the_oracles(norm: str, variant: str) -> None:
    for ours, oracle in both(small(norm, (3,), **VARIANTS[variant])):
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.parametrize("text", ["batch:affine=false", "layer:affine=false,eps=0.01", "batch:momentum=0.4,eps=0.1"])
def test_options_of_norms_are_the_oracles(text: str) -> None:
    for ours, oracle in both(small(text, (1,))):
        assert_close(ours, oracle, rtol=1e-9)


def test_digits_with_validation_and_ten_classes() -> None:
    for ours, oracle in both(cohort_of("batch", "digits", hidden=(20, 20), epochs=1, dtype="float64")):
        assert {"validation_loss", "test_accuracy", "validation_accuracy_running"} <= set(ours.series)
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.slow
def test_final_losses_over_64_seeds_are_distributed_as_the_oracles() -> None:
    """By then single precision has sent each pair its own way; their distributions must be the same."""
    from scipy.stats import ks_2samp, wilcoxon

    pairs = both(cohort_of("batch", seeds=tuple(range(64)), epochs=25, learning_rate=0.01))
    ours, oracle = (np.log([pair[i].series["canonical_loss"].values[-1] for pair in pairs]) for i in range(2))
    assert ks_2samp(ours, oracle).pvalue > 0.05
    assert wilcoxon(ours, oracle).pvalue > 0.01
    assert abs(ours.mean() - oracle.mean()) < 0.1 * oracle.std()
    assert 0.9 < ours.std() / oracle.std() < 1.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_result_does_not_depend_on_its_cohort_or_on_threads(norm: str, dtype: str) -> None:
    whole = fused(cohort_of(norm, seeds=tuple(range(64)), dtype=dtype))
    for size in (1, 7):
        parts = list(cohort_of(norm, dtype=dtype, seeds=(5, 9, 13, 21, 40, 41, 63)).parts(size))
        with ThreadPoolExecutor(2) as pool:
            alone = [outcome for part in pool.map(fused, reversed(parts)) for outcome in part]
        for outcome in alone:
            assert bits(outcome) == bits(whole[outcome.seed])


def test_a_diverging_replica_leaves_the_others_as_they_are() -> None:
    cohort = cohort_of("none", seeds=tuple(range(group_size("float32"))))
    starts = [draw(cohort.recipe, seed) for seed in cohort.seeds]
    program = program_of(cohort)
    calm, _ = train_group(program, starts)
    sick = replace(starts[3], weights={name: value * 1e30 for name, value in starts[3].weights.items()})
    mixed, _ = train_group(program, [*starts[:3], sick, *starts[4:]])
    assert mixed[3].stopped_at == 0
    for lane, (before, after) in enumerate(zip(calm, mixed, strict=True)):
        for name in before.series if lane != 3 else ():
            assert before.series[name].values.tobytes() == after.series[name].values.tobytes()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_divergence_is_told_as_the_oracle_tells_it(norm: str) -> None:
    """Plain SGD at a rate far too large; without a norm, every replica loses all measure."""
    far = {"optimizer": "sgd", "learning_rate": 1e6, "loss": "squared_error", "activation": "tanh"}
    pairs = both(cohort_of(norm, seeds=tuple(range(6)), epochs=5, dtype="float64", **far))
    for ours, oracle in pairs:
        assert (ours.status, ours.stopped_at) == (oracle.status, oracle.stopped_at)
        assert {name: len(found.values) for name, found in ours.series.items()} == {
            name: len(found.values) for name, found in oracle.series.items()
        }
        assert ours.reason.split(" became ")[0] == oracle.reason.split(" became ")[0]
    if norm == "none":
        assert {ours.status for ours, _ in pairs} == {"diverged"}


def test_it_takes_perceptrons_with_norms_that_it_knows_and_no_gpu() -> None:
    assert Fused().supports(recipe_of("batch")) is None
    assert "no helpers:DITHERING" in str(Fused().supports(recipe_of("helpers:DITHERING")))
    assert choose(cohort_of("batch")).engine.name == "fused"
    assert choose(cohort_of("helpers:DITHERING")).engine.name == "sequential"


@pytest.mark.parametrize(
    "probes", [("training_loss",), ("canonical_loss", "gradient_norm"), ("held_out",), ("training_loss", "noise")]
)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_it_measures_what_the_study_chooses(norm: str, probes: tuple[str, ...]) -> None:
    for ours, oracle in both(small(norm, (1,), probes=probes)):
        assert_close(ours, oracle, rtol=1e-9)


def test_it_loads_no_torch() -> None:
    """A worker that only trains perceptrons need not pay for it."""
    code = (
        "import sys\n"
        "from normlab.engine.fused.engine import Fused\n"
        "from normlab.plan import resolve\nfrom normlab.recipe import Cohort\n"
        "from normlab.study.study import Study\n"
        "from normlab.engine.check_task import check_tasks\n"
        "study = Study(name='small', norms=['batch'], tasks=['article'], training={'epochs': 1})\n"
        "(recipe,) = resolve(study).recipes\n"
        "check_tasks([recipe])\n"
        "outcomes = list(Fused().train(Cohort(recipe, (0,)), 'cpu'))\n"
        "assert outcomes[0].status == 'finished' and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_compiled_before_it_is_needed() -> None:
    code = (
        "import sys\n"
        "from normlab.engine.choose import ENGINES\n"
        "assert not {'numba', 'llvmlite', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
