"""The built-in tasks: data to the letter, splits, initial weights."""

from __future__ import annotations

import copy
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch import nn

from helpers import recipe_of
from normlab.engine.initial_state import draw
from normlab.engine.sequential import SingleRun
from normlab.errors import InputError
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.plan import resolve
from normlab.seeding import stream
from normlab.study.study import Study
from normlab.tasks.catalog import find_task
from normlab.tasks.characters import SYMBOLS, encoded, source_of
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import BITS, CROSS_ENTROPY, R2, Loss, Score
from normlab.tasks.planar import circles, moons, spirals
from normlab.tasks.spec import NO_OPTIONS, MakeNorm, Task
from normlab.tasks.splits import random_split, standardized
from task_training import built, learned_share, tensor, training_epochs


def test_the_article_has_the_published_points() -> None:
    np.random.seed(42)  # noqa: NPY002 the published script's own generator
    published = np.random.rand(1000, 10)  # noqa: NPY002
    data = find_task("article").with_fixed_data().data(7, 0)
    assert data.training.inputs.tobytes() == published.tobytes()
    assert np.array_equal(data.training.targets, (published.sum(axis=1) > 5).astype(np.int64))


def test_new_points_of_the_article_are_of_the_published_distribution() -> None:
    first, second = (find_task("article").data(0, seed) for seed in (0, 1))
    assert not np.isin(first.training.inputs, second.training.inputs).any()
    assert stats.kstest(first.training.inputs.ravel(), "uniform").pvalue > 1e-3
    assert np.array_equal(first.training.targets, (first.training.inputs.sum(axis=1) > 5).astype(np.int64))


def test_the_article_is_tested_on_fresh_points_of_its_own_stream() -> None:
    first, second = (find_task("article").with_fixed_data().data(seed, 0) for seed in (0, 1))
    assert not np.array_equal(first.held_out["test"].inputs, second.held_out["test"].inputs)
    assert len(first.held_out["test"]) == 1000
    assert stats.kstest(first.held_out["test"].inputs.ravel(), "uniform").pvalue > 1e-3
    assert not np.isin(first.held_out["test"].inputs, first.training.inputs).any()


def test_digits_are_split_into_stratified_parts_without_overlap() -> None:
    data = find_task("digits").data(0, 0)
    parts = [data.training, data.held_out["validation"], data.held_out["test"]]
    assert [len(part) for part in parts] == [1077, 360, 360]
    shares = np.stack([np.bincount(part.targets, minlength=10) / len(part) for part in parts])
    assert np.ptp(shares, axis=0).max() < 0.01
    rows = [{row.tobytes() for row in part.inputs} for part in parts]
    everything = np.concatenate([part.inputs for part in parts])
    assert len(set().union(*rows)) == sum(map(len, rows)) == len(np.unique(everything, axis=0))
    assert everything.min() == 0
    assert everything.max() == 1


@pytest.mark.parametrize("name", ["digits-cnn", "digits-resnet", "digits-lstm", "digits-gru"])
def test_tasks_of_digits_share_their_data(name: str) -> None:
    assert find_task(name).data is find_task("digits").data


