"""The formulas of the norms as one would write them down, in torch's operations.

They are training's, from fresh buffers, and keep no running statistics: that much less to do than the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from normlab.norms.slot import Slot
from normlab.norms.spec import Norm

Formula = Callable[..., Tensor]


class Composition(nn.Module):
    """A formula of the input and of the parameters of our layer, which it has too."""

    def __init__(self, formula: Formula, ours: nn.Module) -> None:
        super().__init__()
        self.formula = formula
        for name, value in ours.named_parameters():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, **dict(self.named_parameters()))


def composition(norm: Norm, slot: Slot) -> Formula:
    """The formula of a norm of activations on N,L,C or N,C,H,W tensors.

    Raises:
        KeyError: nobody has written it down here.
    """
    options = norm.options
    eps = float(options.get("weight_eps", options.get("eps", 0.0))) or torch.finfo(torch.float32).eps
    if slot.layout == "NLC":
        return _features(eps, -1, ())[norm.spec.name]
    known: Mapping[str, Formula] = {**_features(eps, 1, (1,) * len(slot.extent)), **_images(eps, options)}
    return known[norm.spec.name]


def _features(eps: float, axis: int, trailing: tuple[int, ...]) -> Mapping[str, Formula]:
    """Element by element, or over the features of a position."""

    def along(values: Tensor) -> Tensor:
        return values.view(-1, *trailing)

    def layer(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        y = _standardize(x, (axis,), eps)
        return y if weight is None or bias is None else y * along(weight) + along(bias)

    return {
        "bias": lambda x, bias: x + along(bias),
        "dyt": lambda x, alpha, weight, bias: along(weight) * torch.tanh(alpha * x) + along(bias),
        "derf": lambda x, alpha, shift, weight, bias: along(weight) * torch.erf(alpha * x + shift) + along(bias),
        "rms": lambda x, weight: along(weight) * x * torch.rsqrt(x.pow(2).mean(axis, keepdim=True) + eps),
        "scale": lambda x, weight: weight * x / x.norm(dim=axis, keepdim=True).clamp_min(eps),
        "unit": lambda x: x / x.norm(dim=axis, keepdim=True).clamp_min(eps),
        "layer": layer,
        "layer2d": layer,
        "pono": layer,
    }


def _images(eps: float, options: Mapping[str, object]) -> Mapping[str, Formula]:
    """Over positions, and batch or channels with them."""
    groups, size = int(str(options.get("groups", 1))), int(str(options.get("size", 1)))
    batch, positions, features = (0, 2, 3), (2, 3), (1, 2, 3)

    def affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if weight is None or bias is None:
            return y
        shape = (-1, 1, 1) if weight.dim() == 1 else weight.shape
        return y * weight.view(shape) + bias.view(shape)

    def standardized(axes: tuple[int, ...], view: Callable[[Tensor], Tensor] = lambda x: x) -> Formula:
        def formula(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
            return affine(_standardize(view(x), axes, eps).view(x.shape), weight, bias)

        return formula

    def in_groups(x: Tensor) -> Tensor:
        return x.view(len(x), groups, -1)

    def in_chunks(x: Tensor) -> Tensor:
        return x.view(-1, min(len(x), size), *x.shape[1:])

    def spread(x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return torch.sqrt(x.var(axes, unbiased=False, keepdim=True) + eps)

    def renorm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The first step: running mean 0 and sigma 1, rmax 1 and dmax 0."""
        mean, sigma = x.mean(batch, keepdim=True), spread(x, batch)
        r, d = sigma.detach().clamp(1.0, 1.0), mean.detach().clamp(0.0, 0.0)
        return affine((x - mean) / sigma * r + d, weight, bias)

    def switchable(x: Tensor, weight: Tensor, bias: Tensor, mean_weight: Tensor, var_weight: Tensor) -> Tensor:
        kinds = (positions, features, batch)
        means = [x.mean(axes, keepdim=True) for axes in kinds]
        variances = [x.var(axes, unbiased=False, keepdim=True) for axes in kinds]
        mean, variance = (
            sum(share * value for share, value in zip(shares.softmax(0), values, strict=True))
            for shares, values in ((mean_weight, means), (var_weight, variances))
        )
        return affine((x - mean) / torch.sqrt(variance + eps), weight, bias)

    def frn(x: Tensor, weight: Tensor, bias: Tensor, tau: Tensor) -> Tensor:
        y = affine(x * torch.rsqrt(x.pow(2).mean(positions, keepdim=True) + eps), weight, bias)
        return torch.maximum(y, tau.view(-1, 1, 1))

    def evonorm_b0(x: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        return affine(x / torch.maximum(spread(x, batch), v.view(-1, 1, 1) * x + spread(x, positions)), weight, bias)

    def evonorm_s0(x: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Tensor:
        y = x * torch.sigmoid(v.view(-1, 1, 1) * x)
        return affine((in_groups(y) / spread(in_groups(x), (2,))).view(x.shape), weight, bias)

    return {
        "batch": standardized(batch),
        "sync-batch": standardized(batch),
        "ghost": standardized((1, 3, 4), in_chunks),
        "batch-renorm": renorm,
        "mean-only-batch": lambda x, bias: x - x.mean(batch, keepdim=True) + bias.view(-1, 1, 1),
        "variance-only-batch": lambda x, weight, bias: affine(x / spread(x, batch), weight, bias),
        "batch-group": standardized((0, 2), in_groups),
        "switchable": switchable,
        "layer-chw": standardized(features),
        "group": standardized((2,), in_groups),
        "instance": standardized(positions),
        "frn": frn,
        "evonorm-b0": evonorm_b0,
        "evonorm-s0": evonorm_s0,
        "standardized": lambda x: _standardize(x, features, eps),  # of a weight: its fan-in stands behind the outputs
    }


def _standardize(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)
