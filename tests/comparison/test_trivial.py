"""What learning nothing gives is what closed forms say: class shares, mean, median; on data that were held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import normlab
from normlab.comparison.task import make_model_task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 4)).astype(np.float32)


def baseline(y: Any, outputs: int, loss: Any = None) -> dict[str, float]:
    model = nn.Sequential(nn.Linear(4, outputs), nn.LayerNorm(outputs))
    return dict(make_model_task(model, (X, y), loss=loss, name="mine").task.baseline or {})


def test_of_classes_it_is_their_shares() -> None:
    y = RNG.permutation(np.repeat([0, 1, 2], [350, 100, 50]))
    found = baseline(y, 3)
    shares = np.array([0.7, 0.2, 0.1])
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["loss"] == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-4)
    assert list(found) == ["accuracy", "loss"], "the score is what is said"


def test_of_numbers_it_is_their_mean() -> None:
    found = baseline(1000 + 10 * X[:, 0], 1)
    assert found["r2"] == pytest.approx(0.0, abs=0.03)
    assert found["loss"] == pytest.approx(100, rel=0.15)


def test_of_any_loss_of_outputs_and_targets_it_is_the_best_constant() -> None:
    y = RNG.exponential(size=(500, 1)).astype(np.float32)
    task = make_model_task(nn.Sequential(nn.Linear(4, 1), nn.LayerNorm(1)), (X, y), loss=nn.L1Loss(), name="mine").task
    data = task.data(0, 0)
    expected = np.abs(data.held_out["test"].targets - np.median(data.training.targets)).mean()
    assert task.baseline == {"loss": pytest.approx(expected, rel=0.02)}
    labels = (RNG.random((500, 3)) < [0.5, 0.1, 0.9]).astype(np.float32)
    shares = labels.mean(axis=0)
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).mean()
    assert baseline(labels, 3, nn.BCEWithLogitsLoss())["loss"] == pytest.approx(entropy, rel=0.1)


def test_it_is_that_of_the_held_out_part_where_parts_are_fixed() -> None:
    train, test = np.repeat([0, 1], [400, 100]), np.repeat([0, 1], [50, 450])
    data = {"train": (X, train), "test": (X, test)}
    model = nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2))
    found = make_model_task(model, data, name="mine").task.baseline
    assert found is not None
    assert found["accuracy"] == pytest.approx(0.1), "the commoner class of the training data is the rarer one there"


def test_a_loss_that_no_constant_can_have_has_no_baseline() -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(outputs) > 8 and outputs.std(0).sum() == 0:
            raise ValueError("no constant")
        return (outputs - targets).square().mean()

    assert baseline(X[:, :1], 1, loss) == {}


def test_labels_that_are_noise_teach_nothing_and_the_answer_says_so() -> None:
    y = RNG.integers(0, 3, 500)
    build = lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))  # noqa: E731
    results = normlab.compare(build, (X, y), ["layer"], seeds=2, epochs=1, batch_size=100)
    assert results.answer.startswith("Nothing is known of the norms for")
    assert "where an answer without a look at the input has 0.3" in results.answer
    assert results.summary()["answer"][0]["kind"] == "nothing learned"