@pytest.mark.parametrize("placement", ["before", "after"])
def test_the_cnns_slots_are_what_arrives_there(placement: str) -> None:
    """Channels, extent, and the names of the layers around each slot, at every depth."""
    task = find_task("digits-cnn")
    options = task.with_options({"hidden": (4, 6, 8, 10, 5), "placement": placement})
    seen: list[tuple[int, ...]] = []

    class Seeing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[1:]))
            return x

    model = task.build(options, lambda slot: Seeing())
    assert model(torch.rand(2, 64)).shape == (2, 10)
    slots = task.slots_of(options)
    assert seen == [(slot.channels, *slot.extent) for slot in slots]
    assert [slot.extent for slot in slots] == [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
    names = [name for name, _ in model.named_children()]
    for slot in slots:
        layer, norm, activation = (names.index(name) for name in (slot.layer, slot.name, slot.activation))
        assert isinstance(model.get_submodule(slot.layer), nn.Conv2d)
        assert (layer < norm < activation) == (placement == "before")
        assert (layer < activation < norm) == (placement == "after")


@pytest.mark.parametrize(
    ("convolutions", "extents"), [(1, [8, 4, 2, 1, 1]), (2, [8, 8, 4, 4, 2]), (3, [8, 8, 8, 4, 4]), (9, [8] * 5)]
)
def test_several_convolutions_keep_the_size_of_the_image(convolutions: int, extents: list[int]) -> None:
    task = find_task("digits-cnn")
    options = task.with_options({"hidden": (4,) * 5, "convolutions": convolutions})
    assert [slot.extent for slot in task.slots_of(options)] == [(extent, extent) for extent in extents]
    assert built(task, options)(torch.rand(2, 64)).shape == (2, 10)


@pytest.mark.parametrize(
    ("placement", "dropout_at", "block"),
    [
        ("before", "end", "norm activation dropout"),
        ("before", "norm", "dropout norm activation"),
        ("after", "end", "activation norm dropout"),
        ("after", "norm", "activation dropout norm"),
    ],
)
def test_dropout_stands_at_the_end_of_a_block_or_before_its_norm(placement: str, dropout_at: str, block: str) -> None:
    task = find_task("digits")
    changes = {"hidden": (9, 7), "dropout": 0.3, "placement": placement, "dropout_at": dropout_at}
    options = task.with_options(changes)
    names = [name for name, _ in built(task, options, "batch").named_children()]
    assert names == [f"{kind}{n}" for n in (1, 2) for kind in f"linear {block}".split()] + ["linear3"]
    assert task.dropout_of(options).units == (9, 7)


def test_dropout_before_a_norm_raises_the_variance_that_it_sees() -> None:
    """By 1 / (1 - p) of the mean square: what X. Li et al. (2018) call the variance shift."""
    recipe = recipe_of("batch", "digits", dropout=0.5, dropout_at="norm", epochs=1, batch_size=1024)
    run = SingleRun(draw(recipe, 0), "cpu")
    run.load(0)
    norm, linear = run.model.get_submodule("norm1"), run.model.get_submodule("linear1")
    with torch.no_grad():
        arrives = linear(run.batch[0]).square().mean()
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().square().mean()))
    run.compute()
    assert float(seen[0] / arrives) == pytest.approx(2, rel=0.02)


def test_the_cnn_has_no_place_for_dropout() -> None:
    with pytest.raises(ValidationError, match="dropout"):
        find_task("digits-cnn").with_options({"dropout": 0.1})


@pytest.mark.parametrize(("name", "hidden"), [("article", (50,)), ("digits-cnn", (8, 8)), ("diabetes", (20,))])
def test_weights_have_pytorchs_default_distribution(name: str, hidden: tuple[int, ...]) -> None:
    task = find_task(name)
    options = task.with_options({"hidden": hidden})
    assert task.weights is not None
    drawn = [task.weights(options, stream(0, "weights", name, seed)) for seed in range(20)]
    states = [built(task, options, seed=seed).state_dict() for seed in range(20)]
    for parameter in drawn[0]:
        ours = np.concatenate([weights[parameter].ravel() for weights in drawn])
        torchs = np.concatenate([state[parameter].numpy().ravel() for state in states])
        assert stats.ks_2samp(ours, torchs).pvalue > 1e-3, parameter


