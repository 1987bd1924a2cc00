"""Updates against written-out optimizers, torch's own, one large batch, and each replica alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.torch_version import TorchVersion

from normlab.engine.optimization import Optimization, freeze, optimizer_obstacle, parameter_kinds, training_loss
from normlab.engine.optimization.kinds import ParameterKinds
from normlab.engine.optimization.schedules import factor
from normlab.errors import InputError
from normlab.tasks.losses import CROSS_ENTROPY, SQUARED_ERROR
from normlab.training import Training

Array = NDArray[np.float64]
KINDS = ParameterKinds(
    weights=frozenset({"kernel", "matrix", "output"}),
    hidden=frozenset({"kernel", "matrix"}),
    output=frozenset({"output"}),
    norms=frozenset({"gain"}),
)
SHAPES = {"kernel": (4, 3, 2, 2), "matrix": (6, 4), "gain": (6,), "output": (2, 6)}
SAMPLES, BATCH = 80, 16  # five steps an epoch
CASES: list[dict[str, object]] = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine", "warmup": 3},
    {"optimizer": "adam", "clip_norm": 0.5, "accumulation": 2},
    {"optimizer": "adamw", "clip_adaptive": 0.1, "clip_value": 0.5, "schedule": "step"},
]
MUON: dict[str, object] = {"optimizer": "muon", "weight_decay": 0.1, "schedule": "cosine"}


def training_of(values: dict[str, object], **more: object) -> Training:
    return Training(**{"batch_size": BATCH, "epochs": 2, "learning_rate": 0.05, "dtype": "float64", **values, **more})


def tensors(seed: int, replicas: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(replicas, *shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()
    }


def gradients_of(steps: int, replicas: int = 1) -> list[dict[str, Tensor]]:
    return [tensors(100 + step, replicas) for step in range(steps)]


def alone(values: dict[str, Tensor], replica: int = 0) -> dict[str, Tensor]:
    return {name: value[replica].clone() for name, value in values.items()}


def trained(
    training: Training, parameters: dict[str, Tensor], gradients: list[dict[str, Tensor]], **how: object
) -> None:
    optimization = Optimization(parameters, KINDS, training, SAMPLES, **how)  # type: ignore[arg-type]
    for step in gradients:
        optimization.step(step, BATCH)


class WrittenOut:
    """SGD, Adam and AdamW in NumPy."""

    def __init__(self, training: Training, values: dict[str, Array]) -> None:
        self.training, self.values = training, values
        self.first = {name: np.zeros_like(value) for name, value in values.items()}
        self.second = {name: np.zeros_like(value) for name, value in values.items()}
        self.count = 0

    def update(self, gradients: dict[str, Array], rate: float) -> None:
        self.count += 1
        for name, gradient in gradients.items():
            decay = self.training.weight_decay if name in KINDS.weights else 0.0
            if self.training.optimizer == "adamw":
                self.values[name] = self.values[name] - rate * decay * self.values[name]
            else:
                gradient = gradient + decay * self.values[name]
            self.values[name] = self.values[name] - rate * self._direction(name, gradient)

    def _direction(self, name: str, gradient: Array) -> Array:
        if self.training.optimizer == "sgd":
            momentum = self.training.momentum
            self.first[name] = momentum * self.first[name] + gradient
            return gradient + momentum * self.first[name] if self.training.nesterov else self.first[name]
        self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
        self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
        mean = self.first[name] / (1 - 0.9**self.count)
        return mean / (np.sqrt(self.second[name] / (1 - 0.999**self.count)) + 1e-8)


@pytest.mark.parametrize("values", CASES[:5], ids=str)
def test_updates_are_the_formulas(values: dict[str, object]) -> None:
    training = training_of(values)
    parameters, gradients = alone(tensors(1, 1)), [alone(step) for step in gradients_of(10)]
    oracle = WrittenOut(training, {name: value.numpy().copy() for name, value in parameters.items()})
    trained(training, parameters, gradients)
    for number, step in enumerate(gradients):
        rate = training.learning_rate * factor(number, 10, training)
        oracle.update({name: gradient.numpy() for name, gradient in step.items()}, rate)
    for name, value in parameters.items():
        np.testing.assert_allclose(value.numpy(), oracle.values[name], rtol=1e-9, atol=1e-12)


def test_the_default_is_torchs_adam_to_the_bit() -> None:
    parameters = {name: value.float().requires_grad_() for name, value in alone(tensors(2, 1)).items()}
    theirs = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    adam = optim.Adam(theirs.values(), lr=1e-3)
    ours = Optimization(parameters, KINDS, Training(batch_size=BATCH), SAMPLES)
    for step in gradients_of(20):
        gradients = {name: value.float() for name, value in alone(step).items()}
        ours.step(gradients, BATCH)
        for name, value in theirs.items():
            value.grad = gradients[name].clone()
        adam.step()
    assert all(torch.equal(parameters[name], theirs[name]) for name in SHAPES)


@pytest.mark.parametrize("values", CASES, ids=str)
@pytest.mark.parametrize("fused", [None, True])
def test_a_replica_is_trained_as_if_it_were_alone(values: dict[str, object], fused: bool | None) -> None:
    """One replica diverges, which the others do not notice."""
    training, replicas = training_of(values), 3
    parameters, gradients = tensors(3, replicas), gradients_of(10, replicas)
    gradients[4]["matrix"][2] = float("nan")
    single = [alone(parameters, replica) for replica in range(replicas)]
    trained(training, parameters, gradients, replicas=True, fused=fused)
    for replica in (0, 1):
        trained(training, single[replica], [alone(step, replica) for step in gradients], fused=fused)
        for name in SHAPES:
            torch.testing.assert_close(parameters[name][replica], single[replica][name], rtol=1e-12, atol=1e-14)
    assert parameters["matrix"][2].isnan().any()


@pytest.mark.parametrize("values", [MUON, {**MUON, "clip_norm": 0.5, "accumulation": 3}], ids=str)
def test_a_replica_is_orthogonalized_as_if_it_were_alone(values: dict[str, object]) -> None:
    """Among replicas that differ by many orders of magnitude, and one that diverges; torch's does the one alone.

    In bfloat16 the order of a sum may show.
    """
    training, replicas = training_of(values), 3
    parameters, gradients = tensors(3, replicas), gradients_of(10, replicas)
    for step in gradients:
        for gradient in step.values():
            gradient[1] *= 1e6
    gradients[4]["matrix"][2] = gradients[4]["kernel"][2] = float("nan")
    start, single = copy.deepcopy(parameters), [alone(parameters, replica) for replica in range(replicas)]
    trained(training, parameters, gradients, replicas=True)
    for replica in (0, 1):
        trained(training, single[replica], [alone(step, replica) for step in gradients])
        for name in KINDS.hidden:
            error = (parameters[name][replica] - single[replica][name]).norm()
            assert error < 0.01 * (single[replica][name] - start[name][replica]).norm()
        for name in SHAPES.keys() - KINDS.hidden:
            torch.testing.assert_close(parameters[name][replica], single[replica][name], rtol=1e-12, atol=1e-14)
    assert parameters["matrix"][2].isnan().all()
    assert parameters["kernel"][2].isnan().all()


def orthogonalized(matrix: Array) -> Array:
    """Five Newton-Schulz iterations of K. Jordan's quintic."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / np.linalg.norm(wide)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if wide is not matrix else x


