"""What a run starts from: weights from streams of their names, data by seed, and tasks that are looked at before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import bits, cohort_of, recipe_of
from normlab.engine.check_task import check_task, check_tasks
from normlab.engine.initial_state import draw
from normlab.engine.initial_weights import draw_by_name
from normlab.engine.model import build_model
from normlab.engine.sequential import Sequential
from normlab.errors import InputError
from normlab.norms.slot import Slot
from normlab.seeding import stream
from normlab.tasks.article import ARTICLE
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import CROSS_ENTROPY, SQUARED_ERROR
from normlab.tasks.spec import Task


class Mixed(nn.Module):
    """Layers with rules of their own, a rule of the model's, constants, and numbers that no rule makes in place."""

    def __init__(self, further: bool = False) -> None:
        super().__init__()
        if further:
            self.further = nn.Linear(5, 5)
        self.linear = nn.Linear(400, 300)
        self.embedding = nn.Embedding(50, 20)
        self.recurrent = nn.LSTM(20, 30)
        self.head = nn.Linear(300, 40)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.square = nn.Parameter(torch.empty(40, 40))
        nn.init.orthogonal_(self.square)
        self.gain = nn.Parameter(torch.ones(7))
        self.scaled = nn.Parameter(0.1 * torch.randn(30_000))
        self.register_buffer("features", torch.randn(200, 200))


def drawn(build: Callable[[], nn.Module] = Mixed, seed: int = 0) -> dict[str, np.ndarray]:
    return dict(draw_by_name(build, lambda name: stream(0, "weights", "mine", seed, name)))


def test_each_value_has_the_distribution_that_the_model_gives_it() -> None:
    weights = drawn()
    assert weights["linear.weight"].std() == pytest.approx(400**-0.5 / 3**0.5, rel=0.01)
    assert np.abs(weights["linear.weight"]).max() <= 400**-0.5
    assert np.abs(weights["recurrent.weight_hh_l0"]).max() <= 30**-0.5
    assert weights["embedding.weight"].std() == pytest.approx(1, rel=0.1)
    assert weights["head.weight"].std() == pytest.approx(0.02, rel=0.03)
    assert not weights["head.bias"].any()
    assert (weights["gain"] == 1).all()
    np.testing.assert_allclose(weights["square"] @ weights["square"].T, np.eye(40), atol=1e-5)
    assert weights["scaled"].std() == pytest.approx(0.1, rel=0.02)
    assert weights["features"].std() == pytest.approx(1, rel=0.02)
    assert set(weights) == {name for name, _ in Mixed().named_parameters()} | {"features"}


def test_values_depend_on_seed_and_name_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = drawn(), drawn(), drawn(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.items():
        assert np.array_equal(value, again[name])
        assert np.array_equal(value, other[name]) == (name in {"head.bias", "gain"})
    assert abs(np.corrcoef(first["linear.weight"][:40].ravel()[:1600], first["square"].ravel())[0, 1]) < 0.1


def test_another_layer_shifts_nobody() -> None:
    before, after = drawn(), drawn(lambda: Mixed(further=True))
    assert {"further.weight", "further.bias"} == set(after) - set(before)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


class Small(nn.Module):
    def __init__(self, make_norm: Callable[[Slot], nn.Module]) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.norm = make_norm(Slot(8, layer="first"))
        self.last = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(x))))


def _data(study_seed: int, seed: int) -> Data:
    numbers = np.random.default_rng(seed)

    def part(count: int) -> Part:
        x = numbers.normal(size=(count, 3))
        return Part(x, x.sum(axis=1) ** 2)

    return Data(part(64), {"test": part(20)})


SMALL = Task("small", "small", data=_data, build=lambda options, make_norm: Small(make_norm), loss=SQUARED_ERROR)


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "helpers:DITHERING"])
def test_no_norm_shifts_the_weights_outside(norm: str) -> None:
    plain, other = (draw(recipe_of(text, SMALL), 3) for text in ("none", norm))
    assert plain.weight_hash == other.weight_hash
    model = build_model(other, "cpu")
    assert torch.equal(model.last.weight, torch.from_numpy(plain.weights["last.weight"]))
    assert not np.array_equal(draw(recipe_of(norm, SMALL), 4).weights["last.weight"], plain.weights["last.weight"])


def test_fresh_data_depend_on_the_seed_and_fixed_ones_do_not() -> None:
    fixed, fresh = recipe_of("none", SMALL), recipe_of("none", replace(SMALL, fixed=False))
    assert np.array_equal(draw(fixed, 1).data.training.inputs, draw(fixed, 2).data.training.inputs)
    assert not np.array_equal(draw(fresh, 1).data.training.inputs, draw(fresh, 2).data.training.inputs)


def test_norms_of_a_pair_have_the_same_data() -> None:
    """Training and held-out samples, byte for byte; those of another seed differ, of fixed data do not."""
    (first, other), (batch, *_) = ([draw(recipe_of(norm), seed) for seed in (1, 2)] for norm in ("layer", "batch"))
    assert first.data.digest == batch.data.digest
    assert dict(first.data.arrays()).keys() == {
        f"{what} of {part}" for what in ("inputs", "targets") for part in ("training", "test")
    }
    for (place, array), (_, same), (_, next_) in zip(
        first.data.arrays(), batch.data.arrays(), other.data.arrays(), strict=True
    ):
        assert array.tobytes() == same.tobytes() != next_.tobytes(), place
    fixed = [draw(recipe_of("layer", fixed_data=True), seed).data.digest for seed in (0, 1, 2)]
    assert len(set(fixed)) == 1
    assert fixed[0] not in {first.data.digest, other.data.digest}


