"""Problems of every shape: masks, sequences of tokens, several inputs, real targets, scores of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import bits, cohort_of, recipe_of
from normlab.engine.choose import choose
from normlab.engine.fused.engine import Fused
from normlab.engine.model import tensor_of
from normlab.engine.sequential import Sequential
from normlab.engine.stacked import engine as stacked
from normlab.engine.stacked.engine import Stacked
from normlab.norms.slot import Slot
from normlab.tasks import samples
from normlab.tasks.article import ARTICLE
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY, R2, SQUARED_ERROR, Loss, Score
from normlab.tasks.spec import Dropout, Task
from normlab.tasks.structure import Chain, Layer, build_chain

MakeNorm = Callable[[Slot], nn.Module]


class Masks(nn.Module):
    """For each image a mask of its size."""

    def __init__(self, make_norm: MakeNorm) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = make_norm(Slot(4, "NCHW", (5, 5), layer="first"))
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


class Tokens(nn.Module):
    """For each token of a sequence a class."""

    def __init__(self, make_norm: MakeNorm) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.norm = make_norm(Slot(6, "NLC", (5,)))
        self.last = nn.Linear(6, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.norm(self.embedding(tokens)))


class Pairs(nn.Module):
    """Numbers and a kind, by the names of the arguments of forward."""

    def __init__(self, make_norm: MakeNorm) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 4)
        self.first = nn.Linear(3, 4)
        self.norm = make_norm(Slot(4, layer="first"))
        self.last = nn.Linear(4, 2)

    def forward(self, numbers: Tensor, kind: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(numbers)) + self.embedding(kind)))


def _parts(make: Callable[[np.random.Generator, int], Part]) -> Callable[[int, int], Data]:
    numbers = np.random.default_rng(1)
    data = Data(make(numbers, 48), {"test": make(numbers, 20)})
    return lambda study_seed, seed: data


def _masks(numbers: np.random.Generator, count: int) -> Part:
    images = numbers.normal(size=(count, 1, 5, 5))
    return Part(images, (images > 0).astype(np.float64))


def _tokens(numbers: np.random.Generator, count: int) -> Part:
    tokens = numbers.integers(7, size=(count, 5))
    return Part(tokens, (tokens + 1) % 7)


def _pairs(numbers: np.random.Generator, count: int) -> Part:
    inputs = {"numbers": numbers.normal(size=(count, 3)), "kind": numbers.integers(3, size=count)}
    return Part(inputs, np.stack([inputs["numbers"].sum(axis=1), inputs["kind"] - 1.0], axis=1))


def _logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets)


def _overlap(outputs: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union, with control flow that vmap has no rule for."""
    chosen = outputs > 0
    union = (chosen | (targets > 0.5)).sum()
    if union.item() == 0:
        return torch.zeros(())
    return (chosen & (targets > 0.5)).sum() / union


MASKS = Task(
    name="masks",
    title="masks",
    data=_parts(_masks),
    build=lambda options, make_norm: Masks(make_norm),
    loss=Loss("logistic", _logistic),
    scores=(Score("overlap", "overlap", _overlap),),
)
TOKENS = Task(
    name="tokens",
    title="tokens",
    data=_parts(_tokens),
    build=lambda options, make_norm: Tokens(make_norm),
    loss=CROSS_ENTROPY,
    scores=(ACCURACY,),
    classes=7,
)
PAIRS = Task(
    name="pairs",
    title="pairs",
    data=_parts(_pairs),
    build=lambda options, make_norm: Pairs(make_norm),
    loss=SQUARED_ERROR,
    scores=(R2,),
)
CASES = [(MASKS, "batch"), (MASKS, "group:groups=2"), (TOKENS, "layer"), (TOKENS, "none")]


