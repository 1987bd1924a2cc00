"""The forms in which models, data and losses come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset

import normlab
from costs.vision import import_torchvision
from normlab.comparison.maker import find_maker
from normlab.comparison.objective import find_objective
from normlab.comparison.table import read_table
from normlab.comparison.task import make_model_task
from normlab.comparison.wrappers import inner_of, main_output
from normlab.errors import InputError
from normlab.tasks.data import BATCH, TRAINING
from own_models import Arrays, small_cnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype(np.float32)
CLASSES = RNG.integers(3, size=40)


def perceptron(outputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))


class Named(nn.Module):
    """Takes a dictionary of arrays, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        hidden = self.norm(self.embedding(input_ids)) * attention_mask[..., None]
        return {"logits": self.head(hidden.sum(1))}


TOKENS = {
    "input_ids": RNG.integers(10, size=(40, 5)),
    "attention_mask": np.ones((40, 5), dtype=np.int64),
    "labels": CLASSES,
}


class Pairs(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.from_numpy(X[row]), int(CLASSES[row])


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Any:
        return (Pairs()[row] for row in range(40))


@pytest.mark.parametrize(
    "data",
    [
        (X, CLASSES),
        [torch.from_numpy(X), torch.from_numpy(CLASSES)],
        TensorDataset(torch.from_numpy(X), torch.from_numpy(CLASSES)),
        Pairs(),
        DataLoader(Pairs(), batch_size=16, shuffle=True, drop_last=True),
        DataLoader(Stream(), batch_size=16),
    ],
    ids=["arrays", "tensors", "tensor dataset", "dataset", "loader", "stream"],
)
def test_data_of_every_form_are_the_same_table_in_order(data: Any) -> None:
    table = read_table(data)
    assert table.form == "pair"
    assert np.array_equal(table.columns["0"], X)
    assert np.array_equal(table.columns["1"], CLASSES)
    assert table.digest == read_table((X, CLASSES)).digest


@pytest.mark.parametrize(
    "how",
    [
        {"sampler": SubsetRandomSampler(range(8, 32)), "batch_size": 5},
        {"sampler": list(range(8, 32))},
        {"batch_sampler": BatchSampler(SubsetRandomSampler(range(8, 32)), 5, False)},
    ],
    ids=["random", "list", "batches"],
)
def test_a_loader_of_a_part_of_the_data_is_that_part(how: dict[str, Any]) -> None:
    """Else loaders that split one dataset would train on what they test on."""
    table = read_table(DataLoader(Pairs(), **how))
    assert np.array_equal(table.columns["0"], X[8:32])


def test_other_data_have_another_digest() -> None:
    assert read_table((X, CLASSES)).digest != read_table((X, CLASSES[::-1].copy())).digest


@pytest.mark.parametrize(
    ("model", "targets", "loss", "score"),
    [
        (perceptron(), CLASSES, functional.cross_entropy, "accuracy"),
        (
            perceptron(1),
            CLASSES % 2,
            lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y.float()),
            "accuracy",
        ),
        (perceptron(2), X[:, :2], functional.mse_loss, "r2"),
        (perceptron(1), X[:, 0], lambda z, y: functional.mse_loss(z[:, 0], y), "r2"),
    ],
    ids=["classes", "two classes", "numbers", "one number"],
)
def test_the_loss_is_what_the_targets_ask_for(
    model: nn.Module, targets: np.ndarray, loss: Callable[[Tensor, Tensor], Tensor], score: str
) -> None:
    objective = find_objective(model, read_table((X, targets)))
    outputs, expected = model(torch.from_numpy(X)), torch.from_numpy(targets)
    assert torch.allclose(objective.loss.compute(outputs, expected), loss(outputs, expected))
    assert [item.name for item in objective.scores] == [score]


