"""What a foreign layer computes, found by running a copy of it beside the formulas of norms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from normlab.errors import describe_error
from normlab.norms.copying import unwatched
from normlab.norms.options import OptionValue
from normlab.recognition.known import Facts
from normlab.recognition.spec import Affine

if TYPE_CHECKING:
    from torch import Tensor, nn

EPS_NAMES = ("eps", "epsilon", "variance_epsilon", "norm_eps", "layer_norm_eps")
GROUP_NAMES = ("num_groups", "groups", "n_groups", "num_group")
SIZE_NAMES = ("normalized_shape", "num_features", "num_channels", "channels", "dim", "hidden_size", "in_channels")
USUAL_EPS = (0.0, 1e-5, 1e-6, 1e-12, 1e-8, 1e-3, 2.0**-23)
FUNCTIONS = ("relu", "silu", "gelu", "leaky_relu", "elu", "hardswish", "mish", "tanh", "sigmoid", "relu6")
_NAMED_LIKE_A_NORM = re.compile(r"norm(?!alizer)|dyt$|dynamictanh", re.IGNORECASE)
UNKNOWN = "what it computes is none of the formulas that it was run beside"


def may_be_norm(module: nn.Module) -> bool:
    """Whether a layer is named or built like a norm: vectors of one length, an eps, and no children with weights."""
    if any(True for child in module.children() for _ in child.parameters()):
        return False
    if _NAMED_LIKE_A_NORM.search(type(module).__name__):
        return True
    like = any(hasattr(module, name) for name in EPS_NAMES) or {"running_mean", "running_var"} <= module._buffers.keys()
    lengths = {tensor.numel() for tensor in _tensors(module).values() if tensor.numel() > 1}
    return like and len(lengths) == 1 and _has_vectors_only(module)


def _has_vectors_only(module: nn.Module) -> bool:
    return all(tensor.numel() in (1, max(tensor.shape, default=1)) for tensor in _tensors(module).values())


def behaviour(module: nn.Module) -> Facts:
    """What a layer computes: the facts of the norm whose formula gives the same, or the reason why none is known.

    A copy of the layer, with random numbers in its vectors, is run on random input of every layout that it takes, in
    training and in evaluation. The one formula that explains all outputs is what it computes.

    >>> from torch import nn
    >>> class Own(nn.LayerNorm):
    ...     def forward(self, inputs):
    ...         return super().forward(inputs).relu()
    >>> facts = behaviour(Own(6))
    >>> facts["kind"], facts["activation"]
    ('layer', 'relu')
    """
    if further := _further_inputs(module):
        return {"obstacle": f"its forward pass takes more than its input: {', '.join(further)}"}
    if not _has_vectors_only(module):
        return {"obstacle": "it has weights that are no vectors of its channels"}
    try:
        subject = _copy(module)
        channels = _channels(subject)
        if not channels:
            return {"obstacle": "it does not say how many channels it has"}
        runs = list(_runs(subject, channels))
    except Exception as error:  # whatever a user's layer raises
        return {"obstacle": f"it cannot be run by itself ({describe_error(error)})", "channels": 0}
    if not runs:
        return {"obstacle": "it takes no input of a usual layout", "channels": channels}
    axes = {run.inputs.dim() for run in runs}
    spatial = max(axes) - 2 if len(axes) == 1 else None
    for formula in _formulas(subject, channels):
        if all(formula.explains(run) for run in runs):
            return {**formula.facts, "channels": channels, "spatial": spatial}
    return {"obstacle": UNKNOWN, "channels": channels}


def _further_inputs(module: nn.Module) -> list[str]:
    """The names of what the forward pass takes beside its input."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters[1:] if parameter.kind in kinds]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The layer's own floating-point parameters and buffers by name."""
    own = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in own.items() if tensor is not None and tensor.is_floating_point()}