def test_muon_is_the_formula_for_hidden_matrices_and_kernels_and_adamw_for_the_rest() -> None:
    training = training_of(MUON)
    parameters, gradients = alone(tensors(5, 1)), [alone(step) for step in gradients_of(10)]
    start = {name: value.numpy().copy() for name, value in parameters.items()}
    trained(training, parameters, gradients)

    rest = WrittenOut(training_of({**MUON, "optimizer": "adamw"}), {name: start[name] for name in ("gain", "output")})
    hidden = {name: start[name].reshape(len(start[name]), -1) for name in KINDS.hidden}
    momentum = {name: np.zeros_like(value) for name, value in hidden.items()}
    moved = dict.fromkeys(hidden, 0.0)
    for number, step in enumerate(gradients):
        rate = training.learning_rate * factor(number, 10, training)
        rest.update({name: step[name].numpy() for name in rest.values}, rate)
        for name, value in hidden.items():
            gradient = step[name].numpy().reshape(value.shape)
            momentum[name] = 0.95 * momentum[name] + 0.05 * gradient
            update = orthogonalized(0.95 * momentum[name] + 0.05 * gradient)
            moved[name] += rate * 0.2 * max(value.shape) ** 0.5
            hidden[name] = (1 - rate * 0.1) * value - rate * 0.2 * max(value.shape) ** 0.5 * update
    for name, value in rest.values.items():
        np.testing.assert_allclose(parameters[name].numpy(), value, rtol=1e-9, atol=1e-12)
    for name, value in hidden.items():
        error = parameters[name].numpy().reshape(value.shape) - value
        assert np.abs(error).max() < 0.02 * moved[name], "torch orthogonalizes in bfloat16"


def test_muon_is_torchs_to_the_bit() -> None:
    training = training_of({"optimizer": "muon"})
    parameters, gradients = alone(tensors(6, 1)), [alone(step) for step in gradients_of(10)]
    matrix = nn.Parameter(parameters["matrix"].clone())
    muon = optim.Muon([matrix], lr=0.05, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    trained(training, parameters, gradients)
    for step in gradients:
        matrix.grad = step["matrix"]
        muon.step()
    assert torch.equal(parameters["matrix"], matrix)


def test_an_old_torch_is_told_from_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert optimizer_obstacle(Training(optimizer="muon")) is None
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.1+cpu"))
    assert optimizer_obstacle(Training()) is None
    assert "2.9 or newer" in str(optimizer_obstacle(Training(optimizer="muon")))
    with pytest.raises(InputError, match=r"muon needs torch 2\.9 or newer, and this is torch 2\.8\.1"):
        Optimization(alone(tensors(1, 1)), KINDS, Training(optimizer="muon"), SAMPLES)


def net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).double()


NAMES = ("0.weight", "0.bias", "3.weight", "3.bias")


