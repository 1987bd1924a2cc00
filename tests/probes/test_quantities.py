"""Each probe against a closed form, or against another way to compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, log, pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.probes.activation_rank import ranks
from normlab.probes.calibration import calibration
from normlab.probes.catalog import PROBES
from normlab.probes.closeup import Closeup
from normlab.probes.curvature import largest_eigenvalue
from normlab.probes.gradient_noise import noise_scale
from normlab.probes.landscape import STEPS, along_gradient
from normlab.probes.layer_gradients import growth
from normlab.probes.robustness import EPSILON, NOISE
from normlab.probes.spec import Probe
from normlab.probes.surface import Surface
from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import R2, SQUARED_ERROR
from normlab.tasks.samples import Samples
from normlab.tasks.spec import Task

BY_NAME = {probe.name: probe for probe in PROBES}


def closeup(model: nn.Module, samples: Samples, test: Samples | None = None, **values: Any) -> Closeup:
    """A run of any model on any data, as a probe sees it."""
    data = Data(Part(np.zeros((1, 1)), np.zeros(1)))
    task = Task("mine", "Mine", lambda *_: data, lambda *_: model, SQUARED_ERROR, 1, ("test",), (R2,))
    fields: dict[str, Any] = {
        "task": task,
        "loss": SQUARED_ERROR,
        "slots": (),
        "weights": tuple(name for name, parameter in model.named_parameters() if parameter.dim() > 1),
        "learning_rate": 0.01,
        "batch_size": 10,
        "stream": lambda purpose: stream(0, purpose),
    }
    return Closeup(model=model, parts={"training": samples, "test": test or samples}, **{**fields, **values})


def measured(name: str, given: Closeup) -> Mapping[str, float]:
    """What a probe measures there."""

    class Now:
        keeps_running_statistics = True

        def closeup(self) -> Closeup:
            return given

    return BY_NAME[name].measure(Now())  # type: ignore[arg-type]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


def regression(samples: int, features: int) -> tuple[nn.Module, Samples]:
    model = nn.Linear(features, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(gaussian(1, features, seed=1))
    return model, (gaussian(samples, features), gaussian(samples, 1, seed=2))


def test_the_landscape_of_a_quadratic() -> None:
    model, (inputs, targets) = regression(40, 3)
    weights = model.weight.detach()[0]
    hessian = 2 * inputs.T @ inputs / 40
    gradient = 2 * inputs.T @ (inputs @ weights - targets[:, 0]) / 40
    loss = squared_error(inputs @ weights, targets[:, 0])
    losses = [loss - step * gradient @ gradient + step**2 / 2 * gradient @ hessian @ gradient for step in (0, *STEPS)]
    bend = (hessian @ gradient).norm()
    expected = {
        "loss_range": max(losses) - min(losses),
        "loss_range_relative": (max(losses) - min(losses)) / loss,
        "gradient_predictiveness": 0.4 * bend,
        "gradient_predictiveness_relative": 0.4 * bend / gradient.norm(),
        "effective_smoothness": bend / gradient.norm(),
    }
    found = along_gradient(Surface(model, squared_error, (inputs, targets)))
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-10)
    whole = measured("landscape", closeup(model, (inputs, targets), batch_size=40))
    assert whole == pytest.approx(found, rel=1e-10), "one block is the whole set"


NOT_SMOOTH = {"frn"}  # on single elements it is a step
NOT_EXACT = {"spectral"}  # whose gradient takes singular vectors for constants, which finite differences do not
GROUPED = {"group", "batch-group", "standardized-group"}


@pytest.mark.parametrize("norm", [spec.name for spec in NORMS if "NC" in spec.axes and spec.name not in NOT_SMOOTH])
def test_products_with_the_hessian_and_its_largest_eigenvalue(norm: str) -> None:
    built = parse(f"{norm}:groups=2" if norm in GROUPED else norm)
    torch.manual_seed(0)
    first, inner = nn.Linear(3, 4), nn.Linear(4, 4)
    model = nn.Sequential(first, built.build(Slot(4)), nn.Tanh(), inner, nn.Tanh(), nn.Linear(4, 2)).double()
    if built.spec.wrap is not None:
        built.spec.wrap(first, built.options)
    samples = gaussian(12, 3), gaussian(12, 2, seed=1)
    surface = Surface(model, squared_error, samples)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, at_start = surface.gradient()
    with surface.hessian() as product:
        whole = torch.stack([product(unit) for unit in torch.eye(len(surface.weights)).double()])
        top = largest_eigenvalue(product, gaussian(len(surface.weights), seed=3))
    assert torch.allclose(whole, whole.T, atol=1e-8)
    assert top == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=2e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(surface.gradient()[1], at_start)
    if norm in NOT_EXACT:
        return
    vector, step = gaussian(len(surface.weights), seed=4), 1e-5
    ahead, behind = (surface.gradient(surface.weights + sign * step * vector)[1] for sign in (1, -1))
    assert torch.allclose((ahead - behind) / (2 * step), whole @ vector, atol=1e-5 * float(at_start.norm() + 1))


def test_the_largest_eigenvalue_of_a_known_spectrum() -> None:
    rotation, _ = torch.linalg.qr(gaussian(100, 100))
    spectrum = torch.cat([torch.linspace(-3, 2, 99).double(), torch.tensor([2.5]).double()])
    matrix = rotation @ torch.diag(spectrum) @ rotation.T
    assert largest_eigenvalue(lambda vector: matrix @ vector, gaussian(100, seed=1)) == pytest.approx(2.5, rel=1e-3)
    assert largest_eigenvalue(lambda vector: -2 * vector, gaussian(100)) == pytest.approx(-2)
    assert np.isnan(largest_eigenvalue(lambda vector: vector * np.inf, gaussian(100)))


def test_curvature_times_the_squared_norm_does_not_feel_the_length_of_weights_before_a_norm() -> None:
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4, affine=False, eps=1e-12)).double()
    samples = gaussian(30, 5), gaussian(30, 4, seed=1)
    short = measured("curvature", closeup(model, samples))
    with torch.no_grad():
        model[0].weight.mul_(3)
    long = measured("curvature", closeup(model, samples))
    assert long["hessian_top"] == pytest.approx(short["hessian_top"] / 9, rel=5e-3)
    assert long["hessian_top_scaled"] == pytest.approx(short["hessian_top_scaled"], rel=5e-3)


def test_the_noise_scale_of_linear_regression() -> None:
    """Of the error d of the weights and noise of variance s^2: (features + 1) + features s^2 / |d|^2."""
    features, count, noise = 4, 200_000, 0.7
    inputs, off = gaussian(count, features), torch.tensor([0.5, -0.2, 0.1, 0.3]).double()
    targets = -(inputs @ off)[:, None] + noise * gaussian(count, 1, seed=1)
    model = nn.Linear(features, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    expected = features + 1 + features * noise**2 / float(off @ off)
    found = measured("gradient_noise_scale", closeup(model, (inputs, targets), batch_size=count // 16))
    assert found["gradient_noise_scale"] == pytest.approx(expected, rel=0.5), "sixteen blocks are a rough estimate"
    by_sample = 2 * (inputs * -targets)[: count // 4]
    assert noise_scale(list(by_sample), 1) == pytest.approx(expected, rel=0.03)


def test_the_noise_scale_is_the_trace_of_the_covariance_over_the_squared_mean() -> None:
    rows = gaussian(50, 6) + 1
    covariance = torch.cov(rows.T)
    signal = float(rows.mean(dim=0).square().sum() - covariance.trace() / 50)
    assert noise_scale(list(rows), 1) == pytest.approx(float(covariance.trace()) / signal, rel=1e-10)
    assert noise_scale(list(rows), 8) == pytest.approx(8 * noise_scale(list(rows), 1), rel=1e-10)


def test_dead_units() -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [1.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -9.0, 9.0]))  # the third is dead
        nn.init.zeros_(model[2].weight)
        model[2].bias.copy_(torch.tensor([-1.0, -1.0]))
    samples = torch.linspace(-1, 1, 20).double()[:, None], torch.zeros(20, 2).double()
    assert measured("dead_units", closeup(model, samples)) == {"dead_units": 0.625, "dead_units_last": 1.0}
    assert measured("dead_units", closeup(nn.Linear(1, 2).double(), samples)) == {}


def test_ranks_of_known_matrices() -> None:
    matrix = gaussian(30, 7)
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    shares = values / values.sum()
    units = matrix / matrix.norm(dim=1, keepdim=True)
    cosines = (units @ units.T).numpy()
    found = ranks(matrix)
    assert found["entropy_rank"] == pytest.approx(exp(-(shares * np.log(shares)).sum()))
    assert found["effective_rank"] == pytest.approx((values**2).sum() / values[0] ** 2)
    assert found["activation_similarity"] == pytest.approx(cosines[~np.eye(30, dtype=bool)].mean())
    line = ranks(torch.arange(1.0, 9.0)[:, None] @ torch.ones(1, 5))
    assert line == pytest.approx({"entropy_rank": 1, "effective_rank": 1, "activation_similarity": 1}, rel=1e-5)


def test_the_activations_are_those_of_the_last_slot() -> None:
    model = nn.Sequential(nn.Identity(), nn.Conv2d(2, 3, 1), nn.Tanh()).double()
    samples = gaussian(20, 2, 4, 4), gaussian(20, 3, 4, 4)
    slots = (Slot(2, "NCHW", (4, 4), name="0"), Slot(3, "NCHW", (4, 4), name="1"))
    outputs = model[1](samples[0]).detach().permute(0, 2, 3, 1).reshape(-1, 3)
    assert measured("activation_rank", closeup(model, samples, slots=slots)) == pytest.approx(ranks(outputs))


def batch_model() -> tuple[nn.Module, Samples]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-12), nn.Tanh(), nn.Linear(4, 1)).double()
    return model, (gaussian(50, 3), gaussian(50, 1, seed=1))


def test_the_distance_of_running_statistics() -> None:
    model, samples = batch_model()
    arriving = model[0](samples[0]).detach()
    mean, variance = arriving.mean(dim=0), arriving.var(dim=0, correction=0)

    def distance(shift: float, factor: float) -> Mapping[str, float]:
        model[1].running_mean.copy_(mean + shift * variance.sqrt())
        model[1].running_var.copy_(variance * factor**2)
        return measured("statistics_distance", closeup(model, samples))

    names = "running_distance", "running_mean_distance", "running_scale_distance"
    assert distance(0, 1) == pytest.approx(dict.fromkeys(names, 0), abs=1e-12)
    assert distance(-2, 3) == pytest.approx(dict(zip(names, (2 + log(3), 2, log(3)), strict=True)))
    assert torch.equal(model[1].running_var, variance * 9), "it stays as it was"


def test_weights_and_the_effective_rate() -> None:
    model, samples = batch_model()
    found = measured("weights", closeup(model, samples, slots=(Slot(4, layer="0", name="1"),), learning_rate=0.3))
    first, last = (float(model[place].weight.detach().square().sum()) for place in (0, 3))
    assert found == pytest.approx({"weight_norm": (first + last) ** 0.5, "effective_rate": 0.3 / first})
    assert set(measured("weights", closeup(model, samples))) == {"weight_norm"}


def test_calibration_against_a_plain_loop() -> None:
    outputs, targets = 3 * gaussian(200, 4), torch.from_numpy(np.random.default_rng(5).integers(0, 4, 200))
    likelihood, brier, bins = 0.0, 0.0, [[0, 0.0, 0.0] for _ in range(15)]
    for row, target in zip(outputs.numpy(), targets.tolist(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        likelihood -= log(p[target]) / 200
        brier += sum((p[k] - (k == target)) ** 2 for k in range(4)) / 200
        place = next(k for k in range(15) if p.max() <= (k + 1) / 15)
        bins[place][0] += 1
        bins[place][1] += p.argmax() == target
        bins[place][2] += p.max()
    gap = sum(count / 200 * abs(right / count - sure / count) for count, right, sure in bins if count)
    assert calibration(outputs, targets) == pytest.approx({"nll": likelihood, "brier": brier, "ece": gap})


def test_batch_norm_makes_squared_gradients_grow_as_yang_et_al_say() -> None:
    """G. Yang et al., 2019, arXiv:1902.08129: by pi / (pi - 1) a layer in wide ReLU networks, for large batches."""
    torch.manual_seed(0)
    width, depth = 300, 16

    def block(inputs: int) -> list[nn.Module]:
        linear = nn.Linear(inputs, width, bias=False)
        nn.init.normal_(linear.weight, std=inputs**-0.5)
        return [linear, nn.BatchNorm1d(width), nn.ReLU()]

    blocks = [layer for _ in range(depth) for layer in block(width)]
    model = nn.Sequential(*blocks, nn.Linear(width, 1)).double()
    samples = gaussian(600, width), gaussian(600, 1, seed=1)
    found = measured("layer_gradients", closeup(model, samples))
    assert found["gradient_growth"] == pytest.approx(pi / (pi - 1), rel=0.05)
    assert found["gradient_norm_first"] > 3 * found["gradient_norm_last"]
    assert growth([4.0, 2.0, 1.0]) == pytest.approx(4)


def test_robustness_of_a_linear_model() -> None:
    model, training = regression(60, 3)
    inputs, targets = gaussian(40, 3, seed=7), gaussian(40, 1, seed=8)
    weights, scale = model.weight.detach(), float(training[0].std(correction=0))
    found = measured("robustness", closeup(model, training, (inputs, targets)))
    off = (inputs @ weights.T - targets).abs()
    assert found["test_loss_fgsm"] == pytest.approx(
        float((off + EPSILON * scale * weights.abs().sum()).square().mean())
    )
    clean, added = float(off.square().mean()), (NOISE * scale) ** 2 * float(weights.square().sum())
    assert found["test_loss_noise"] == pytest.approx(clean + added, rel=0.5)
    assert found == measured("robustness", closeup(model, training, (inputs, targets))), "its noise is always the same"
    assert measured("robustness", closeup(model, (torch.ones(4, 3).long(), torch.ones(4, 1)))) == {}


def test_blocks_are_disjoint_and_the_same_each_time() -> None:
    samples = torch.arange(25.0)[:, None], torch.arange(25.0)
    given = closeup(nn.Linear(1, 1), samples)
    blocks = given.blocks(10, 5)
    rows = [set(targets.tolist()) for _, targets in blocks]
    assert [len(block) for block in rows] == [10, 10]
    assert not rows[0] & rows[1]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(blocks, given.blocks(10, 5), strict=True))
    assert len(given.blocks(100)[0][1]) == 25


@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe.series], ids=lambda probe: probe.name)
def test_what_is_said_of_series_is_said_of_those_that_there_are(probe: Probe) -> None:
    model, samples = batch_model()
    blocks = nn.Sequential(model, nn.ReLU())
    classify: Callable[..., Closeup] = closeup
    given = classify(blocks, samples, slots=(Slot(4, layer="0.0", name="0.1"),))
    if probe.name in {"calibration", "robustness"}:  # of classifiers: their names are tested with the engines
        return
    assert set(measured(probe.name, given)) == {quantity.name for quantity in probe.series}