def test_tables_are_standardized_by_their_training_rows() -> None:
    for name in ("breast-cancer", "wine", "diabetes"):
        data = find_task(name).data(5, 0)
        np.testing.assert_allclose(data.training.inputs.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(data.training.inputs.std(axis=0), 1)
        assert abs(data.held_out["test"].inputs.mean(axis=0)).max() > 0.01
    targets = find_task("diabetes").data(5, 0).training.targets
    assert (targets.mean(), targets.std()) == pytest.approx((0, 1))


def test_tables_hold_every_row_of_the_data_set_once() -> None:
    from sklearn.datasets import load_diabetes

    data = find_task("diabetes").data(0, 0)
    inputs = np.concatenate([part.inputs for part in (data.training, *data.held_out.values())])
    targets = np.concatenate([part.targets for part in (data.training, *data.held_out.values())])
    wanted, progress = load_diabetes(return_X_y=True)
    rows = data.training.targets
    scale = np.polyfit(np.sort(targets), np.sort(progress), 1)
    np.testing.assert_allclose(np.sort(np.polyval(scale, targets)), np.sort(progress))
    np.testing.assert_allclose(np.corrcoef(inputs.T, targets), np.corrcoef(wanted.T, progress), atol=1e-10)
    assert len(rows) == 264


@given(
    st.lists(st.integers(0, 3), min_size=12, max_size=60).map(np.array),
    st.floats(0.1, 0.9),
    st.integers(0, 99),
)
def test_a_split_takes_each_sample_once_and_classes_in_proportion(classes: np.ndarray, share: float, seed: int) -> None:
    first = max(1, int(share * len(classes)))
    sizes = (first, len(classes) - first)
    parts = random_split(np.random.default_rng(seed), sizes, classes)
    assert tuple(map(len, parts)) == sizes
    assert sorted(np.concatenate(parts)) == list(range(len(classes)))
    for label in np.unique(classes):
        assert abs((classes[parts[0]] == label).sum() - (classes == label).sum() * first / len(classes)) < 2


def test_a_split_is_random_within_classes() -> None:
    classes = np.repeat([0, 1], 50)
    counts = np.zeros(100)
    for seed in range(400):
        counts[random_split(np.random.default_rng(seed), (20, 80), classes)[0]] += 1
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_constant_column_becomes_zero() -> None:
    values = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 7.0]])
    assert standardized(values, np.array([0, 1])).tolist() == [[-1.0, 0.0], [1.0, 0.0], [9.0, 2.0]]


def test_curves_in_the_plane_are_what_they_say() -> None:
    along, classes = np.linspace(0, 1, 40), np.arange(40) % 2
    radius = np.hypot(*circles(along, classes).T)
    np.testing.assert_allclose(radius, np.where(classes == 0, 1.0, 0.5))
    x, y = moons(along, classes).T
    np.testing.assert_allclose(np.hypot(x[::2], y[::2]), 1)
    np.testing.assert_allclose(np.hypot(x[1::2] - 1, y[1::2] - 0.5), 1)
    assert (y[::2] >= -1e-12).all()
    assert (y[1::2] <= 0.5 + 1e-12).all()
    first, second = (spirals(along, np.full(40, label)) for label in (0, 1))
    np.testing.assert_allclose(first, -second, atol=1e-12)
    np.testing.assert_allclose(np.hypot(*first.T), np.sqrt(along))


def test_the_adding_problem_is_solved_by_its_rule() -> None:
    part = find_task("adding").data(0, 0).training
    numbers, marks = part.inputs[..., 0], part.inputs[..., 1]
    assert (marks[:, :10].sum(axis=1) == 1).all()
    assert (marks[:, 10:].sum(axis=1) == 1).all()
    np.testing.assert_allclose((numbers * marks).sum(axis=1), part.targets)
    assert part.targets.var() == pytest.approx(1 / 6, rel=0.1)


def test_sequences_are_answered_by_their_rule_and_all_differ() -> None:
    reversal, sums = (find_task(name).data(0, 0) for name in ("reversal", "modular-sum"))
    for part in (reversal.training, reversal.held_out["test"]):
        assert np.array_equal(part.targets, np.fliplr(part.inputs))
    for place in range(6):
        wanted = sums.training.inputs[:, : place + 1].sum(axis=1) % 5
        assert np.array_equal(sums.training.targets[:, place], wanted)
    both = np.concatenate([sums.training.inputs, sums.held_out["test"].inputs])
    assert len(np.unique(both, axis=0)) == len(both) == 2000


def test_characters_are_text_of_the_standard_library() -> None:
    data = find_task("characters").data(0, 0)
    assert data.training.inputs.dtype == data.training.targets.dtype == np.int64
    assert np.array_equal(data.training.inputs[:, 1:], data.training.targets[:, :-1])
    alphabet = [chr(code) for code in range(32, 127)] + ["\n", "?"]
    text = "".join(alphabet[code] for code in source_of(("heapq.py",)))
    assert "def heappush(heap, item):\n" in text
    window = "".join(alphabet[code] for code in data.held_out["test"].inputs[0])
    modules = ("heapq.py", "shlex.py", "statistics.py", "textwrap.py")
    assert window in "".join(alphabet[code] for code in source_of(modules))