def batches(size: int, samples: int, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(samples, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (samples,), generator=generator)
    for _ in range(epochs):
        yield from zip(x.split(size), y.split(size), strict=True)


def fit(training: Training, samples: int) -> dict[str, Tensor]:
    model = net()
    freeze(model, parameter_kinds(model, NAMES).norms, training.trainable)
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimization = Optimization(learned, parameter_kinds(model, NAMES), training, samples)
    for x, y in batches(training.batch_size, samples, training.epochs):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        gradients = {name: value.grad for name, value in learned.items() if value.grad is not None}
        optimization.step(gradients, len(x))
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("values", [CASES[1], CASES[4], {"optimizer": "adam", "clip_norm": 0.3, "warmup": 4}], ids=str)
def test_accumulation_equals_a_large_batch_where_samples_are_independent(values: dict[str, object]) -> None:
    """52 samples: batches of 8 leave 4 behind, groups of three batches leave one such batch behind."""
    small = fit(training_of(values, batch_size=8, accumulation=3), 52)
    large = fit(training_of(values, batch_size=24), 52)
    for name, value in small.items():
        torch.testing.assert_close(value, large[name], rtol=1e-9, atol=1e-12)
    assert not torch.equal(small["0.weight"], fit(training_of(values, batch_size=8), 52)["0.weight"])


@pytest.mark.parametrize(
    ("trainable", "frozen"),
    [("all", set()), ("norms", set(NAMES)), ("all-but-norms", {"1.weight", "1.bias"})],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_what_is_frozen_stays_as_it_was(trainable: str, frozen: set[str], optimizer: str) -> None:
    start = dict(net().named_parameters())
    end = fit(training_of({"optimizer": optimizer, "trainable": trainable, "weight_decay": 0.5}, batch_size=8), 40)
    assert {name for name, value in end.items() if torch.equal(value, start[name])} == frozen


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_weight_decay_reaches_weight_matrices_only(optimizer: str) -> None:
    """With gradients of zero only what decays can change."""
    parameters = alone(tensors(7, 1))
    start = {name: value.clone() for name, value in parameters.items()}
    zeros = {name: torch.zeros_like(value) for name, value in parameters.items()}
    trained(training_of({"optimizer": optimizer, "weight_decay": 0.1}), parameters, [zeros])
    assert {name for name in SHAPES if not torch.equal(parameters[name], start[name])} == KINDS.weights


RECURRENT = {"recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 5)
        self.position = nn.Parameter(torch.zeros(3, 5))
        self.hidden = parametrizations.weight_norm(nn.Linear(5, 6))
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 7)


def test_kinds_of_embeddings_recurrent_layers_and_parametrized_weights() -> None:
    model = Recurrent()
    outside = [name for name, _ in model.named_parameters() if not name.startswith(("norm.", "hidden.parametri"))]
    kinds = parameter_kinds(model, [*outside, "hidden.weight"])
    direction = "hidden.parametrizations.weight.original1"
    assert kinds.hidden == {direction, *RECURRENT}
    assert kinds.weights == {"embedding.weight", "position", "head.weight", direction, *RECURRENT}
    assert kinds.output == {"head.weight", "head.bias"}
    assert kinds.norms == {"norm.weight", "norm.bias", "hidden.parametrizations.weight.original0"}


def test_a_head_that_shares_the_embedding_is_left_to_adamw() -> None:
    model = Recurrent()
    model.head = nn.Linear(4, 7)
    model.head.weight = model.embedding.weight
    outside = [name for name, _ in model.named_parameters() if not name.startswith(("norm.", "hidden.parametri"))]
    kinds = parameter_kinds(model, [*outside, "hidden.weight"])
    assert "embedding.weight" in kinds.weights
    assert kinds.hidden == {"hidden.parametrizations.weight.original1", *RECURRENT}
    assert kinds.output == {"embedding.weight", "head.bias"}


def test_label_smoothing_is_in_the_training_loss_only() -> None:
    outputs, targets = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    logs = outputs.log_softmax(1)
    wanted = 0.9 * functional.one_hot(targets, 4).double() + 0.1 / 4
    smoothed = training_loss(CROSS_ENTROPY, 0.1)(outputs, targets)
    torch.testing.assert_close(smoothed, -(wanted * logs).sum(1).mean(), rtol=1e-12, atol=0)
    assert training_loss(CROSS_ENTROPY, 0.0)(outputs, targets) == functional.cross_entropy(outputs, targets)
    with pytest.raises(InputError, match="label_smoothing needs a loss that has such a form"):
        training_loss(SQUARED_ERROR, 0.1)


def test_gradients_that_were_handed_in_are_not_changed() -> None:
    gradients = [alone(step) for step in gradients_of(4)]
    before = copy.deepcopy(gradients)
    trained(
        training_of({"clip_norm": 0.1, "clip_value": 0.2, "clip_adaptive": 0.1, "accumulation": 2}),
        alone(tensors(1, 1)),
        gradients,
    )
    assert all(torch.equal(gradients[step][name], before[step][name]) for step in range(4) for name in SHAPES)
