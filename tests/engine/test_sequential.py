"""The sequential engine: the published script's numbers, pairing, the noise split, what can go wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers import bits, cohort_of, recipe_of, threads
from normlab import reading
from normlab.engine.choose import choose
from normlab.engine.initial_state import draw
from normlab.engine.model import build_model, kinds_of
from normlab.engine.optimization import Optimization
from normlab.engine.sequential import Sequential
from normlab.errors import InputError
from normlab.study.outcome import Outcome

LAYERS = {
    "batch": lambda: nn.BatchNorm1d(50),
    "layer": lambda: nn.LayerNorm(50),
    "group:groups=5": lambda: nn.GroupNorm(5, 50),
}


def train(norm: str, seeds: tuple[int, ...] = (0,), **values: object) -> list[Outcome]:
    return list(Sequential().train(cohort_of(norm, seeds=seeds, **values), "cpu"))


@pytest.mark.parametrize("norm", LAYERS)
def test_it_gives_the_losses_of_the_published_script(norm: str) -> None:
    start = draw(recipe_of(norm, epochs=50), 0)
    x = torch.tensor(start.data.training.inputs, dtype=torch.float32)
    y = torch.tensor(start.data.training.targets)

    model = nn.Sequential(nn.Linear(10, 50), LAYERS[norm](), nn.ReLU(), nn.Linear(50, 2))
    with torch.no_grad():
        for layer, name in ((model[0], "linear1"), (model[3], "linear2")):
            layer.weight.copy_(torch.tensor(start.weights[f"{name}.weight"]))
            layer.bias.copy_(torch.tensor(start.weights[f"{name}.bias"]))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    losses = []
    for permutation in start.order[:7]:
        for first in range(0, 1000, 64):
            rows = permutation[first : first + 64]
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    ours = train(norm, epochs=7)[0].series["training_loss"].values
    np.testing.assert_allclose(ours[:100], losses[:100], rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_reaches_weight_matrices_only(optimizer: str) -> None:
    """With gradients of zero (inputs zero, loss flat in them) only what decays can change."""
    start = draw(recipe_of(optimizer=optimizer, weight_decay=0.1, learning_rate=0.05, dtype="float64"), 0)
    model = build_model(start, "cpu")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimization = Optimization(dict(model.named_parameters()), kinds_of(model, start), start.training, 1000)
    optimization.step({name: torch.zeros_like(p) for name, p in model.named_parameters()}, 64)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"linear1.weight", "linear2.weight"}


def test_all_norms_start_from_the_same_weights_and_see_the_same_batches() -> None:
    starts = [draw(recipe_of(norm), 5) for norm in ("none", *LAYERS)]
    assert len({start.batch_hash for start in starts}) == len({start.weight_hash for start in starts}) == 1
    for start in starts[1:]:
        assert all(np.array_equal(start.weights[name], value) for name, value in starts[0].weights.items())
    other = draw(recipe_of("none"), 6)
    assert other.batch_hash != starts[0].batch_hash
    assert other.weight_hash != starts[0].weight_hash
    assert not np.array_equal(other.weights["linear1.weight"], starts[0].weights["linear1.weight"])


def test_batches_hold_every_sample_once_an_epoch_and_keep_the_last_partial_one() -> None:
    batches = list(draw(recipe_of("none", epochs=50), 0).batches())
    assert [len(batch) for batch in batches[:16]] == [64] * 15 + [40]
    for epoch in range(50):
        assert sorted(np.concatenate(batches[16 * epoch : 16 * epoch + 16])) == list(range(1000))
    odd = draw(recipe_of("none", batch_size=333), 0)
    assert [len(batch) for batch in odd.batches()][:4] == [333, 333, 333, 333]


def test_a_norm_that_draws_random_numbers_shifts_no_other_run() -> None:
    before = train("batch", (0, 1))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    noisy = train("helpers:DITHERING", (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    after = train("batch", (0, 1))
    assert all(bits(first) == bits(second) for first, second in zip(before, after, strict=True))
    assert [outcome.batch_hash for outcome in noisy] == [outcome.batch_hash for outcome in before]
    again = train("helpers:DITHERING", (1,))[0]
    assert bits(noisy[1]) == bits(again), "what a norm draws depends on the seed alone"
    assert not np.array_equal(noisy[0].series["training_loss"].values, again.series["training_loss"].values)


def test_a_result_does_not_depend_on_the_other_runs_or_on_threads() -> None:
    together = train("batch", (0, 1, 2))
    with threads(2):
        alone = train("batch", (2,))[0]
        assert torch.get_num_threads() == 2
    assert bits(together[2]) == bits(alone)


@pytest.mark.parametrize("norm", ["none", *LAYERS])
def test_the_sources_add_up_and_are_what_they_are_called(norm: str) -> None:
    outcome = train(norm, epochs=3, dtype="float64")[0]
    series = {name: outcome.series[name] for name in outcome.series}
    steps = series["noise_training"].steps
    assert np.array_equal(series["noise_training"].values, series["training_loss"].values[steps])
    gap = series["noise_training"].values - series["noise_population"].values
    if norm == "batch":
        assert np.abs(gap).min() > 1e-6
    else:
        np.testing.assert_allclose(gap, 0, atol=1e-12)
    full = train(norm, epochs=3, batch_size=1000, dtype="float64", tail=1.0)[0].series
    np.testing.assert_allclose(full["noise_population"].values, full["noise_canonical"].values, rtol=1e-10)
    np.testing.assert_allclose(full["noise_training"].values, full["noise_canonical"].values, rtol=1e-10)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_dropout_is_a_source_of_its_own(norm: str) -> None:
    """Where the batch is the whole training set, dropout is all that sets its loss apart; else so it is for LN."""
    full = {"epochs": 3, "batch_size": 1000, "dtype": "float64", "tail": 1.0}
    series = train(norm, dropout=0.3, **full)[0].series
    whole, training = series["noise_without_dropout"].values, series["noise_training"].values
    np.testing.assert_allclose(whole, series["noise_canonical"].values, rtol=1e-10)
    assert np.abs(training - whole).min() > 1e-4
    part = train(norm, dropout=0.3, epochs=3, dtype="float64")[0].series
    gap = np.abs(part["noise_without_dropout"].values - part["noise_population"].values)
    assert gap.min() > 1e-6 if norm == "batch" else gap.max() < 1e-12
    assert "noise_without_dropout" not in train(norm, **full)[0].series


@pytest.mark.parametrize("norm", ["batch", "helpers:DITHERING"])
def test_what_dropout_adds_is_measured_without_changing_the_run(norm: str) -> None:
    """Neither running statistics nor the random numbers of a norm move."""
    looked, unseen = (
        train(norm, dropout=0.3, epochs=3, probes=probes)[0]
        for probes in (("training_loss", "canonical_loss", "held_out", "noise"), ("training_loss", "canonical_loss"))
    )
    assert "noise_without_dropout" in looked.series
    assert {name: bits(looked)[name] for name in unseen.series} == bits(unseen)


def test_canonical_loss_is_measured_at_the_start_and_after_every_epoch() -> None:
    outcome = train("batch", epochs=3)[0]
    assert outcome.series["canonical_loss"].steps.tolist() == [0, 16, 32, 48]
    assert outcome.series["test_accuracy"].steps.tolist() == [0, 16, 32, 48]
    assert len(outcome.series["training_loss"].values) == len(outcome.series["gradient_norm"].values) == 48
    assert outcome.series["running_loss"].values[0] > 0
    assert outcome.parameters == 10 * 50 + 50 + 100 + 100 + 2
    assert 0 < outcome.seconds_per_step < 1


def test_divergence_is_data() -> None:
    outcome = train("helpers:GROWING", learning_rate=1e3)[0]
    assert outcome.status == "diverged"
    assert outcome.stopped_at == len(outcome.series["training_loss"].values) - 1
    assert not np.isfinite(outcome.series["training_loss"].values[-1])
    assert np.isfinite(outcome.series["training_loss"].values[:-1]).all()


def test_an_error_in_a_norm_is_data_too() -> None:
    outcomes = train("helpers:FAILING", (0, 1))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "the third call was too much" in outcomes[0].reason
    assert outcomes[0].stopped_at == 3
    assert outcomes[0].trace.splitlines()[-1] == "RuntimeError: the third call was too much"
    assert "helpers.py" in outcomes[0].trace


def test_a_norm_without_population_statistics_is_refused_before_training() -> None:
    cohort = cohort_of("helpers:OWN_BATCH")
    with pytest.raises(InputError, match="no population statistics"):
        choose(cohort)


def test_the_choice_says_why() -> None:
    cohort = cohort_of("batch")
    assert choose(cohort, "sequential").reason == "asked for"
    with pytest.raises(InputError, match="Did you mean 'sequential'"):
        choose(cohort, "sequentiel")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:x", "tpu:0", ""])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(InputError, match="`device` must be one that this machine has"):
        reading.device(device)


def test_norms_that_learn_nothing_cannot_be_all_that_is_trained() -> None:
    assert "leaves nothing to train" in str(Sequential().supports(recipe_of("none", trainable="norms")))
    assert Sequential().supports(recipe_of("layer", trainable="norms")) is None


def test_a_norm_that_cannot_be_built_fails_with_its_trace() -> None:
    cohort = cohort_of("helpers:UNBUILDABLE")
    assert Sequential().supports(cohort.recipe) is None
    (outcome,) = Sequential().train(cohort, "cpu")
    assert (outcome.status, outcome.reason) == ("failed", "ZeroDivisionError: division by zero")
    assert outcome.trace.endswith("ZeroDivisionError: division by zero")
    assert outcome.weight_hash == draw(recipe_of("none"), 0).weight_hash