def test_characters_need_the_source_of_the_library() -> None:
    with pytest.raises(InputError, match=r"no readable .*no_such_module\.py"):
        source_of(("no_such_module.py",))


@given(st.text(max_size=30))
def test_every_character_has_a_number(text: str) -> None:
    codes = encoded(text)
    assert len(codes) == len(text)
    assert ((codes >= 0) & (codes < SYMBOLS)).all()
    printable = "".join(chr(code + 32) if code < 95 else "\n" for code in codes if code < 96)
    assert printable == "".join(letter for letter in text if " " <= letter <= "~" or letter == "\n")


def test_scores_have_their_closed_forms() -> None:
    targets = torch.tensor([1.0, 2.0, 6.0])
    assert float(R2.compute(torch.full((3, 1), 3.0), targets)) == pytest.approx(0)
    assert float(R2.compute(torch.tensor([[1.0], [3.0], [5.0]]), targets)) == pytest.approx(1 - 2 / 14)
    even = torch.zeros(2, 3, 8)
    assert float(BITS.compute(even, torch.zeros(2, 3, dtype=torch.int64))) == pytest.approx(3)


@pytest.mark.parametrize("name", [spec.name for spec in NORMS])
def test_a_norm_without_a_form_for_tokens_is_skipped_with_its_reason(name: str) -> None:
    norms = dict.fromkeys(["none", name])
    plan = resolve(Study(name="all", norms=list(norms), tasks=["reversal"], training={"batch_size": 8}))
    taken = {arm.norm for arm in plan.arms}
    fits = parse(name).misfit(Slot(32, "NLC", (8,), layer="x", activation="x")) is None
    assert (name in taken) <= fits
    assert all(remark.reason for remark in plan.skipped)


def test_the_example_of_an_own_task_is_short_and_learns() -> None:
    file = Path(__file__).parents[2] / "examples" / "own_task.py"
    assert len(file.read_text().splitlines()) < 40
    task = runpy.run_path(str(file))["TONES"]
    assert isinstance(task, Task)
    study = Study(name="own", norms=["none", "batch", "weight"], tasks=[task], seeds=2, training={"epochs": 5})
    plan = resolve(study)
    assert [arm.norm for arm in plan.arms] == ["none", "batch", "weight"]
    assert plan.arms[0].condition.task.samples == 500
    data = task.data(0, 0)
    for recipe in plan.recipes:
        *_, model = training_epochs(task, built(task, norms=recipe.norms), data, recipe.training)
        assert learned_share(task, model, data.held_out["test"]) > 0.5
    assert tensor(data.training.inputs).shape == (500, 1, 16)


INPUTS, CLASSES = np.zeros((4, 2)), np.array([0, 1, 0, 1])
GOOD = Part(INPUTS, CLASSES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data of odd must be a normlab.Data"),
        (Data(GOOD), "hold out .*test"),
        (Data(GOOD, {"test": GOOD, "more": GOOD}), "more"),
        (Data(Part(INPUTS[:3], CLASSES[:3]), {"test": GOOD}), "4 training samples.*got 3"),
        (Data(GOOD, {"test": (INPUTS, CLASSES)}), "test data of odd must be a normlab.Part"),
        (Data(GOOD, {"test": Part(INPUTS[:3], CLASSES)}), "inputs of test data.*3 of them and 4 targets"),
        (Data(GOOD, {"test": Part(INPUTS[:0], CLASSES[:0])}), "at least one"),
        (Data(Part(INPUTS.astype(object), CLASSES), {"test": GOOD}), "inputs of training data.*object"),
        (Data(Part([[0.0]] * 4, CLASSES), {"test": GOOD}), "got list"),
        (Data(Part({"x": INPUTS, "y": INPUTS[1:]}, CLASSES), {"test": GOOD}), "y of training data"),
        (Data(Part(INPUTS + np.nan, CLASSES), {"test": GOOD}), "must be finite"),
        (Data(Part(INPUTS, CLASSES + 1), {"test": GOOD}), "whole numbers from 0 to 1.*from 1 to 2"),
        (Data(Part(INPUTS, CLASSES - 1), {"test": GOOD}), "from -1 to 0"),
        (Data(Part(INPUTS, CLASSES + 0.0), {"test": GOOD}), "float64"),
    ],
)
def test_data_that_are_not_what_the_task_says_are_refused(data: Data, message: str) -> None:
    task = Task("odd", "Odd", lambda study_seed, seed: data, nn.Identity, CROSS_ENTROPY, 4, classes=2)
    with pytest.raises(InputError, match=message):
        task.load(0, 0)


