"""The formulas that a foreign layer is run beside: norms, what gamma and beta make of them, activations behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from normlab.norms.options import OptionValue
from normlab.recognition.known import Facts
from normlab.recognition.spec import Affine

if TYPE_CHECKING:
    from torch import Tensor, nn

EPS_NAMES = ("eps", "epsilon", "variance_epsilon", "norm_eps", "layer_norm_eps")
GROUP_NAMES = ("num_groups", "groups", "n_groups", "num_group")
USUAL_EPS = (0.0, 1e-5, 1e-6, 1e-12, 1e-8, 1e-3, 2.0**-23)
FUNCTIONS = ("relu", "silu", "gelu", "leaky_relu", "elu", "hardswish", "mish", "tanh", "sigmoid", "relu6")

Normalize = Callable[["Tensor", bool], "Tensor"]
Along = Callable[["Tensor"], "Tensor"]  # a vector of channels beside an input


@dataclass(frozen=True)
class LayerOutput:
    """An output of the layer: for which input, in double precision for the formulas, and in which mode."""

    inputs: Tensor
    training: bool
    output: Tensor


def tensors_in(module: nn.Module) -> dict[str, Tensor]:
    """The layer's own floating-point parameters and buffers by name."""
    own = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in own.items() if tensor is not None and tensor.is_floating_point()}


@dataclass(frozen=True)
class Formula:
    """A norm, its gamma and beta, and an activation, which may be what a layer computes."""

    facts: Facts
    normalize: Normalize
    gamma: Tensor | None
    beta: Tensor | None
    activate: Callable[[Tensor], Tensor]

    def explains(self, run: LayerOutput) -> bool:
        """Whether it gives the output of the run."""
        import torch

        axis = 1 if self.facts["order"] == "first" else -1
        output = self.normalize(run.inputs, run.training)
        for vector, combine in ((self.gamma, torch.mul), (self.beta, torch.add)):
            if vector is not None:
                if vector.numel() != run.inputs.shape[axis]:
                    return False
                shape = [1] * run.inputs.dim()
                shape[axis] = -1
                output = combine(output, vector.double().view(shape))
        try:
            activated = self.activate(output).float()
        except Exception:  # whatever a child of the layer raises that is no activation
            return False
        return activated.shape == run.output.shape and torch.allclose(activated, run.output, rtol=2e-4, atol=2e-5)


def formulas(subject: nn.Module, channels: int) -> Iterator[Formula]:
    """All that the layer may compute, the simplest first."""
    tensors = tensors_in(subject)
    vectors = {name: tensor.flatten() for name, tensor in tensors.items() if tensor.numel() == channels}
    mean = next((name for name in vectors if "mean" in name), "")
    spread = next((name for name in vectors if "var" in name), "")
    learned = [name for name in vectors if name not in (mean, spread)]
    weight = next((name for name in learned if re.search("weight|gamma|scale|^g$|^w$", name)), "")
    bias = next((name for name in learned if re.search("bias|beta|shift|^b$", name)), "")
    running = (mean, spread) if mean and spread else ()
    affines = [(Affine(weight, bias), vectors.get(weight))]
    if weight:
        affines.append((Affine(weight, bias, 1.0), vectors[weight] + 1))
    statistics = (vectors[mean], vectors[spread]) if running else None
    normalizations = [(facts, cache(normalize)) for facts, normalize in _normalizations(subject, statistics)]
    for activation, activate in _activations(subject):
        for facts, normalize in normalizations:
            for affine, gamma in affines:
                whole = {**facts, "affine": affine, "activation": activation}
                whole["running"] = running
                yield Formula(whole, normalize, gamma, vectors.get(bias), activate)
    for name in learned:
        if name not in (weight, bias):
            for facts, divide, activate in _activating(subject, vectors[name], vectors.get(spread)):
                whole = {**facts, "order": "first", "affine": affines[0][0]}
                whole["running"] = (spread,) if facts["kind"] == "evonorm-b0" else ()
                yield Formula(whole, divide, affines[0][1], vectors.get(bias), activate)


def _activating(
    subject: nn.Module, vector: Tensor, variance: Tensor | None
) -> Iterator[tuple[Facts, Normalize, Callable[[Tensor], Tensor]]]:
    """Norms that are an activation as well, with a further learned vector: EvoNorm's v, or the threshold tau."""
    import torch

    def along(x: Tensor) -> Tensor:
        return vector.to(x).view(1, -1, *[1] * (x.dim() - 2))

    def same(x: Tensor) -> Tensor:
        return x

    for eps in _epsilons(subject):
        options: dict[str, OptionValue] = {"eps": eps}
        if variance is not None:
            moving = {**options, **_moving(subject)}
            b0 = partial(_evonorm_b0, along=along, variance=variance, eps=eps)
            yield {"kind": "evonorm-b0", "options": moving}, b0, same
            continue
        if groups := groups_in(subject):
            s0 = partial(_evonorm_s0, along=along, channels=len(vector), groups=groups, eps=eps)
            yield {"kind": "evonorm-s0", "options": {"groups": groups, **options}}, s0, same
        filtered = partial(_positions, eps=eps)
        yield {"kind": "frn", "options": options}, filtered, lambda x: torch.maximum(x, along(x))


def _activations(subject: nn.Module) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """None, the layer's own child modules (dropout in evaluation), and usual functions."""
    from torch.nn import Identity, functional

    yield "", lambda x: x
    for name, child in subject.named_children():
        if not isinstance(child, Identity) and not type(child).__name__.startswith(("Drop", "drop")):
            yield name, lambda x, child=child: child(x.float())  # type: ignore[misc]
    for name in FUNCTIONS:
        yield name, getattr(functional, name)


