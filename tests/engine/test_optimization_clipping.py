"""Gradient clipping against torch's, timm's and written-out formulas; replicas never mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from costs.vision import import_torchvision
from normlab.engine.optimization import clip
from normlab.training import Training

SHAPES = {"kernel": (4, 3, 3, 3), "matrix": (5, 4), "bias": (5,), "gain": (), "output.weight": (2, 5)}
LIMITS: list[dict[str, float]] = [
    {"clip_norm": 0.7},
    {"clip_value": 0.3},
    {"clip_adaptive": 0.05},
    {"clip_value": 1.0, "clip_adaptive": 0.5, "clip_norm": 2.0},
]


def tensors(seed: int, replicas: int, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.randn(replicas, *shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def torch_parameters(gradients: dict[str, Tensor]) -> list[torch.nn.Parameter]:
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient[0])) for gradient in gradients.values()]
    for parameter, gradient in zip(parameters, gradients.values(), strict=True):
        parameter.grad = gradient[0].clone()
    return parameters


def test_by_norm_is_torchs() -> None:
    gradients = tensors(1, 1)
    parameters = torch_parameters(gradients)
    torch.nn.utils.clip_grad_norm_(parameters, 0.7)
    clipped = clip(gradients, gradients, Training(clip_norm=0.7))
    for parameter, gradient in zip(parameters, clipped.values(), strict=True):
        torch.testing.assert_close(gradient[0], parameter.grad, rtol=1e-12, atol=0)
    whole = sum(float(gradient.square().sum()) for gradient in clipped.values())
    assert whole**0.5 == pytest.approx(0.7, rel=1e-5)


def test_by_value_is_torchs() -> None:
    gradients = tensors(2, 1)
    parameters = torch_parameters(gradients)
    torch.nn.utils.clip_grad_value_(parameters, 0.3)
    clipped = clip(gradients, gradients, Training(clip_value=0.3))
    assert all(
        torch.equal(gradient[0], parameter.grad)  # type: ignore[arg-type]
        for parameter, gradient in zip(parameters, clipped.values(), strict=True)
    )


def adaptive(gradient: np.ndarray, weight: np.ndarray, limit: float) -> np.ndarray:
    """Unit by unit in plain loops: an output of a matrix or kernel is a unit, a vector is one unit."""
    if gradient.ndim < 2:
        gradients, weights = gradient.reshape(1, -1), weight.reshape(1, -1)
    else:
        gradients, weights = gradient.reshape(len(gradient), -1), weight.reshape(len(weight), -1)
    rows = []
    for g, w in zip(gradients, weights, strict=True):
        longest = limit * max(np.sqrt((w**2).sum()), 1e-3)
        length = np.sqrt((g**2).sum())
        rows.append(g * longest / length if length > longest else g)
    return np.stack(rows).reshape(gradient.shape)


def test_adaptive_clipping_is_the_formula_and_leaves_the_output_layer_alone() -> None:
    gradients, weights = tensors(3, 1, 0.2), tensors(4, 1)
    weights["bias"].zero_()  # counts as 0.001 long
    weights["matrix"][0, 1] = 100.0  # a unit that is not clipped
    clipped = clip(gradients, weights, Training(clip_adaptive=0.05), output={"output.weight"})
    for name in SHAPES.keys() - {"output.weight"}:
        expected = adaptive(gradients[name][0].numpy(), weights[name][0].numpy(), 0.05)
        np.testing.assert_allclose(clipped[name][0].numpy(), expected, rtol=1e-12)
        assert not np.array_equal(expected, gradients[name][0].numpy())
    assert torch.equal(clipped["matrix"][0, 1], gradients["matrix"][0, 1])
    assert float(clipped["bias"].norm()) == pytest.approx(0.05 * 1e-3)
    assert torch.equal(clipped["output.weight"], gradients["output.weight"])


def test_adaptive_clipping_is_timms() -> None:
    import_torchvision()
    agc = pytest.importorskip("timm.utils.agc", reason="the extra `oracles` brings timm")
    gradients, weights = tensors(5, 1, 0.2), tensors(6, 1)
    parameters = torch_parameters(gradients)
    for parameter, weight in zip(parameters, weights.values(), strict=True):
        parameter.data.copy_(weight[0])
    agc.adaptive_clip_grad(parameters, clip_factor=0.05, eps=1e-3)
    clipped = clip(gradients, weights, Training(clip_adaptive=0.05))
    for parameter, gradient in zip(parameters, clipped.values(), strict=True):
        torch.testing.assert_close(gradient[0], parameter.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_a_replica_is_clipped_as_if_it_were_alone(limits: dict[str, float]) -> None:
    training = Training(**limits)
    gradients, weights = tensors(7, 3), tensors(8, 3)
    for name in SHAPES:
        gradients[name][1] *= 100
        gradients[name][2] = float("nan")
    clipped = clip(gradients, weights, training)
    for replica in (0, 1):
        alone = clip(
            {name: value[replica : replica + 1] for name, value in gradients.items()},
            {name: value[replica : replica + 1] for name, value in weights.items()},
            training,
        )
        for name in SHAPES:
            torch.testing.assert_close(clipped[name][replica], alone[name][0], rtol=1e-13, atol=0)
            assert clipped[name][replica].isfinite().all()


def test_gradients_within_the_limits_keep_their_bits() -> None:
    gradients, weights = tensors(9, 2, 1e-6), tensors(10, 2)
    clipped = clip(gradients, weights, Training(clip_value=1.0, clip_adaptive=0.5, clip_norm=1.0))
    assert all(torch.equal(clipped[name], gradients[name]) for name in SHAPES)


def test_no_gradients_are_no_error() -> None:
    assert clip({}, {}, Training(clip_norm=1.0, clip_adaptive=1.0)) == {}