def test_a_segmentation_net_has_its_classes_on_the_second_axis() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    images, labels = RNG.normal(size=(6, 1, 5, 7)).astype(np.float32), RNG.integers(3, size=(6, 5, 7))
    objective = find_objective(model, read_table((images, labels)))
    outputs, targets = model(torch.from_numpy(images)), torch.from_numpy(labels)
    assert torch.allclose(objective.loss.compute(outputs, targets), functional.cross_entropy(outputs, targets))
    (accuracy,) = objective.scores
    assert float(accuracy.compute(outputs, targets)) == float((outputs.argmax(1) == targets).double().mean())


def test_a_models_own_loss_that_is_the_cross_entropy_of_its_logits_is_known_for_that() -> None:
    objective = find_objective(WithLoss(scale=1.0), read_table(TOKENS))
    assert (objective.loss.name, objective.classes) == ("cross_entropy", 3)
    assert objective.form.inputs == ("input_ids", "attention_mask")
    other = find_objective(WithLoss(scale=2.0), read_table(TOKENS))
    assert (other.loss.name, other.classes) == ("model", 0)
    assert other.form.inputs == ("input_ids", "attention_mask", "labels")
    padded = {**TOKENS, "labels": np.where(np.arange(len(TOKENS["labels"])) < 20, TOKENS["labels"], -100)}
    left_out = find_objective(WithLoss(scale=1.0), read_table(padded))  # later than what is tried
    assert (left_out.loss.name, left_out.scores) == ("model", ())


