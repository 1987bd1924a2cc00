"""Probes in training: they leave it as it is, on any task, at the moments that the study says."""

from __future__ import annotations

import pytest

from helpers import bits, cohort_of
from normlab.engine.choose import choose
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.engine.stacked import engine as stacked
from normlab.engine.stacked.engine import Stacked
from normlab.errors import InputError
from normlab.probes.catalog import PROBES, find_quantity
from normlab.probes.measure import USUAL

CLOSE = tuple(f"{probe.name}:every=1" for probe in PROBES if probe.name not in USUAL)
SEEN = ("training_loss", "gradient_norm", "canonical_loss", "held_out")


@pytest.mark.parametrize(
    ("engine", "norm", "values"),
    [
        (Sequential(), "batch", {"dropout": 0.3, "clip_norm": 0.5, "momentum": 0.9, "optimizer": "sgd"}),
        (Sequential(), "helpers:DITHERING", {"schedule": "cosine"}),
        (Sequential(), "spectral", {"trainable": "all-but-norms"}),
        (Sequential(), "batch-renorm", {"accumulation": 3}),
        (Stacked(), "batch", {"dropout": 0.3}),
    ],
)
def test_probes_leave_the_training_as_it_is(
    engine: Engine, norm: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked, "lanes", lambda recipe, device: 2)
    usual = {"batch_size": 250, "epochs": 3, **values}
    (bare,) = engine.train(cohort_of(norm, probes=(*SEEN, "weights"), **usual), "cpu")
    (probed,) = engine.train(cohort_of(norm, probes=(*SEEN, *CLOSE), **usual), "cpu")
    assert bare.status == probed.status == "finished", probed.trace
    for name, expected in bits(bare).items():
        assert bits(probed)[name] == expected, name
    measured = set(probed.series) - set(bare.series)
    assert {"loss_range", "hessian_top", "gradient_noise_scale", "dead_units", "entropy_rank"} <= measured
    assert {"test_nll", "test_ece", "test_accuracy_fgsm", "test_loss_noise", "gradient_growth"} <= measured
    assert all(find_quantity(name) for name in measured)


@pytest.mark.parametrize(
    ("norm", "task", "lacking"),
    [
        ("batch", "digits-cnn", set()),
        ("layer", "reversal", {"dead_units", "test_loss_noise"}),
        ("layer", "diabetes", {"running_distance", "test_nll"}),
        ("layer", "adding", {"dead_units", "test_nll"}),
    ],
)
def test_probes_on_tasks_of_other_kinds(norm: str, task: str, lacking: set[str]) -> None:
    once = tuple(f"{probe.partition(':')[0]}:at=0" for probe in CLOSE)
    how = {"epochs": 1, "samples": 64, "batch_size": 32}
    (outcome,) = Sequential().train(cohort_of(norm, task, probes=("training_loss", *once), **how), "cpu")
    assert outcome.status == "finished", outcome.trace
    assert {"loss_range", "hessian_top", "weight_norm", "entropy_rank"} <= set(outcome.series)
    assert not lacking & set(outcome.series)
    assert outcome.series["hessian_top"].steps.tolist() == [0]


def test_the_choice_says_what_fused_cannot_measure() -> None:
    choice = choose(cohort_of("batch", probes=("training_loss", "landscape")))
    assert choice.engine.name != "fused"
    assert "not fused: it does not measure landscape" in choice.reason


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        (("landscape:every=0",), "every must be a whole number of at least 1"),
        (("landscape:at=0.5,2",), "at must hold shares from 0 to 1; got '2'"),
        (("landscape:often=1",), "a probe must be given every or at, one of the two"),
        (("landscape:every=2,at=1",), "a probe must be given every or at, one of the two"),
        (("landscape:soon",), "an option must be key=value"),
        (("canonical_loss:every=2",), "only a probe that is not measured in every run may be given its moments"),
        (("helpers:WEIGHTS:every=2",), "only a probe that is not measured in every run may be given its moments"),
        (("landscape", "landscape:every=2"), "probes must differ; got 'landscape' twice"),
        (("landscap",), "did you mean 'landscape'"),
    ],
)
def test_moments_that_cannot_be_are_refused_before_training(probes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        cohort_of("batch", probes=probes)
    assert message.lower() in str(error.value).lower()
