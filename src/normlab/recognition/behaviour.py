"""What a foreign layer computes, found by running a copy of it beside the formulas of norms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from normlab.errors import describe_error
from normlab.norms.copying import unwatched
from normlab.recognition.formulas import EPS_NAMES, LayerOutput, formulas, tensors_in
from normlab.recognition.known import Facts
from normlab.recognition.structure import structure

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE_NAMES = ("normalized_shape", "num_features", "num_channels", "channels", "dim", "hidden_size", "in_channels")
_NAMED_LIKE_A_NORM = re.compile(r"norm(?!alizer)|dyt$|dynamictanh", re.IGNORECASE)
NEAR = 1e-3  # how exactly a momentum is measured
UNKNOWN = "what it computes is none of the formulas that it was run beside"


def named_like_a_norm(name: str) -> bool:
    """Whether a class of that name says that it normalizes.

    >>> named_like_a_norm("LlamaRMSNorm"), named_like_a_norm("Normalizer")
    (True, False)
    """
    return _NAMED_LIKE_A_NORM.search(name) is not None


def may_be_norm(module: nn.Module, named: bool = False) -> bool:
    """Whether a layer is named or built like a norm: vectors of one length, an eps, and no children with weights.

    Arguments:
        module: the layer.
        named: whether somebody calls it a norm.
    """
    if any(True for child in module.children() for _ in child.parameters()):
        return False
    if named or named_like_a_norm(type(module).__name__):
        return True
    like = any(hasattr(module, name) for name in EPS_NAMES) or {"running_mean", "running_var"} <= module._buffers.keys()
    lengths = {tensor.numel() for tensor in tensors_in(module).values() if tensor.numel() > 1}
    return like and len(lengths) == 1 and _has_vectors_only(module)


def _has_vectors_only(module: nn.Module) -> bool:
    return all(tensor.numel() in (1, max(tensor.shape, default=1)) for tensor in tensors_in(module).values())


def behaviour(module: nn.Module) -> Facts:
    """What a layer computes: the facts of the norm whose formula gives the same, or the reason why none is known.

    A copy of the layer, with random numbers in its vectors, is run on random input of every layout that it takes, in
    training and in evaluation. The one formula that explains all outputs is what it computes. A layer that runs
    on no CPU is told by what it holds, where its library is known (`structure`).

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
        every = list(_runs(subject, channels))
    except Exception as error:  # whatever a user's layer raises
        return {"obstacle": f"it cannot be run by itself ({describe_error(error)})", "channels": 0}
    if not every:
        return structure(module) or {"obstacle": "it takes no input of a usual layout", "channels": channels}
    axes = {run.inputs.dim() for run in every}
    spatial = max(axes) - 2 if len(axes) == 1 else None
    runs = [run for run in every if run.inputs.dim() > 2] or every  # two axes tell nothing that three do not
    for formula in formulas(subject, channels):
        if all(formula.explains(run) for run in runs):
            facts = {**formula.facts, "channels": channels, "spatial": spatial}
            return _with_momentum(facts, subject, runs[0].inputs.float())
    return {"obstacle": UNKNOWN, "channels": channels}


def _with_momentum(facts: Facts, subject: nn.Module, inputs: Tensor) -> Facts:
    """The facts with the share that a batch really has in the running mean: in TensorFlow 0.99 stands for 0.01.

    It is that of the second of two batches, as some layers begin with the first one alone. Where the mean does not
    move as an exponential average, the attribute is all that is known.
    """
    import torch

    named = facts["options"].get("momentum")
    if named is None or facts.get("frozen") or "mean" not in facts["running"][0]:
        return facts
    subject.train()
    mean = tensors_in(subject)[facts["running"][0]]
    with torch.no_grad():
        subject(inputs.clone())
        before = mean.double().flatten()
        subject(inputs + 1)
    way = (inputs + 1).double().movedim(1, 0).flatten(1).mean(1) - before
    share = float((mean.double().flatten() - before) @ way / way.square().sum())
    measured = next((one for one in (named, round(1 - named, 12)) if abs(one - share) < NEAR), round(share, 4))
    return {**facts, "options": {**facts["options"], "momentum": measured}} if NEAR < measured <= 1 else facts


def _further_inputs(module: nn.Module) -> list[str]:
    """The names of what the forward pass takes beside its input."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters[1:] if parameter.kind in kinds]


def _copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU in float32, with random numbers in all of its vectors; no hooks, which would see the test."""
    import torch

    subject = unwatched(module)
    metas = any(tensor.is_meta for tensor in (*subject.parameters(), *subject.buffers()))
    subject = subject.to_empty(device="cpu") if metas else subject.cpu()
    subject = subject.float().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors_in(subject).items():
        drawn = torch.rand(tensor.shape, generator=generator)
        if "var" in name:  # small ones too, beside which an eps tells
            tensor.copy_(10 ** (-5 * drawn))
            continue
        positive = "std" in name or "weight" in name or tensor.numel() == 1
        tensor.copy_(0.5 + drawn if positive else 2 * drawn - 1)
    return subject


def _channels(module: nn.Module) -> int:
    lengths = [tensor.numel() for tensor in tensors_in(module).values() if tensor.numel() > 1]
    if lengths:
        return max(lengths)
    for name in SIZE_NAMES:
        size = getattr(module, name, None)
        if isinstance(size, int) and not isinstance(size, bool):
            return size
        if isinstance(size, Sequence) and len(size) == 1:
            return int(size[0])
    return next((tensor.numel() for tensor in tensors_in(module).values()), 0)


def _runs(subject: nn.Module, channels: int) -> Iterator[LayerOutput]:
    """The outputs for every layout that the layer takes."""
    import torch

    h, w, d = [size for size in (3, 4, 2, 5) if size != channels][:3]
    shapes = [(4, channels), (2, h, channels), (2, channels, h), (2, channels, h, w), (2, h, w, channels)]
    shapes.append((2, channels, h, w, d))
    generator = torch.Generator().manual_seed(1)
    for shape in shapes:
        inputs = torch.randn(shape, generator=generator) + 0.3
        inputs = inputs * torch.tensor([1.0, 2e-3] * (shape[0] // 2)).view(-1, *[1] * (len(shape) - 1))  # eps tells
        pair = [_run(subject, inputs, training) for training in (True, False)]
        if all(run is not None for run in pair):
            yield from (run for run in pair if run is not None)


def _run(subject: nn.Module, inputs: Tensor, training: bool) -> LayerOutput | None:
    import torch

    state = {name: tensor.clone() for name, tensor in subject._buffers.items() if tensor is not None}
    subject.train(training)
    for part in subject.modules():
        if part is not subject and type(part).__name__.startswith(("Drop", "drop")):
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
    return LayerOutput(inputs.double(), training, output.float())