def test_the_number_of_samples_is_looked_up_where_it_is_not_given() -> None:
    data = Data(GOOD, {"test": Part({"a": INPUTS, "b": CLASSES}, CLASSES)})
    assert Task("fine", "Fine", lambda study_seed, seed: data, nn.Identity, CROSS_ENTROPY, classes=2).samples == 4


def _task(build: object, targets: np.ndarray = CLASSES, loss: object = CROSS_ENTROPY, **changes: object) -> Task:
    part = Part(np.ones((4, 3)), targets)
    return Task("odd", "Odd", lambda study_seed, seed: Data(part, {"test": part}), build, loss, **changes)


def _model(slot: Slot, hold: bool = True) -> object:
    def build(options: object, make_norm: MakeNorm) -> nn.Module:
        norm = make_norm(slot)
        return nn.Sequential(nn.Linear(3, 8), norm if hold else nn.Identity(), nn.Linear(8, 2))

    return build


def _raises(*arguments: object) -> None:
    raise OSError("nothing there")


def _vector(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs.sum(dim=1)


FITTING = _model(Slot(8, "NC", layer="0"))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (_task(_raises), r"build of odd must make a model; got OSError: nothing there in line \d+ of .*test_tasks.py"),
        (_task(lambda options, make_norm: None), "must make a model; got NoneType"),
        (_task(_model(Slot(8, "NC"), hold=False)), "must hold every norm"),
        (_task(_model(Slot(6, "NC"))), r"channels must arrive .* 6 in NC; got the shape \(4, 8\)"),
        (_task(_model(Slot(8, "NC", layer="linear"))), "layer of a slot .*'linear'. Its modules are 0, 1, 2"),
        (_task(FITTING, CLASSES + 2), "loss of odd must take its data; got IndexError"),
        (_task(FITTING, CLASSES + 0.5), "loss of odd must take its data; got RuntimeError"),
        (_task(FITTING, loss=Loss("vector", _vector)), r"loss of odd must be one number; got a tensor of \(4,\)"),
        (_task(FITTING, scores=(Score("vector", "vector", _vector),)), "score vector of odd must be one number"),
        (_task(FITTING, scores=(Score("bad", "bad", _raises),)), "score bad of odd must take its data; got OSError"),
        (replace(_task(FITTING), data=_raises), "odd must give its data; got OSError: nothing there"),
    ],
)
def test_a_model_that_is_not_what_the_task_says_is_refused(task: Task, message: str) -> None:
    with pytest.raises(InputError, match=message):
        task.slots_of(task.options)


def test_slots_are_known_by_the_names_of_what_stands_in_them() -> None:
    def build(options: object, make_norm: MakeNorm) -> nn.Module:
        layer = nn.Sequential(nn.Linear(3, 3), make_norm(Slot(3, "NC")))
        return nn.Sequential(copy.deepcopy(layer), copy.deepcopy(layer))  # as nn.TransformerEncoder does

    assert [slot.name for slot in _task(build).slots_of(NO_OPTIONS)] == ["0.1"]
    assert [slot.name for slot in _task(FITTING).slots_of(NO_OPTIONS)] == ["1"]


@pytest.mark.parametrize("name", ["loss", "accuracy_running"])
def test_a_score_does_not_take_the_name_of_another_series(name: str) -> None:
    with pytest.raises(InputError, match="names of their own"):
        _task(FITTING, scores=(replace(R2, name=name),))