@pytest.mark.parametrize(("task", "norm"), CASES, ids=lambda value: getattr(value, "name", value))
def test_stacked_does_what_sequential_does(task: Task, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked, "lanes", lambda recipe, device: 2)
    cohort = cohort_of(norm, task, seeds=(0, 1), dtype="float64", batch_size=16)
    assert Stacked().supports(cohort.recipe) is None
    for ours, oracle in zip(Stacked().train(cohort, "cpu"), Sequential().train(cohort, "cpu"), strict=True):
        assert ours.status == oracle.status == "finished", ours.trace + oracle.trace
        assert list(ours.series) == list(oracle.series)
        for name, expected in oracle.series.items():
            np.testing.assert_allclose(ours.series[name].values, expected.values, rtol=1e-8, atol=1e-9, err_msg=name)


def test_masks_are_scored_by_the_tasks_own_score() -> None:
    (outcome,) = Sequential().train(cohort_of("none", MASKS, epochs=30, batch_size=8, learning_rate=0.02), "cpu")
    overlap = outcome.series["test_overlap"].values
    assert overlap[-1] > 0.9 > overlap[0]


def test_inputs_by_name_and_real_targets() -> None:
    cohort = cohort_of("batch", PAIRS, epochs=200, batch_size=8, learning_rate=0.01)
    (outcome,) = Sequential().train(cohort, "cpu")
    assert outcome.series["test_r2"].values[-1] > 0.8
    assert "single array" in str(Stacked().supports(cohort.recipe))
    assert choose(cohort).engine.name == "sequential"


def test_tokens_stay_whole_numbers_and_are_learned() -> None:
    (outcome,) = Sequential().train(cohort_of("layer", TOKENS, epochs=40, batch_size=8, learning_rate=0.03), "cpu")
    assert outcome.status == "finished", outcome.trace
    assert outcome.series["test_accuracy"].values[-1] == 1