def test_data_that_do_not_differ_between_seeds_must_be_said_to_be_fixed() -> None:
    task = replace(SMALL, data=lambda study_seed, seed: _data(study_seed, 0), fixed=False)
    with pytest.raises(InputError, match="must differ from seed to seed, or be said to be fixed"):
        check_task(recipe_of("none", task))


def test_data_of_another_form_than_those_of_seed_0() -> None:
    def data(study_seed: int, seed: int) -> Data:
        whole = _data(study_seed, seed)
        return Data(whole.training, {"test": whole.held_out["test"].take(slice(20 - (seed == 1)))})

    with pytest.raises(InputError, match=r"inputs of test of small must have the same shape.* \(19, 3\) beside"):
        check_task(recipe_of("none", replace(SMALL, data=data, fixed=False)))


def test_label_noise_replaces_classes_by_others_that_there_are() -> None:
    state = draw(recipe_of("none", "digits", label_noise=0.3, epochs=1), 0)
    noisy, clean = state.targets, state.data.training.targets
    assert noisy.dtype == clean.dtype
    assert 0.25 < (noisy != clean).mean() < 0.35
    assert set(np.unique(noisy)) == set(range(10))
    sequence = replace(ARTICLE, data=lambda a, b: Data(Part(np.zeros((9, 4)), np.zeros((9, 4), int)), {}), classes=3)
    noisy = draw(
        recipe_of("none", replace(sequence, training_samples=9, held_out=()), label_noise=0.5, batch_size=3), 0
    )
    assert noisy.targets.shape == (9, 4)
    assert set(np.unique(noisy.targets)) <= {0, 1, 2}


def _broken(study_seed: int, seed: int) -> Data:
    raise OSError("no such file")


NINE = replace(SMALL, training_samples=9, held_out=())
WEIGHTS = {"first.weight": np.ones((8, 3)), "first.bias": np.ones(8), "last.weight": np.ones((1, 8))}
MISTAKES: dict[str, tuple[Task, str]] = {
    "an error in data": (replace(SMALL, data=_broken, training_samples=64), "OSError: no such file"),
    "another number of samples": (
        replace(SMALL, training_samples=500),
        "the 500 training samples that it says; got 64",
    ),
    "other held-out sets": (
        replace(SMALL, held_out=("test", "validation")),
        r"must hold out \['test', 'validation'\] as it says; got \['test'\]",
    ),
    "a held-out set called like the batch": (replace(SMALL, held_out=("batch",)), "must not be called batch"),
    "a parameter left out": (replace(SMALL, weights=lambda o, s: WEIGHTS), "got none for last.bias"),
    "a parameter too many": (
        replace(SMALL, weights=lambda o, s: {**WEIGHTS, "last.bias": np.ones(1), "more": np.ones(1)}),
        "must be for its model; got 'more'",
    ),
    "another shape": (
        replace(SMALL, weights=lambda o, s: {**WEIGHTS, "last.bias": np.ones(2)}),
        r"must have the shape \(1,\); got \(2,\)",
    ),
    "no arrays": (
        replace(NINE, data=lambda study_seed, seed: Data(Part([[1.0]] * 9, np.ones(9)), {})),
        "inputs of training data of small must be a NumPy array of numbers, samples first; got list",
    ),
    "words": (
        replace(
            SMALL, data=lambda a, b: Data(Part(np.array(["a"] * 9), np.ones(9)), {}), training_samples=9, held_out=()
        ),
        "must be a NumPy array of numbers",
    ),
    "inputs without targets": (
        replace(NINE, data=lambda study_seed, seed: Data(Part(np.ones((8, 3)), np.ones(9)), {})),
        "must be one for each sample, of at least one; got 8 of them and 9 targets",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_task_is_told_before_training(mistake: str) -> None:
    task, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        check_task(recipe_of("none", task, batch_size=4))


def test_classes_that_label_noise_cannot_use() -> None:
    fractions = replace(SMALL, classes=2, loss=CROSS_ENTROPY)
    with pytest.raises(InputError, match="must be whole numbers from 0 to 1; got float64"):
        check_task(recipe_of("none", fractions, label_noise=0.1))


def test_good_tasks_pass() -> None:
    check_tasks([recipe_of("none", task) for task in ("article", "digits", "digits-cnn", SMALL)])


def test_errors_of_a_task_are_outcomes_of_the_runs_that_they_befall() -> None:
    def data(study_seed: int, seed: int) -> Data:
        if seed == 1:
            raise OSError("the disk is gone")
        return _data(study_seed, seed)

    cohort = cohort_of("layer", replace(SMALL, data=data, fixed=False), seeds=(0, 1, 2))
    outcomes = list(Sequential().train(cohort, "cpu"))
    assert [outcome.status for outcome in outcomes] == ["finished", "failed", "finished"]
    assert "small must give its data; got OSError: the disk is gone" in outcomes[1].reason
    assert "OSError: the disk is gone" in outcomes[1].trace
    assert bits(outcomes[0]) != bits(outcomes[2])