def _copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU in float32, with random numbers in all of its vectors; no hooks, which would see the test."""
    import torch

    subject = unwatched(module)
    metas = any(tensor.is_meta for tensor in (*subject.parameters(), *subject.buffers()))
    subject = subject.to_empty(device="cpu") if metas else subject.cpu()
    subject = subject.float().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in _tensors(subject).items():
        drawn = torch.rand(tensor.shape, generator=generator)
        if "var" in name:  # small ones too, beside which an eps tells
            tensor.copy_(10 ** (-5 * drawn))
            continue
        positive = "std" in name or "weight" in name or tensor.numel() == 1
        tensor.copy_(0.5 + drawn if positive else 2 * drawn - 1)
    return subject


def _channels(module: nn.Module) -> int:
    lengths = [tensor.numel() for tensor in _tensors(module).values() if tensor.numel() > 1]
    if lengths:
        return max(lengths)
    for name in SIZE_NAMES:
        size = getattr(module, name, None)
        if isinstance(size, int) and not isinstance(size, bool):
            return size
        if isinstance(size, Sequence) and len(size) == 1:
            return int(size[0])
    return next((tensor.numel() for tensor in _tensors(module).values()), 0)


@dataclass(frozen=True)
class _Run:
    """An output of the layer: for which input, in double precision for the formulas, and in which mode."""

    inputs: Tensor
    training: bool
    output: Tensor


def _runs(subject: nn.Module, channels: int) -> Iterator[_Run]:
    """The outputs for every layout that the layer takes; where it takes three axes or more, two tell nothing new."""
    import torch

    h, w, d = [size for size in (3, 4, 2, 5) if size != channels][:3]
    shapes = [(4, channels), (2, h, channels), (2, channels, h), (2, channels, h, w), (2, h, w, channels)]
    shapes.append((2, channels, h, w, d))
    runs: list[_Run] = []
    generator = torch.Generator().manual_seed(1)
    for shape in shapes:
        inputs = torch.randn(shape, generator=generator) + 0.3
        inputs = inputs * torch.tensor([1.0, 2e-3] * (shape[0] // 2)).view(-1, *[1] * (len(shape) - 1))  # eps tells
        pair = [_run(subject, inputs, training) for training in (True, False)]
        if all(run is not None for run in pair):
            runs.extend(run for run in pair if run is not None)
    deep = [run for run in runs if run.inputs.dim() > 2]
    yield from deep or runs


def _run(subject: nn.Module, inputs: Tensor, training: bool) -> _Run | None:
    import torch

    state = {name: tensor.clone() for name, tensor in subject._buffers.items() if tensor is not None}
    subject.train(training)
    for part in subject.modules():
        if type(part).__name__.startswith(("Drop", "drop")):
            part.eval()
    try:
        with torch.no_grad():
            output = subject(inputs.clone())
    except Exception:  # not a layout of this layer
        return None
    finally:
        for name, tensor in state.items():
            subject._buffers[name] = tensor
    if not isinstance(output, torch.Tensor) or output.shape != inputs.shape or not output.isfinite().all():
        return None
    return _Run(inputs.double(), training, output.float())


Normalize = Callable[["Tensor", bool], "Tensor"]


@dataclass(frozen=True)
class _Formula:
    """A norm, its gamma and beta, and an activation, which may be what a layer computes."""

    facts: Facts
    normalize: Normalize
    gamma: Tensor | None
    beta: Tensor | None
    activate: Callable[[Tensor], Tensor]

    def explains(self, run: _Run) -> bool:
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
        return torch.allclose(self.activate(output).float(), run.output, rtol=2e-4, atol=2e-5)


def _formulas(subject: nn.Module, channels: int) -> Iterator[_Formula]:
    """All that the layer may compute, the simplest first."""
    tensors = _tensors(subject)
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
                whole["running"] = running if facts["kind"] == "batch" else ()
                yield _Formula(whole, normalize, gamma, vectors.get(bias), activate)


def _activations(subject: nn.Module) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """None, the layer's own child modules (dropout in evaluation), and usual functions."""
    from torch.nn import Identity, functional

    yield "", lambda x: x
    for name, child in subject.named_children():
        if not isinstance(child, Identity) and not type(child).__name__.startswith(("Drop", "drop")):
            yield name, lambda x, child=child: child(x.clone())  # type: ignore[misc]
    for name in FUNCTIONS:
        yield name, getattr(functional, name)


def _normalizations(subject: nn.Module, statistics: tuple[Tensor, Tensor] | None) -> Iterator[tuple[Facts, Normalize]]:
    """Norms with each eps that may be the layer's."""
    given = [getattr(subject, name, None) for name in EPS_NAMES]
    epsilons = dict.fromkeys(float(eps) for eps in (*given, *USUAL_EPS) if isinstance(eps, int | float))
    groups = next((int(getattr(subject, name)) for name in GROUP_NAMES if hasattr(subject, name)), 0)
    for eps in epsilons:
        options: dict[str, OptionValue] = {"eps": eps}
        if statistics is not None:
            momentum = getattr(subject, "momentum", 0.1)
            moving = {"cumulative": True} if momentum is None else {"momentum": float(momentum)}
            facts = {"kind": "batch", "options": {**options, **moving}, "order": "first"}
            yield facts, partial(_batch, statistics=statistics, eps=eps, frozen=False)
            yield {**facts, "frozen": True}, partial(_batch, statistics=statistics, eps=eps, frozen=True)
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
    alphas = [tensor for tensor in _tensors(subject).values() if tensor.numel() == 1]
    for alpha in alphas:
        for order in ("last", "first"):
            yield {"kind": "dyt", "options": {}, "order": order}, partial(_squash, alpha=alpha)


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


def _batch(x: Tensor, training: bool, statistics: tuple[Tensor, Tensor], eps: float, frozen: bool) -> Tensor:
    import torch

    shape = [1, -1] + [1] * (x.dim() - 2)
    if training and not frozen:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    else:
        if x.shape[1] != len(statistics[0]):
            return x
        mean, variance = (vector.double().view(shape) for vector in statistics)
    centred: Tensor = x - mean
    return centred / (variance + eps).sqrt()


def _squash(x: Tensor, training: bool, alpha: Tensor) -> Tensor:
    return (alpha.double() * x).tanh()