@pytest.mark.parametrize("limits", [{"WHOLE": 10, "BLOCK": 9}, {"WHOLE_BYTES": 2000}], ids=["samples", "bytes"])
@pytest.mark.parametrize("norm", ["batch", "layer2d"])
def test_large_data_are_evaluated_in_blocks(norm: str, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = cohort_of(norm, MASKS, dtype="float64", batch_size=16)
    (whole,) = Sequential().train(cohort, "cpu")
    for name, limit in limits.items():
        monkeypatch.setattr(samples, name, limit)
    assert 0 < samples.block_size(tensor_of(MASKS.data(0, 0).training.inputs, cohort.recipe.training, "cpu")) < 20
    (blocks,) = Sequential().train(cohort, "cpu")
    assert blocks.status == "finished", blocks.trace
    assert bits(blocks)["training_loss"] == bits(whole)["training_loss"], "measuring leaves the training as it is"
    for name, expected in whole.series.items():
        np.testing.assert_allclose(blocks.series[name].values, expected.values, rtol=1e-12, err_msg=name)


def test_a_run_that_diverges_is_evaluated_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    far = cohort_of("batch", MASKS, optimizer="sgd", learning_rate=1e38, batch_size=16)
    monkeypatch.setattr(samples, "WHOLE", 10)
    (outcome,) = Sequential().train(far, "cpu")
    assert outcome.status == "diverged", outcome.trace


def _chain(order: str, names: str = "mine") -> Chain:
    """A perceptron written by another: its own names, blocks in a given order of letters."""
    layers: list[Layer] = []
    for number, (inputs, outputs) in enumerate(((10, 12), (12, 8))):
        layers.append(Layer("linear", f"{names}{number}", (inputs, outputs)))
        kinds = {
            "n": Layer("norm", f"scale{number}", slot=Slot(outputs, layer=f"{names}{number}")),
            "a": Layer("activation", f"bend{number}", function="gelu"),
            "d": Layer("dropout", f"drop{number}", (outputs,)),
        }
        for place, letter in enumerate(order):  # a second layer of a kind has a name of its own
            again = "again" * order[:place].count(letter)
            layers.append(replace(kinds[letter], name=kinds[letter].name + again))
    return (*layers, Layer("linear", "out", (8, 2)))


def _task(chain: Chain, **changes: object) -> Task:
    own = replace(
        ARTICLE,
        build=lambda options, make_norm: build_chain(chain, make_norm),
        structure=lambda options: chain,
        weights=None,
        slots=None,
        dropout=None,
    )
    return replace(own, **changes)


@pytest.mark.parametrize("order", ["na", "an", "a", "nad"])
def test_fused_reads_structures_of_anyone(order: str) -> None:
    """No type and no name of a task is looked at."""
    rate = Dropout(0.3, (12, 8)) if "d" in order else Dropout(0.0, ())
    task = _task(_chain(order), dropout=lambda options: rate)
    for norm in ("batch", "layer") if "n" in order else ("none",):
        cohort = cohort_of(norm, task, dtype="float64", epochs=1)
        assert Fused().supports(cohort.recipe) is None
        (ours,), (oracle,) = Fused().train(cohort, "cpu"), Sequential().train(cohort, "cpu")
        assert set(ours.series) == set(oracle.series)
        for name, expected in oracle.series.items():
            np.testing.assert_allclose(ours.series[name].values, expected.values, rtol=1e-8, err_msg=name)


def _mixed(first: str, second: str) -> Chain:
    cut = _chain(first).index(next(layer for layer in _chain(first) if layer.name == "mine1"))
    start = _chain(second).index(next(layer for layer in _chain(second) if layer.name == "mine1"))
    return (*_chain(first)[:cut], *_chain(second)[start:])


WHAT_FUSED_LACKS = {
    "no structure": (replace(ARTICLE, structure=None), "whose structure their task gives"),
    "convolutions": ("digits-cnn", "no layer of the kind"),
    "mixed order": (_task(_mixed("na", "an")), "in one order"),
    "a block without norm": (_task(_mixed("na", "a")), "in one order"),
    "two norms in a row": (_task(_chain("nna")), "in one order"),
    "no hidden layer": (_task((Layer("linear", "out", (10, 2)),)), "hidden layers followed by a linear one"),
    "another loss": (replace(ARTICLE, loss=SQUARED_ERROR), "no loss regression"),
    "a loss of that name": (replace(ARTICLE, loss=Loss("cross_entropy", _logistic)), "no loss cross_entropy"),
    "another score": (replace(ARTICLE, scores=(ACCURACY, R2)), "no score r2"),
}


@pytest.mark.parametrize("what", WHAT_FUSED_LACKS)
def test_fused_says_what_it_lacks(what: str) -> None:
    task, reason = WHAT_FUSED_LACKS[what]
    assert reason in str(
        Fused().supports(recipe_of("none" if what in {"convolutions", "no hidden layer"} else "batch", task))
    )


def test_fused_takes_classes_only() -> None:
    def data(study_seed: int, seed: int) -> Data:
        whole = ARTICLE.data(study_seed, seed)
        return Data(Part(whole.training.inputs, whole.training.targets + 1.0), whole.held_out)

    assert "numbers of classes" in str(Fused().supports(recipe_of("batch", replace(ARTICLE, data=data, classes=0))))


def test_norms_by_role_are_built_into_their_slots() -> None:
    roles = tuple(
        replace(layer, slot=replace(layer.slot, role="first" if layer.name == "scale0" else "second"))
        if layer.slot
        else layer
        for layer in _chain("na")
    )
    cohort = cohort_of("first=batch,second=layer", _task(roles), epochs=1)
    assert "one norm for all slots, not batch and layer" in str(Fused().supports(cohort.recipe))
    (outcome,) = Sequential().train(cohort, "cpu")
    assert outcome.parameters == (10 * 12 + 12) + 24 + (12 * 8 + 8) + 16 + (8 * 2 + 2)
    assert "running_loss" in outcome.series