def _normalizations(subject: nn.Module, statistics: tuple[Tensor, Tensor] | None) -> Iterator[tuple[Facts, Normalize]]:
    """Norms with each eps that may be the layer's."""
    groups = groups_in(subject)
    for eps in _epsilons(subject):
        options: dict[str, OptionValue] = {"eps": eps}
        if statistics is not None:
            moving = {**options, **_moving(subject)}
            facts = {"kind": "batch", "options": moving, "order": "first"}
            yield facts, partial(_batch, statistics=statistics, eps=eps, axes=(0,))
            yield {**facts, "frozen": True}, partial(_batch, statistics=statistics, eps=eps)
            apart = partial(_batch, statistics=statistics, eps=eps, axes=())
            yield {**facts, "kind": "instance", "options": {**moving, "track_running_stats": True}}, apart
            continue
        for order, axis in (("last", -1), ("first", 1)):
            layer = "layer" if axis == -1 else "layer2d"
            yield {"kind": layer, "options": options, "order": order}, partial(_over, axis=axis, eps=eps, centred=True)
            yield {"kind": "rms", "options": options, "order": order}, partial(_over, axis=axis, eps=eps, centred=False)
            yield {"kind": "unit", "options": options, "order": order}, partial(_unit, axis=axis, eps=eps)
        grouped = {"kind": "group", "options": {"groups": groups, **options}, "order": "first"}
        if groups:
            yield grouped, partial(_group, groups=groups, eps=eps)
        yield {"kind": "instance", "options": options, "order": "first"}, partial(_group, groups=0, eps=eps)
    alphas = [tensor for tensor in tensors_in(subject).values() if tensor.numel() == 1]
    for alpha in alphas:
        for order in ("last", "first"):
            yield {"kind": "dyt", "options": {}, "order": order}, partial(_squash, alpha=alpha)


def _epsilons(subject: nn.Module) -> dict[float, None]:
    """Each eps that may be the layer's, its own first."""
    given = [getattr(subject, name, None) for name in EPS_NAMES]
    return dict.fromkeys(float(eps) for eps in (*given, *USUAL_EPS) if isinstance(eps, int | float))


def groups_in(module: nn.Module) -> int:
    """The number of groups that a layer says it has; 0 where it says none."""
    return next((value for name in GROUP_NAMES if isinstance(value := getattr(module, name, None), int)), 0)


def _moving(subject: nn.Module) -> dict[str, OptionValue]:
    """How running statistics move."""
    momentum = getattr(subject, "momentum", 0.1)
    if momentum is None:
        return {"cumulative": True}
    return {"momentum": float(momentum) if isinstance(momentum, int | float) else 0.1}


def _over(x: Tensor, training: bool, axis: int, eps: float, centred: bool) -> Tensor:
    x = x - x.mean(axis, keepdim=True) if centred else x
    root: Tensor = (x.square().mean(axis, keepdim=True) + eps).sqrt()
    return x / root


def _unit(x: Tensor, training: bool, axis: int, eps: float) -> Tensor:
    length: Tensor = x.norm(dim=axis, keepdim=True)
    return x / length.clamp_min(eps)


def _group(x: Tensor, training: bool, groups: int, eps: float) -> Tensor:
    """Groups of channels; 0 stands for a group for each channel."""
    parts = groups or x.shape[1]
    if x.shape[1] % parts:
        return x
    flat = x.reshape(len(x), parts, -1)
    return _over(flat, training, -1, eps, True).view(x.shape)


def _batch(
    x: Tensor, training: bool, statistics: tuple[Tensor, Tensor], eps: float, axes: tuple[int, ...] | None = None
) -> Tensor:
    """In training over the positions and these axes, where there are any; otherwise by running statistics."""
    import torch

    if training and axes is not None:
        variance, mean = torch.var_mean(x, (*axes, *range(2, x.dim())), correction=0, keepdim=True)
    else:
        if x.shape[1] != len(statistics[0]):
            return x
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean, variance = (vector.double().view(shape) for vector in statistics)
    centred: Tensor = x - mean
    return centred / (variance + eps).sqrt()


def _squash(x: Tensor, training: bool, alpha: Tensor) -> Tensor:
    return (alpha.double() * x).tanh()


def _evonorm_s0(x: Tensor, training: bool, along: Along, channels: int, groups: int, eps: float) -> Tensor:
    if x.shape[1] != channels or channels % groups:
        return x
    parts = x.reshape(len(x), groups, -1)
    inverse = (parts.var(-1, correction=0, keepdim=True) + eps).rsqrt()
    spread: Tensor = inverse.expand_as(parts).reshape(x.shape)
    return x * (along(x) * x).sigmoid() * spread


def _evonorm_b0(x: Tensor, training: bool, along: Along, variance: Tensor, eps: float) -> Tensor:
    import torch

    if x.dim() < 3 or x.shape[1] != len(variance):
        return x
    space = tuple(range(2, x.dim()))
    shape = (1, -1, *[1] * len(space))
    batch = x.var((0, *space), correction=0) if training else variance.double()
    own = (x.var(space, correction=0, keepdim=True) + eps).sqrt()
    return x / torch.maximum((batch + eps).sqrt().view(shape), along(x) * x + own)


def _positions(x: Tensor, training: bool, eps: float) -> Tensor:
    """Over the root mean square of each sample and channel over its positions."""
    return _over(x.flatten(2), training, -1, eps, False).view(x.shape) if x.dim() > 2 else x