class WithLoss(Named):
    """Computes a loss itself where it gets labels."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Any:
        logits = super().forward(input_ids, attention_mask)["logits"]
        loss = None if labels is None else self.scale * functional.cross_entropy(logits, labels)
        return type("Output", (), {"loss": loss, "logits": logits})()


def steps(model: nn.Module, batch: Any) -> Tensor:
    return functional.mse_loss(model(batch["image"]), batch["wanted"])


@pytest.mark.parametrize(
    ("build", "data", "given"),
    [
        (Named, TOKENS, {}),
        (lambda: WithLoss(2.0), TOKENS, {}),
        (lambda: perceptron(6), {"image": X, "wanted": X[:, ::-1].copy()}, {"step": steps}),
        (lambda: (perceptron(), (X, CLASSES), nn.CrossEntropyLoss()), None, {}),
        (lambda: (perceptron(), DataLoader(Pairs(), 8), functional.cross_entropy), None, {}),
        ((perceptron(), (X, CLASSES), functional.cross_entropy), None, {}),
        (perceptron, lambda: (X, CLASSES), {}),
        (perceptron, {"train": (X, CLASSES), "val": (X, CLASSES), "test": (X[:9], CLASSES[:9])}, {}),
    ],
    ids=["logits", "own loss", "step", "triple", "loader", "model", "function", "parts"],
)
def test_models_of_every_form_are_trained_to_the_end(build: Any, data: Any, given: dict[str, Any]) -> None:
    results = normlab.compare(build, data, ["rms", "none"], seeds=1, epochs=1, batch_size=8, **given)
    failed = [outcome.reason for outcome in results.outcomes if outcome.status != "finished"]
    assert not failed
    assert len(results.outcomes) == 3 - len(results.plan.skipped)


def test_a_loader_says_the_batch_size_and_its_size_is_that_of_a_step() -> None:
    results = normlab.compare(perceptron, DataLoader(Pairs(), 8), ["none"], seeds=1, epochs=1)
    assert results.study.training.batch_size == 8


def test_a_held_out_loss_counts_every_sample_alike() -> None:
    """The loss of a step is of a batch: over blocks of different size their mean is weighted by their samples."""
    data = {"image": X, "wanted": X[:, ::-1].copy()}
    made = make_model_task(lambda: perceptron(6), data, step=steps)
    model = made.task.build(None, lambda slot: made.own.build(slot, {})).eval()
    whole = model(**{name: torch.from_numpy(value) for name, value in data.items()})
    blocks = [
        model(**{name: torch.from_numpy(value[rows]) for name, value in data.items()})
        for rows in (slice(0, 30), slice(30, 40))
    ]
    assert torch.allclose(torch.cat(blocks).mean(), whole.mean(), rtol=1e-5)


@pytest.mark.slow
def test_a_lightning_module_is_trained_by_its_training_step() -> None:
    import_torchvision()
    lightning = pytest.importorskip("lightning", reason="the extra `zoo` is not installed")

    class Lit(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()

        def training_step(self, batch: Any, number: int) -> dict[str, Tensor]:
            inputs, targets = batch
            loss = functional.cross_entropy(self.net(inputs), targets)
            self.log("train_loss", loss)
            return {"loss": loss}

    results = normlab.compare(Lit, (X, CLASSES), ["layer", "none"], seeds=1, epochs=2, batch_size=12)

    def step(model: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    given: dict[str, Any] = {"step": step, "name": "Lit", "seeds": 1, "epochs": 2, "batch_size": 12}
    plain = normlab.compare(perceptron, (X, CLASSES), ["layer", "none"], **given)
    for one, other in zip(results.outcomes, plain.outcomes, strict=True):
        assert one.status == "finished", one.reason
        assert np.allclose(one.series["training_loss"].values, other.series["training_loss"].values, rtol=1e-5)


@pytest.mark.slow
def test_a_model_of_transformers_is_trained_by_its_own_loss() -> None:
    import_torchvision()
    transformers = pytest.importorskip("transformers", reason="the extra `zoo` is not installed")
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=8,
    )  # fmt: skip
    results = normlab.compare(
        lambda: transformers.BertForSequenceClassification(config), TOKENS, ["rms"], seeds=1, epochs=1, batch_size=12
    )
    assert [outcome.reason for outcome in results.outcomes] == ["", ""]
    assert "test_accuracy" in results.outcomes[0].series


def test_a_model_draws_from_its_seed_and_moves_no_generator() -> None:
    maker = find_maker(perceptron)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr] # noqa: NPY002
    weights = [maker(seed)[0].weight for seed in (1, 1, 2)]  # type: ignore[index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index] # noqa: NPY002


def test_all_seeds_start_from_the_weights_of_a_model_that_is_given(digits: Arrays) -> None:
    results = normlab.compare(small_cnn(), digits, ["none"], seeds=2, epochs=1, batch_size=60)
    assert len({outcome.weight_hash for outcome in results.outcomes}) == 1
    assert len({outcome.batch_hash for outcome in results.outcomes}) == 2
    assert any("start from the weights" in note.reason for note in results.plan.notes)


@pytest.mark.parametrize(
    ("build", "data", "given", "message"),
    [
        (3, (X, CLASSES), {}, "must be a function that makes a model"),
        (lambda: 1 / 0, (X, CLASSES), {}, "ZeroDivisionError"),
        (lambda: "model", (X, CLASSES), {}, "must make a torch.nn.Module"),
        (perceptron, None, {}, "needs data"),
        (perceptron, (X[:4], CLASSES[:4]), {}, "at least 5 samples"),
        (lambda: nn.DataParallel(perceptron()), (X, CLASSES), {}, "wrapped in DataParallel"),
        (lambda: nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4)), (X, CLASSES), {}, "azy"),
        (perceptron, "text", {}, "package.module:object"),
        (perceptron, (X, CLASSES[:5]), {}, "length"),
        (perceptron, (X[:0], CLASSES[:0]), {}, "must hold samples"),
        (perceptron, lambda: {}["table"], {}, r"must give the data .* KeyError: 'table' in line \d+ of \S*test_forms"),
        (perceptron, lambda: sys.exit("no token"), {}, "SystemExit: no token"),
        (lambda: sys.exit(3), (X, CLASSES), {}, "SystemExit: 3"),
        (perceptron, (X[:, :2], CLASSES), {}, "must take the inputs of the data"),
        (perceptron, (X, CLASSES + 5), {}, "outputs must fit the targets"),
        (perceptron, (X, -CLASSES), {}, "classes counted from 0"),
        (perceptron, (X, X), {}, "as many numbers as there are targets"),
        (perceptron, {"x": X, "z": CLASSES}, {}, "a dictionary with one of labels"),
        (perceptron, (X, CLASSES), {"loss": lambda outputs, targets: outputs}, "must give one number"),
        (perceptron, (X, CLASSES), {"loss": 3}, "must be a function of outputs and targets"),
        (perceptron, (X, CLASSES), {"loss": functional.mse_loss, "step": steps}, "must be said once"),
        (lambda: nn.Linear(6, 3), (X, CLASSES), {}, "must have normalization layers"),
        (perceptron, (X, CLASSES), {"sedds": 3}, "Did you mean 'seeds'"),
        (perceptron, (X, CLASSES), {"memory": "1KB"}, "a batch of 2 samples must fit"),
        (perceptron, (X, CLASSES), {"budget": "1e"}, "Try 20min"),
        (perceptron, {"train": (X, CLASSES)}, {}, "hold one to test on"),
        (perceptron, {"train": (X, CLASSES), "dev": (X, CLASSES)}, {}, "'dev'"),
    ],
)
def test_what_cannot_be_compared_is_refused(build: Any, data: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        normlab.compare(build, data, ["layer"], **given)


@pytest.mark.parametrize(("kind", "name"), [("Größe", "Gre"), ("网络", "model"), ("_Net", "Net"), ("a" * 99, "a" * 60)])
def test_a_task_has_a_name_that_a_study_can_have_whatever_the_class_is_called(kind: str, name: str) -> None:
    model = type(kind, (nn.Sequential,), {})(nn.Linear(6, 3), nn.BatchNorm1d(3))
    assert make_model_task(model, (X, CLASSES)).task.name == name


def test_names_of_parts_are_those_that_no_run_has_itself() -> None:
    made = make_model_task(perceptron, (X, CLASSES))
    assert not {TRAINING, BATCH} & set(made.task.held_out)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("ignored", [255, -100])
def test_what_the_loss_ignores_is_no_part_of_the_accuracy(ignored: int, last: bool) -> None:
    shape = (20, 5) if last else (20, 2, 3)
    labels = np.random.default_rng(1).integers(3, size=shape)
    labels[:, 0] = ignored
    outputs = torch.randn(20, *shape[1:], 3) if last else torch.randn(20, 3, *shape[1:])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, outputs[0].numel()), nn.Unflatten(1, outputs.shape[1:]))
    loss = nn.CrossEntropyLoss(ignore_index=ignored)

    def over_classes(given: Tensor, targets: Tensor) -> Tensor:
        return loss(given.movedim(-1, 1) if last else given, targets)

    over_classes.ignore_index = ignored  # type: ignore[attr-defined]
    objective = find_objective(model, read_table((X[:20], labels)), over_classes)
    (score,) = objective.scores
    hits = (outputs.argmax(-1 if last else 1) == torch.from_numpy(labels))[:, 1:]
    assert float(score.compute(outputs, torch.from_numpy(labels))) == pytest.approx(float(hits.double().mean()))


def test_a_norm_that_no_place_can_have_leaves_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="two norms must be left to compare") as caught:
        normlab.compare(perceptron, (X, CLASSES), ["instance"], seeds=2, epochs=1)
    assert "instance:affine=true has no form for NC input" in str(caught.value)


@pytest.mark.parametrize(("kind", "trained"), [("float64", "float64"), ("bfloat16", "float32")])
def test_models_of_other_types_are_trained_in_them_or_it_is_said(kind: str, trained: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).to(getattr(torch, kind))

    x = np.random.default_rng(0).normal(size=(60, 4))
    given = (build, (x, x[:, :1]), ["layer"])
    results = normlab.compare(*given, loss=nn.MSELoss(), seeds=1, epochs=1, batch_size=12, quiet=True)
    assert results.study.training.dtype == trained
    assert [outcome.status for outcome in results.outcomes] == ["finished"] * 2
    told = f"its weights are {kind}, and all norms are trained in float32"
    assert (told in results.study.remarks) == (kind != trained)


def test_a_loss_without_a_gradient_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    with pytest.raises(InputError, match="`loss` must have a gradient"):
        normlab.compare(model, (x, x[:, :1]), ["layer"], loss=lambda outputs, y: (outputs - y).square().mean().detach())


def test_of_data_by_name_the_model_gets_what_it_has_arguments_for() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(x + y))  # type: ignore[no-any-return]

    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    data = {"x": x, "y": -x / 2, "id": torch.arange(60), "labels": (x[:, 0] > 0).long()}
    with_id, without = (
        normlab.compare(Two, given, ["layer"], seeds=1, epochs=2, batch_size=12, quiet=True)
        for given in (data, {name: value for name, value in data.items() if name != "id"})
    )
    assert "its forward pass has no argument for id of the data" in with_id.study.remarks
    assert not any("argument" in remark for remark in without.study.remarks)
    assert with_id.metrics()["test_loss"].to_list() == without.metrics()["test_loss"].to_list()


def test_data_frames_are_arrays() -> None:
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=(6, 4))
    table = read_table((pandas.DataFrame(x), pandas.Series(x[:, 0])))
    assert table.form == "pair"
    np.testing.assert_array_equal(table.columns["0"], x)
    np.testing.assert_array_equal(table.columns["1"], x[:, 0])


def test_a_dataset_that_is_only_iterated_is_read() -> None:
    class Stream(IterableDataset[tuple[torch.Tensor, int]]):
        def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
            return ((torch.full((2,), float(place)), place % 2) for place in range(300))

    table = read_table(Stream())
    assert (len(table), table.batch_size) == (300, 0)
    np.testing.assert_array_equal(table.columns["0"][:, 1], np.arange(300))


def test_the_main_output_of_an_object_is_its_logits_or_its_first_tensor() -> None:
    first, second = torch.zeros(2), torch.ones(2)
    assert main_output(SimpleNamespace(hidden=first, logits=second)) is second
    assert main_output(SimpleNamespace(scores=[SimpleNamespace(main=first)], others=second)) is first
    assert main_output((None, {"main": first})) is first
    assert main_output(SimpleNamespace(loss=1.0)) is None


class Rooted(nn.Module):
    """Has weights, buffers and references of its own beside its parts, one of them by the name of a wrapper's part."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.model = nn.Parameter(torch.ones(6)), perceptron()
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))
        self.norms = [self.model[1]]  # type: ignore[index]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        self.calls = self.calls + 1
        logits: Tensor = self.model[:1](x * self.scale)  # type: ignore[index]
        logits = self.model[2:](self.norms[0](logits))  # type: ignore[index]
        return logits if labels is None else {"loss": 2 * functional.cross_entropy(logits, labels), "logits": logits}


