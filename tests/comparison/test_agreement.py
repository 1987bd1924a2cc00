"""A comparison in a user's model is the study that somebody would write by hand for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import normlab
from normlab.comparison.study import PROBES
from normlab.norms.spec import Norm
from normlab.probes.measure import Measure
from normlab.seeding import stream
from normlab.study.study import Study
from normlab.tasks.cnn import convolutional
from normlab.tasks.data import Data, Part
from normlab.tasks.spec import Task
from normlab.tasks.splits import random_split
from normlab.training import Training
from own_models import Arrays, small_cnn

NORMS = ["batch", "group:groups=4", "layer2d"]


def hand_written(digits: Arrays) -> Task:
    """The built-in net on the same data, with the weights that PyTorch draws for the user's."""
    from dataclasses import replace

    images, labels = digits

    def data(study_seed: int, seed: int) -> Data:
        rows = random_split(stream(study_seed, "split", "mine", seed), (240, 80, 80), labels)
        training, validation, test = (Part(images[some], labels[some]) for some in rows)
        return Data(training, {"validation": validation, "test": test})

    def weights(options: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            model = small_cnn()
        return {name: value.detach().numpy() for name, value in model.named_parameters() if "norm" not in name}

    task = convolutional(
        "mine",
        "By hand",
        data=data,
        image=(1, 8, 8),
        classes=10,
        training_samples=240,
        held_out=("validation", "test"),
        hidden=(8, 12),
        fixed=False,
    )
    return replace(task, weights=weights)


def test_it_gives_the_losses_of_the_same_study_by_hand_bit_for_bit(digits: Arrays) -> None:
    training = Training(epochs=2, batch_size=48, learning_rate=3e-3)
    study = Study(
        name="mine",
        norms=NORMS,
        tasks=[hand_written(digits)],
        seeds=2,
        training=training,
        measure=Measure(probes=PROBES),
    )
    by_hand = normlab.run(study, engine="sequential")
    compared = normlab.compare(
        small_cnn, digits, NORMS, name="mine", seeds=2, epochs=2, batch_size=48, learning_rate=3e-3, engine="sequential"
    )
    assert len(compared.outcomes) == len(by_hand.outcomes) == 6
    for one, other in zip(by_hand.outcomes, compared.outcomes, strict=True):
        assert (one.arm.norm, one.seed, one.status) == (other.arm.norm, other.seed, other.status)
        assert one.batch_hash == other.batch_hash
        assert one.data_hash == other.data_hash
        assert one.weight_hash == other.weight_hash
        assert set(one.series) == set(other.series) >= {"training_loss", "test_loss", "test_accuracy", "step_memory"}
        for name, series in one.series.items():
            assert np.array_equal(series.values, other.series[name].values), name


def test_all_norms_of_a_seed_share_weights_data_and_batches_and_seeds_do_not(digits: Arrays) -> None:
    results = normlab.compare(small_cnn, digits, ["group:groups=4"], seeds=2, epochs=1, batch_size=60)
    by_seed = {(outcome.arm.norm, outcome.seed): outcome for outcome in results.outcomes}
    for name in ("weight_hash", "data_hash", "batch_hash"):
        hashes = {key: getattr(outcome, name) for key, outcome in by_seed.items()}
        assert hashes["@own", 0] == hashes["group:groups=4", 0] != hashes["@own", 1] == hashes["group:groups=4", 1]


def test_the_norms_of_the_model_itself_are_the_norm_that_they_are(digits: Arrays) -> None:
    results = normlab.compare(small_cnn, digits, ["own", "batch"], seeds=2, epochs=2, batch_size=60)
    losses = results.metrics().pivot("norm", index="seed", values="test_loss_deployed")
    assert (losses["@own"] == losses["batch"]).all()


@pytest.mark.parametrize("twin", ["ghost:size=1000", "batch"])
def test_a_norm_against_itself_is_never_called_better(digits: Arrays, twin: str) -> None:
    """Ghost batches as large as the batch are its batch normalization, in other operations."""
    results = normlab.compare(small_cnn, digits, ["own", twin], seeds=8, epochs=2, batch_size=60)
    verdicts = set(results.comparisons()["verdict"].to_list())
    assert verdicts <= {"equivalent", "undecided", "exploratory"}, verdicts


def test_own_is_left_out_where_another_norm_is_what_it_is(digits: Arrays) -> None:
    results = normlab.compare(small_cnn, digits, ["batch", "none"], seeds=1, epochs=1, batch_size=240)
    assert [arm.norm for arm in results.plan.arms] == ["batch", "none"]
    results = normlab.compare(small_cnn, digits, ["batch:eps=1e-3", "none"], seeds=1, epochs=1, batch_size=240)
    assert [arm.norm for arm in results.plan.arms] == ["@own", "batch:eps=0.001", "none"]


def test_a_norm_has_the_groups_that_divide_each_layer_and_it_is_said(digits: Arrays) -> None:
    results = normlab.compare(small_cnn, digits, ["group:groups=8"], seeds=1, epochs=1, batch_size=240)
    assert [note.reason for note in results.plan.notes if note.reason.startswith("group")] == [
        "group:groups=8 has 8 groups of one channel, which is InstanceNorm (norm1)",
        "group:groups=8 has 6 groups, as 8 do not divide 12 channels (norm2)",
    ]
    recipe = next(recipe for recipe in results.plan.recipes if recipe.arm.norm == "group:groups=8")
    groups = [norm.options["groups"] for norm in map(recipe.norms.norm_at, recipe.slots) if isinstance(norm, Norm)]
    assert groups == [8, 6]
