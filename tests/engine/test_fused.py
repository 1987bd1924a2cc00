"""Engine fused against plain PyTorch: gradients, steps, everything measured; and what a result must not depend on."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from normlab.engine.choose import choose
from normlab.engine.fused.engine import Fused
from normlab.engine.fused.group import NORMS, Program, group_size, make_program, shortened, train_group, unpack
from normlab.engine.objective import objective
from normlab.engine.sequential import Sequential, _drop, build_model
from normlab.engine.start import Start, prepare
from normlab.norms.catalog import parse
from normlab.records import Cohort, Measure, Outcome, Run, Setting
from normlab.tasks.catalog import find_task
from normlab.tasks.mlp import PerceptronTask

TEXTS = {"group": "group:groups=5", "ghost": "ghost:size=16"}
EVERY_NORM = [TEXTS.get(name, name) for name in NORMS]
MEASURE = Measure(noise_steps=3)
SMALL = Setting(
    hidden=(20, 30),  # groups of four and more: torch's gradient of smaller ones loses digits
    epochs=2,
    dtype="float64",
    batch_size=37,
)
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


def cohort_of(norm: str, setting: Setting, seeds: tuple[int, ...] = (0, 1, 2), task: str = "article") -> Cohort:
    return Cohort(0, task, setting, MEASURE, norm, seeds)


def changed(**values: object) -> Setting:
    return SMALL.model_copy(update=values)


def program_of(cohort: Cohort) -> Program:
    task = find_task(cohort.task)
    assert isinstance(task, PerceptronTask)
    return make_program(
        parse(cohort.norm), task.widths(cohort.setting), cohort.setting, cohort.measure, task.data(cohort.study_seed)
    )


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
    assert (ours.status, ours.parameters, ours.batch_hash) == (oracle.status, oracle.parameters, oracle.batch_hash)


def bits(outcome: Outcome) -> dict[str, bytes]:
    return {name: found.steps.tobytes() + found.values.tobytes() for name, found in outcome.series.items()}


@pytest.mark.parametrize("variant", ["plain", *VARIANTS])
@pytest.mark.parametrize("norm", EVERY_NORM)
def test_gradients_are_those_of_autograd(norm: str, variant: str) -> None:
    setting = changed(**VARIANTS.get(variant, {}))
    cohort = cohort_of(norm, setting)
    starts = [prepare(run) for run in cohort.runs()]
    program = shortened(program_of(cohort), 1)
    frozen = replace(program, course=program.course._replace(rate=0.0, optimizer=0))
    _, memory = train_group(frozen, starts)
    for lane, start in enumerate(starts):
        found = unpack(frozen, memory, frozen.layout.grad, lane)
        expected = _autograd(start, setting)
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient.reshape(found[name].shape), rtol=1e-9, atol=1e-12)


def _autograd(start: Start, setting: Setting) -> dict[str, np.ndarray]:
    model = build_model(start, setting, "cpu")
    rows = next(start.batches(setting))
    _drop(model, start, setting, 0, len(rows), "cpu")
    outputs = model(torch.from_numpy(start.data.training.inputs[rows]))
    objective(setting.loss, outputs, torch.from_numpy(start.classes[rows])).backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", EVERY_NORM)
def test_in_double_precision_it_is_the_oracle(norm: str, optimizer: str) -> None:
    """Over 54 steps, with everything that is measured."""
    for ours, oracle in both(cohort_of(norm, changed(**OPTIMIZERS[optimizer]), (0, 4))):
        assert len(ours.series["training_loss"].values) == 54
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", EVERY_NORM)
def test_in_single_precision_it_stays_close_to_the_oracle(norm: str, optimizer: str) -> None:
    """Over 20 steps of the published model."""
    setting = Setting(hidden=(50,), epochs=2, batch_size=100, **OPTIMIZERS[optimizer])
    for ours, oracle in both(cohort_of(norm, setting, (0, 4))):
        for name in ("training_loss", "canonical_loss", "test_loss"):
            found, expected = ours.series[name].values, oracle.series[name].values
            np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", ["batch", "group:groups=5", "dyt"])
def test_every_setting_is_the_oracles(norm: str, variant: str) -> None:
    for ours, oracle in both(cohort_of(norm, changed(**VARIANTS[variant]), (3,))):
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.parametrize("text", ["batch:affine=false", "layer:affine=false,eps=0.01", "batch:momentum=0.4,eps=0.1"])
def test_options_of_norms_are_the_oracles(text: str) -> None:
    for ours, oracle in both(cohort_of(text, SMALL, (1,))):
        assert_close(ours, oracle, rtol=1e-9)


def test_digits_with_validation_and_ten_classes() -> None:
    setting = Setting(hidden=(20, 20), epochs=1, dtype="float64")
    for ours, oracle in both(cohort_of("batch", setting, (0,), task="digits")):
        assert {"validation_loss", "test_accuracy", "validation_accuracy_running"} <= set(ours.series)
        assert_close(ours, oracle, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "layer", "group:groups=5"])
def test_final_losses_over_64_seeds_are_distributed_as_the_oracles(norm: str) -> None:
    """By then single precision has sent each pair its own way; their distributions must be the same."""
    from scipy.stats import ks_2samp, wilcoxon

    setting = Setting(hidden=(50,), epochs=25, learning_rate=0.01)
    pairs = both(cohort_of(norm, setting, tuple(range(64))))
    ours, oracle = (np.log([pair[i].series["canonical_loss"].values[-1] for pair in pairs]) for i in range(2))
    assert ks_2samp(ours, oracle).pvalue > 0.05
    assert wilcoxon(ours, oracle).pvalue > 0.01
    assert abs(ours.mean() - oracle.mean()) < 0.1 * oracle.std()
    assert 0.9 < ours.std() / oracle.std() < 1.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_result_does_not_depend_on_its_cohort_or_on_threads(norm: str, dtype: str) -> None:
    setting = Setting(hidden=(50,), epochs=2, dtype=dtype)
    whole = fused(cohort_of(norm, setting, tuple(range(64))))
    for size in (1, 7):
        parts = list(cohort_of(norm, setting, (5, 9, 13, 21, 40, 41, 63)).parts(size))
        with ThreadPoolExecutor(2) as pool:
            alone = [outcome for part in pool.map(fused, reversed(parts)) for outcome in part]
        for outcome in alone:
            assert bits(outcome) == bits(whole[outcome.run.seed])


def test_a_diverging_replica_leaves_the_others_as_they_are() -> None:
    setting = Setting(hidden=(50,), epochs=2)
    cohort = cohort_of("none", setting, tuple(range(group_size("float32"))))
    starts = [prepare(run) for run in cohort.runs()]
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
    setting = Setting(
        hidden=(50,), epochs=5, optimizer="sgd", learning_rate=1e6, dtype="float64", loss="squared_error",
        activation="tanh",
    )  # fmt: skip
    pairs = both(cohort_of(norm, setting, tuple(range(6))))
    for ours, oracle in pairs:
        assert (ours.status, ours.stopped_at) == (oracle.status, oracle.stopped_at)
        assert {name: len(found.values) for name, found in ours.series.items()} == {
            name: len(found.values) for name, found in oracle.series.items()
        }
        assert ours.reason.split(" became ")[0] == oracle.reason.split(" became ")[0]
    if norm == "none":
        assert {ours.status for ours, _ in pairs} == {"diverged"}


def test_it_takes_perceptrons_with_norms_that_it_knows_and_no_gpu() -> None:
    assert Fused().supports(cohort_of("batch", SMALL)) is None
    assert "no helpers:DITHERING" in str(Fused().supports(cohort_of("helpers:DITHERING", SMALL)))
    assert choose(cohort_of("batch", SMALL)).engine.name == "fused"
    assert choose(cohort_of("helpers:DITHERING", SMALL)).engine.name == "sequential"


def test_it_loads_no_torch() -> None:
    """A worker that only trains perceptrons need not pay for it."""
    import subprocess

    code = (
        "import sys\n"
        "from normlab.engine.fused.engine import Fused\n"
        "from normlab.records import Cohort, Measure, Setting\n"
        "cohort = Cohort(0, 'article', Setting(hidden=(50,), epochs=1), Measure(), 'batch', (0,))\n"
        "outcomes = list(Fused().train(cohort, 'cpu'))\n"
        "assert outcomes[0].status == 'finished' and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_of_one_seed_share_what_they_start_from() -> None:
    """Also across engines: weights, batches and data are drawn on the host."""
    run = Run(0, "article", SMALL, MEASURE, "batch", 7)
    ours, oracle = both(cohort_of("batch", SMALL, (7,)))[0]
    assert ours.batch_hash == oracle.batch_hash == prepare(run).batch_hash
    assert ours.series["canonical_loss"].values[0] == pytest.approx(
        oracle.series["canonical_loss"].values[0], rel=1e-12
    )