def classify(model: nn.Module, batch: Any) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


WAYS: list[tuple[Any, dict[str, Any]]] = [
    ((X, CLASSES), {}),
    ((X, CLASSES), {"step": classify}),
    ({"x": X, "labels": CLASSES}, {}),
]


@pytest.mark.parametrize(("data", "given"), WAYS, ids=["outputs", "step", "own loss"])
@pytest.mark.parametrize("where", ["model.1", r"re:model\.1", {"model.1": True}, lambda norm: norm.name == "model.1"])
def test_norms_have_the_names_of_the_users_model_however_it_is_called(data: Any, given: Any, where: Any) -> None:
    task = make_model_task(Rooted, data, where=where, **given).task
    (slot,) = task.slots_of(task.options)
    assert (slot.name, slot.layer, slot.activation) == ("model.1", "model.0", "model.2")
    model = task.build(None, lambda slot: nn.BatchNorm1d(8))
    assert dict(model.named_parameters()).keys() == dict(Rooted().named_parameters()).keys()
    assert model.state_dict().keys() == Rooted().state_dict().keys()
    with pytest.raises(InputError, match=r"'model\.model\.1'. Did you mean 'model\.1'\?"):
        make_model_task(Rooted, data, where="model.model.1", **given)


def test_a_step_trains_what_the_loss_trains() -> None:
    parts = {"train": (X, CLASSES), "test": (X[:9], CLASSES[:9])}
    asked: dict[str, Any] = {"seeds": 1, "epochs": 2, "batch_size": 8, "quiet": True}
    plain, stepped = (
        normlab.compare(Rooted, parts, ["layer", "none"], step=step, **asked) for step in (None, classify)
    )
    for one, other in zip(plain.outcomes, stepped.outcomes, strict=True):
        assert (one.status, other.status, one.weight_hash) == ("finished", "finished", other.weight_hash)
        expected = one.series["training_loss"].values
        assert np.allclose(expected, other.series["training_loss"].values, rtol=1e-5)


