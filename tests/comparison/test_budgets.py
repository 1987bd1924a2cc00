"""Equal budgets: what each norm gets of them, and what is said of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import normlab
from normlab.comparison.budget import KEPT, BatchBytes, Budget, largest, with_budget
from normlab.engine.calibrate import Pace, Trial
from normlab.errors import InputError
from normlab.execute.run import Means
from normlab.guidance.precedent import precedents
from normlab.plan import resolve
from normlab.probes.memory import most_held, step_bytes
from normlab.study.arm import TUNED
from normlab.study.study import Study
from own_models import Arrays, small_cnn

CPU = torch.device("cpu")


def two_batches() -> Study:
    """A study in which one norm has a batch of its own."""
    own = {"batch": {"training.batch_size": 250}}
    return Study(name="mine", norms=["batch", "layer"], tasks=["article"], seeds=2, by_norm=own, training={"epochs": 2})


@pytest.mark.parametrize("limit", [1010, 1019, 1020, 1500, 9999])
@pytest.mark.parametrize(
    "cost",
    [
        lambda size: 1000 + 10 * size,
        lambda size: 1000 + max(0, 30 * (size - 20)) + size,
        lambda size: 1000 + size**2 // 7,
        lambda size: 900 + 50 * -(-size // 8),
    ],
    ids=["line", "bend", "curve", "steps"],
)
def test_the_largest_batch_fits_and_the_next_one_does_not(limit: int, cost: Callable[[int], int]) -> None:
    size = largest(cost, limit, 200)
    fits = [candidate for candidate in range(2, 201) if cost(candidate) <= limit]
    assert size == max(fits, default=0)


def test_memory_is_what_tensors_hold_at_one_time() -> None:
    def work() -> None:
        first = torch.ones(1000)
        second = first * 2
        del first
        third = second * 2
        fourth = third.view(10, 100)  # of the same memory
        del second, third, fourth
        torch.ones(500)

    assert most_held(work, CPU) == 2 * 4000


def test_a_step_needs_more_for_more_samples_and_as_a_saved_activation_says() -> None:
    """Without a norm a ReLU saves its output; one more layer that saves its input adds that for each sample."""
    loss = nn.functional.mse_loss

    def need(model: nn.Module, samples: int) -> int:
        return step_bytes(model, loss, (torch.randn(samples, 64), torch.randn(samples, 64)))

    plain = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64))
    deeper = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid(), nn.Tanh(), nn.Linear(64, 64))
    slopes = [(need(model, 4000) - need(model, 2000)) / 2000 for model in (plain, deeper)]
    assert slopes[1] - slopes[0] == pytest.approx(4 * 64, rel=0.1)


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step_bytes(model, nn.functional.mse_loss, (torch.randn(8, 4), torch.randn(8, 4)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_each_norm_gets_the_largest_batch_that_fits(digits: Arrays) -> None:
    limit = 120_000
    results = normlab.compare(small_cnn, digits, ["group:groups=4", "none"], seeds=2, epochs=2, memory=limit)
    sizes = {arm.norm: dict(arm.tuned)["training.batch_size"] for arm in results.plan.arms}
    assert sizes["none"] > sizes["group:groups=4"]
    for recipe in results.plan.recipes:
        cost = BatchBytes(recipe, "cpu")
        assert cost(sizes[recipe.arm.norm]) <= limit < cost(sizes[recipe.arm.norm] + 1)
        assert recipe.training.batch_size == sizes[recipe.arm.norm]
    assert {arm.condition.value("training.batch_size") for arm in results.plan.arms} == {TUNED}
    assert {arm.trained.training.epochs for arm in results.plan.arms} == {2}
    (comparison, *_) = results.comparisons().filter(metric="test_loss_deployed").rows(named=True)
    assert {comparison["a"], comparison["b"]} <= set(sizes)
    assert "batch size" in results.answer
    assert "64" not in results.answer


def test_a_batch_that_is_given_bounds_what_memory_allows(digits: Arrays) -> None:
    results = normlab.compare(small_cnn, digits, ["none"], seeds=1, epochs=1, memory="1GB", batch_size=20)
    assert {arm.condition.training.batch_size for arm in results.plan.arms} == {20}
    assert not results.study.by_norm


def test_a_time_gives_epochs_that_go_on_as_they_were(digits: Arrays, tmp_path: Path) -> None:
    given: dict[str, Any] = {"seeds": 1, "batch_size": 60, "epochs": 1, "budget": "1s"}
    first = normlab.compare(small_cnn, digits, ["none"], tmp_path / "runs", **given)
    epochs = {arm.norm: arm.trained.training.epochs for arm in first.plan.arms}
    assert all(count >= 1 for count in epochs.values())
    again = normlab.compare(small_cnn, digits, ["none"], tmp_path / "runs", **given)
    assert again.study.as_dict() == first.study.as_dict()
    assert {outcome.key for outcome in again.outcomes} == {outcome.key for outcome in first.outcomes}
    with pytest.raises(InputError, match="must allow every run an epoch"):
        normlab.compare(small_cnn, digits, ["none"], seeds=2, epochs=1, batch_size=60, budget="0.001s")


def test_a_study_without_budget_stays_as_it_is() -> None:
    assert with_budget(two_batches(), Budget(), Means(), is_bound=True) is not None
    assert with_budget(two_batches(), Budget(), Means(), is_bound=True) == two_batches()


def test_a_norm_with_its_own_batch_is_compared_in_the_condition_of_the_others() -> None:
    plan = resolve(two_batches())
    assert len({arm.condition for arm in plan.arms}) == 1
    assert [arm.trained.steps for arm in plan.arms] == [2 * 4, 2 * 16]
    assert [recipe.arm for recipe in plan.recipes] == list(plan.arms)
    alone = resolve(Study(name="other", norms=["batch"], tasks=["article"], training={"epochs": 2, "batch_size": 250}))
    assert alone.arms[0].key == plan.arms[0].key  # the same runs as in a study with that batch for all


def test_norms_of_their_own_batch_are_trained_and_stored_and_read_back(tmp_path: Path) -> None:
    results = normlab.run(two_batches(), tmp_path / "runs", engine="sequential")
    read = normlab.load(tmp_path / "runs")
    assert read.study == results.study
    assert read.comparisons().equals(results.comparisons())
    steps = {outcome.arm.norm: len(outcome.series["training_loss"].steps) for outcome in read.outcomes}
    assert steps == {"batch": 8, "layer": 32}
    assert set(read.metrics()["batch_size"]) == {250, 64}


def test_norms_of_their_own_batch_are_tuned_in_one_grid() -> None:
    study = two_batches().with_changes({"policy.tune": {"learning_rate": [1e-3, 1e-2]}, "policy.tuning_seeds": 2})
    study = study.with_changes({"tasks": ["digits"], "policy.extensions": 0, "training.epochs": 1})
    results = normlab.run(study)
    assert len(results.evidence.tuning) == 2
    assert len({curve.condition for curve in results.evidence.tuning}) == 1


@pytest.mark.parametrize(
    ("own", "changes", "message"),
    [
        ({"batch": {"training.learning_rate": 3}}, {}, "training.batch_size or training.epochs"),
        ({"rms": {"training.batch_size": 3}}, {}, "must name norms of the study"),
        ({"batch": {"training.batch_size": 3}}, {"sweep": {"training.batch_size": [3, 4]}}, "swept or each norm's own"),
    ],
)
def test_own_values_that_mean_nothing_are_refused(own: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, normlab.StudyError), match=message):
        resolve(two_batches().with_changes({"by_norm": own, **changes}))


def test_weights_are_kept_and_go_into_a_swapped_model(digits: Arrays, tmp_path: Path) -> None:

    normlab.compare(small_cnn, digits, ["group:groups=4"], seeds=2, epochs=1, batch_size=60, checkpoints=tmp_path / "w")
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
        "group-groups=4-0.safetensors",
        "group-groups=4-1.safetensors",
        "own-0.safetensors",
        "own-1.safetensors",
    ]
    with safe_open(tmp_path / "w" / "own-1.safetensors", "pt") as file:
        told = file.metadata()
    assert {name: json.loads(text) for name, text in told.items()} == {
        "normlab": {"norm": "own", "seed": 1, "task": "Sequential"}
    }, "one entry: of several the order, and so the bytes, would differ between equal runs"
    own = small_cnn()
    own.load_state_dict(load_file(tmp_path / "w" / "own-1.safetensors"))
    assert int(own.norm1.num_batches_tracked) == 4  # type: ignore[union-attr,arg-type]


def test_norms_of_their_own_batch_are_no_evidence_at_any_batch() -> None:
    """`normlab advise` asks at a batch size, and such a condition has none."""
    results = normlab.run(two_batches(), engine="sequential")
    assert not list(precedents(results.evidence, "here"))
    alike = normlab.run(two_batches().with_changes({"by_norm": {}}), engine="sequential")
    assert len(list(precedents(alike.evidence, "here"))) == 1


@pytest.mark.parametrize(
    ("tune", "runs"),
    [({}, 2 * 4), ({"learning_rate": [1e-3, 1e-2]}, 2 * (2 * 5 + 3 * 4)), ({"learning_rate": []}, 2 * (5 * 5 + 3 * 4))],
)
def test_a_budget_of_time_is_for_all_runs_and_each_pays_its_start(
    monkeypatch: pytest.MonkeyPatch, tune: dict[str, Any], runs: int
) -> None:
    study = Study(name="mine", norms=["batch", "layer"], tasks=["article"], seeds=4, policy={"tune": tune})
    paces = {"batch": Pace(0.5, 0.01), "layer": Pace(1.0, 0.02)}
    monkeypatch.setattr(Trial, "pace", lambda trial, announce: paces[trial.recipe.arm.norm])
    timed = with_budget(study, Budget(seconds=10.0 * runs), Means("sequential"), is_bound=True)
    epochs = {norm: values["training.epochs"] for norm, values in timed.by_norm.items()}
    assert epochs == {"batch": int(9.5 / 0.16), "layer": int(9.0 / 0.32)}
    more = study.with_changes({"seeds": 6})
    grown = with_budget(more, Budget(seconds=1.0), Means("sequential"), is_bound=True, stored=timed)
    assert (grown.by_norm, grown.seeds) == (timed.by_norm, 6), "runs of the folder count"
    assert list(grown.remarks) == [*timed.remarks, KEPT]
    same = with_budget(more, Budget(seconds=1.0), Means("sequential"), is_bound=True, stored=grown)
    assert same.as_dict() == grown.as_dict()
    wider = study.with_changes({"training.batch_size": 32})
    again = with_budget(wider, Budget(seconds=10.0 * runs), Means("sequential"), is_bound=True, stored=timed)
    assert again.by_norm != timed.by_norm, "another training is timed anew"
    beside = with_budget(study, Budget(seconds=5.0 * runs), Means("sequential", 2), is_bound=True)
    assert beside.by_norm == timed.by_norm, "two at a time have twice the time"