class Trained(nn.Sequential):
    """Says itself how it is trained."""

    def training_step(self, batch: Any) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[2])


@pytest.mark.parametrize(
    ("build", "given", "message"),
    [
        (perceptron, {"step": lambda model, batch: 1 / 0}, r"`step` must .*; got ZeroDivisionError: .* in line \d+ of"),
        (
            perceptron,
            {"step": lambda model: 0},
            r"`step` must .*TypeError.*a batch in the form of the data, with \(8, 6\)",
        ),
        (lambda: Trained(*perceptron().children()), {}, r"`training_step` must .*IndexError: .* in line \d+ of"),
        (perceptron, {"step": lambda model, batch: None}, "must be one number in a tensor; got a NoneType"),
        (
            perceptron,
            {"step": lambda model, batch: classify(model, batch).detach()},
            "the loss of `step` must have a gradient",
        ),
        (
            lambda: perceptron().requires_grad_(False),
            {"step": classify},
            "the loss of `step` must have a gradient.*let some of the model's weights learn",
        ),
        (
            perceptron,
            {"step": lambda model, batch: torch.autograd.grad(classify(model, batch), model[0].weight)[0].sum()},
            "the loss of `step` must have a gradient",
        ),
        (
            perceptron,
            {
                "step": lambda model, batch: torch.autograd.grad(
                    classify(model, batch), model[0].weight, create_graph=True
                )[0].sum()
            },
            "without gradients too, as on held-out data.*enable_grad",
        ),
        (lambda: perceptron().requires_grad_(False), {}, "what the model gives must have a gradient"),
    ],
)
def test_a_step_that_cannot_train_is_refused_with_what_is_wrong(build: Any, given: Any, message: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(InputError, match=message) as caught:
        make_model_task(build, (X, CLASSES), **given)
    assert "Wrapper" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_may_need_gradients_to_give_its_loss() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        with torch.enable_grad():
            loss = classify(model, batch)
            return torch.autograd.grad(loss, model[0].weight, create_graph=True)[0].square().sum()  # type: ignore[index]

    made = make_model_task(perceptron, (X, CLASSES), step=step)
    model = made.task.build(None, lambda slot: made.own.build(slot, {}))
    columns = {"0": torch.from_numpy(X), "1": torch.from_numpy(CLASSES)}
    assert model(**columns).requires_grad
    with torch.no_grad():
        assert not model(**columns).requires_grad


@pytest.mark.parametrize(
    ("data", "is_alone"),
    [
        ((X,), False),
        ([X], False),
        (TensorDataset(torch.from_numpy(X)), False),
        (DataLoader(TensorDataset(torch.from_numpy(X)), 8), False),
        (X, True),
        (torch.from_numpy(X), True),
        (DataLoader(torch.from_numpy(X), 8), True),  # type: ignore[arg-type]
    ],
    ids=["tuple", "list", "dataset", "loader", "array", "tensor", "loader of a tensor"],
)
def test_a_step_gets_data_without_targets_in_their_form(data: Any, is_alone: bool) -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        assert isinstance(batch, Tensor if is_alone else tuple)
        return model(batch if is_alone else batch[0]).square().mean()  # type: ignore[no-any-return]

    made = make_model_task(perceptron, data, step=step)
    model = made.task.build(None, lambda slot: made.own.build(slot, {})).eval()
    part = made.task.data(0, 0).training.inputs
    inputs = {name: torch.from_numpy(column) for name, column in part.items()}  # type: ignore[union-attr]
    assert len(inputs["0"]) == 24
    expected = inner_of(model)(inputs["0"]).square().mean()
    assert torch.equal(model(**inputs), expected.expand(24))
    with pytest.raises(InputError, match=r"a batch must be \(inputs, targets\).*an array alone.*Give `step`"):
        make_model_task(perceptron, data)


class Graph:
    """No array."""


@pytest.mark.parametrize(
    "data",
    [[Graph() for _ in range(9)], DataLoader([Graph() for _ in range(9)], 3, collate_fn=lambda samples: samples[0])],  # type: ignore[arg-type]
    ids=["samples", "batches"],
)
def test_samples_that_are_no_arrays_are_refused_with_the_way_to_compare_them(data: Any) -> None:
    with pytest.raises(InputError, match=r"must be arrays.*Graph.*np\.arange\(n\) and a `step`"):
        make_model_task(perceptron, data, step=steps)


def test_graphs_are_compared_by_their_numbers() -> None:
    samples = [torch.from_numpy(row) for row in X]

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        return model(torch.stack([samples[i] for i in batch])).square().mean()  # type: ignore[no-any-return]

    made = make_model_task(perceptron, np.arange(40), step=step)
    assert [slot.channels for slot in made.task.slots_of(made.task.options)] == [8]


def test_a_model_that_is_a_norm_itself_becomes_the_other() -> None:
    task = make_model_task(nn.BatchNorm1d(6), (X, CLASSES)).task
    assert isinstance(task.build(None, lambda slot: nn.LayerNorm(6)), nn.LayerNorm)


class Making:
    """Makes models with an activation, and steps with a factor."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, factor: float = 1.0) -> None:
        self.activation, self.factor = activation, factor

    def __call__(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), self.activation(), nn.Linear(8, 2))

    def step(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return self.factor * nn.functional.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize(
    "changed",
    [
        lambda other: {"build": Making(nn.Tanh if other else nn.ReLU)},
        lambda other: {"build": Making(nn.Tanh if other else nn.ReLU).__call__},
        lambda other: {"build": partial(Making.__call__, Making(nn.Tanh if other else nn.ReLU))},
        lambda other: {"step": Making(factor=3.0 if other else 1.0).step},
    ],
)
def test_a_folder_does_not_give_runs_of_other_settings(
    tmp_path: Path, changed: Callable[[bool], dict[str, Any]]
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    given: dict[str, Any] = {"build": Making(), "data": (x, (x[:, 0] > 0).astype(np.int64)), "norms": ["layer"]}
    fields: dict[str, Any] = {"seeds": 1, "epochs": 1, "batch_size": 12, "quiet": True}
    losses = [
        normlab.compare(**{**given, **changed(other)}, out=out, **fields).metrics()["test_loss"].to_list()
        for other, out in ((False, tmp_path / "kept"), (True, tmp_path / "kept"), (True, None), (False, None))
    ]
    assert losses[1] == losses[2]
    assert losses[0] == losses[3] != losses[1]
    told: list[normlab.Progress] = []
    normlab.compare(**{**given, **changed(True)}, out=tmp_path / "kept", on_progress=told.append, **fields)
    assert told[-1].before == 2, "equal settings are not trained again"


def test_a_loss_that_has_no_hash_is_a_loss() -> None:
    @dataclass
    class Weighted:
        factor: float

        def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return self.factor * nn.functional.cross_entropy(outputs, targets)

    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    given = (Making(), (x, (x[:, 0] > 0).astype(np.int64)), ["layer"])
    fields: dict[str, Any] = {"seeds": 1, "epochs": 1, "batch_size": 12, "optimizer": "adam", "quiet": True}
    once, twice = (normlab.compare(*given, loss=Weighted(factor), **fields).metrics() for factor in (1.0, 2.0))
    np.testing.assert_allclose(2 * once["test_loss"].to_numpy(), twice["test_loss"].to_numpy(), rtol=1e-3)
