"""Norms that evaluate by running statistics, folded into the linear layers beside them for inference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normlab.errors import InputError, argument_called, describe_error
from normlab.norms.copying import unwatched
from normlab.recognition.find import found_norms
from normlab.recognition.inputs import build_model
from normlab.recognition.spec import FoundNorm
from normlab.surgery.edits import Edits
from normlab.surgery.flow import OUTPUT, Flow, flow_and_outputs
from normlab.surgery.linear import ChannelMap, axis_of, obstacle, obstacle_behind, with_input, with_output
from normlab.surgery.obstacles import as_module
from normlab.surgery.operations import Change, Left, OperationReport, model_of
from normlab.surgery.placing import take_by_any_name
from normlab.surgery.references import follow

EXACT = 1e-9  # how far what is proven in double precision may be off, of its largest value
LARGEST, RELATIVE = "largest deviation", "of the largest output"
EMPTY = "the outputs are empty, so that nothing was compared"
FOR_INFERENCE = "for inference: in training mode, too, there is no norm any more where one was folded"


@argument_called("inputs", "example_inputs")
def fold(
    model: nn.Module, example_inputs: Any, *, tolerance: float | None = None, copy: bool = True
) -> tuple[nn.Module, OperationReport]:
    """``model`` for inference, its BatchNorms folded into the linear layers or convolutions beside them.

    In evaluation BatchNorm is a fixed scale and shift of each channel. The layer before it takes them up, W' = s W and
    b' = s b + t; where that cannot be, the layer behind it, W' = W s and b' = W t + b. B. Jacob et al., 2018,
    arXiv:1712.05877, section 3.2. In the norm's place is nothing then, or the activation that it applied.

    Every step is proven on this model. That a norm, of whatever class, is such a scale and shift, and that the new
    layer computes what both did, is measured in double precision on copies of the layers, whose weights and
    statistics are the model's. That the output of the one goes into the other and nowhere else is seen in a forward
    pass on the example inputs, of which every operation is followed; a model that takes another way on other inputs
    needs example inputs for it. In the end the outputs are compared: all tensors in containers, dataclasses and other
    objects. What cannot be folded stays, with the reason.

    Arguments:
        model: the model, in evaluation mode.
        example_inputs: what the model is called with: a tensor, a tuple, a dictionary of names, or shapes as text.
        tolerance: how far outputs may be off, of the largest output; by default the square root of the machine
            epsilon of their type.
        copy: whether a copy is folded, and the model stays as it is. In place layers are replaced, and no tensor of
            the model is written to.

    Raises:
        InputError: the model is in training mode, does not take the inputs, gives outputs without tensors or that are
            not finite, cannot be copied, ``tolerance`` is below 0, or outputs are further off; the model is then as it
            was.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> folded, report = fold(model, torch.ones(2, 3, 8, 8))
    >>> folded
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(1, 1), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):
        raise InputError("`tolerance` must be a number of at least 0", repr(tolerance), "Leave it out for the default.")
    if as_module(model).training:
        rule = "only a model in evaluation mode can be folded"
        raise InputError(rule, "one in training mode", "Call model.eval() first; folding is for inference.")
    model = model_of(model, copy)
    model, inputs = build_model(model, example_inputs, None, None, "contiguous")
    flow, expected = flow_and_outputs(model, inputs)
    if not expected:
        advice = "Have it give them in containers or attributes of objects, or fold the part of it that does."
        raise InputError("a model that is folded must give tensors, which are compared", "outputs without any", advice)
    edits = Edits(model)
    site = _Site(edits, flow)
    changes, left = [], []
    with edits.undone_after_errors():
        for norm in found_norms(model):
            step = site.step(norm)
            if isinstance(step, str):
                left.append(Left(norm.name, type(norm.module).__name__, step))
            else:
                changes.append(site.take(norm, step))
        follow(edits)
        figures = _compare(flow_and_outputs(model, inputs)[1], expected, tolerance) if changes else {}
    notes = (FOR_INFERENCE, *(() if figures else (EMPTY,))) if changes else ()
    return model, OperationReport("fold", tuple(changes), tuple(left), figures, notes)


@dataclass(frozen=True)
class _Step:
    """A norm to be folded: into which layer, what that layer becomes, and how exact this is."""

    target: str
    layer: nn.Module
    place: str
    deviation: float


class _Site:
    """A model at work: its parts by name, and what goes where in it."""

    def __init__(self, edits: Edits, flow: Flow) -> None:
        self.edits, self.flow = edits, flow
        self.names: dict[str, list[str]] = {}
        first: dict[nn.Module, str] = {}
        for name, part in edits.model.named_modules(remove_duplicate=False):
            self.names.setdefault(first.setdefault(part, name), []).append(name)
        self.owners = Counter(id(parameter) for part in first for parameter in part.parameters(recurse=False))

    def step(self, norm: FoundNorm) -> _Step | str:
        """How the norm is folded, or why it cannot be."""
        if norm.name not in self.flow.shapes:
            return "it is not called with these inputs"
        if norm.module.training and not norm.frozen:
            return "it is in training mode, in which it normalizes each batch by its own statistics"
        if _watched(norm.module):
            return "hooks watch it"
        change = channel_map(norm, self.flow.shapes[norm.name])
        if isinstance(change, str):
            return change
        before = self._before(norm, change)
        if not isinstance(before, str):
            return before
        behind = self._behind(norm, change)
        return f"before it: {before}; behind it: {behind}" if isinstance(behind, str) else behind

    def take(self, norm: FoundNorm, step: _Step) -> Change:
        """Puts the new layer in its place, and nothing, or the norm's activation, in that of the norm."""
        rest = getattr(norm.module, norm.activation) if norm.activation else nn.Identity()
        was, now = type(norm.module).__name__, type(rest).__name__
        if self.flow.keywords[norm.name] - {"", "input"}:
            rest = nn.Sequential(rest).train(norm.module.training)
            take_by_any_name(rest)
        self.edits.put_all(dict.fromkeys(self.names[step.target], step.layer))
        self.edits.put_all(dict.fromkeys(norm.names, rest))
        note = f"into {step.target!r} ({type(step.layer).__name__}) {step.place} it"
        figures = {"off in float64 by": step.deviation}
        return Change(norm.name, was, now, norm.names[1:], figures, note)

    def _before(self, norm: FoundNorm, change: ChannelMap) -> _Step | str:
        makers = self.flow.makers[norm.name]
        if "" in makers:
            return "what it gets is no layer's output as it came"
        if len(makers) > 1:
            return f"it is called behind several layers ({', '.join(sorted(makers))})"
        (name,) = makers
        layer = self.edits.model.get_submodule(name)
        if reason := self._obstacle(name, layer, norm, change):
            return reason
        others = self.flow.takers[name] - {norm.name}
        if others:
            return f"the output of {name!r} goes to {_listed(others)} too"
        if not _fits(layer, change, len(self.flow.shapes[norm.name])):
            return f"the outputs of {name!r} are not the channels of the norm"
        wide = _wide(layer)
        return self._proven(
            name, "before", with_output(layer, change), lambda x: change(wide(x)), with_output(wide, change)
        )

    def _behind(self, norm: FoundNorm, change: ChannelMap) -> _Step | str:
        takers = self.flow.takers[norm.name]
        if norm.activation:
            return f"its activation {norm.activation!r} stands between"
        if len(takers) != 1 or not takers - {"", OUTPUT}:
            return f"its output goes to {_listed(takers)}" if takers else "nothing takes its output"
        (name,) = takers
        layer = self.edits.model.get_submodule(name)
        if reason := self._obstacle(name, layer, norm, change) or obstacle_behind(layer, change):
            return reason
        if self.flow.makers[name] != {norm.name}:
            return f"{name!r} gets other input too"
        if not _fits(layer, change, len(self.flow.shapes[name])):
            return f"the inputs of {name!r} are not the channels of the norm"
        wide = _wide(layer)
        return self._proven(
            name, "behind", with_input(layer, change), lambda x: wide(change(x)), with_input(wide, change)
        )

    def _obstacle(self, name: str, layer: nn.Module, norm: FoundNorm, change: ChannelMap) -> str:
        """Why a layer that is beside the norm cannot take it up, as far as the layer tells."""
        if reason := obstacle(layer):
            return f"{name!r}: {reason}"
        if _watched(layer):
            return f"hooks watch {name!r}"
        if any(self.owners[id(parameter)] > 1 for parameter in layer.parameters()):
            return f"another part has the weights of {name!r} too"
        return ""

    def _proven(self, name: str, place: str, layer: nn.Module, both: Any, one: nn.Module) -> _Step | str:
        """The step, if in double precision the new layer computes what the norm and the old one do."""
        if not all(parameter.isfinite().all() for parameter in layer.parameters()):
            return f"the weights of {name!r} with the norm in them are beyond {next(layer.parameters()).dtype}"
        shape = self.flow.shapes[name]
        x = _random((1, *shape[1:]) if len(shape) > 1 else shape)
        with torch.no_grad():
            expected = both(x)
            deviation = _off(one(x), expected)
        if not deviation <= EXACT:
            return f"{name!r} with the norm in its weights computes something else (off by {deviation:.2g})"
        return _Step(name, layer, place, deviation)


def channel_map(norm: FoundNorm, shape: tuple[int, ...]) -> ChannelMap | str:
    """The scale and shift of each channel that a norm is in evaluation, or why it is none.

    They are measured on a copy in double precision: f(0) is the shift, f(1) - f(0) the scale, and random input of
    the shape shows whether this is all.
    """
    if len(shape) < 2:
        return "what it gets has a single axis"
    layer = _wide(norm.module).eval()
    if norm.activation:
        if norm.activation not in dict(layer.named_children()):
            return f"it applies {norm.activation} in its own forward pass"
        setattr(layer, norm.activation, nn.Identity())
    x = _random((2, *shape[1:]))
    try:
        with torch.no_grad():
            shift, scaled, output = layer(torch.zeros_like(x)), layer(torch.ones_like(x)), layer(x)
    except Exception as error:  # whatever a user's layer raises
        return f"it cannot be tried by itself ({describe_error(error)})"
    for axis in dict.fromkeys((1, x.dim() - 1)):
        first = [0] * x.dim()
        first[axis] = slice(None)  # type: ignore[call-overload]
        change = ChannelMap((scaled - shift)[tuple(first)], shift[tuple(first)], axis)
        if change.scale.isfinite().all() and _off(change(x), output) <= EXACT:
            return change
    if not output.isfinite().all():
        return "its statistics or weights are not finite; normlab.recalibrate heals statistics"
    return (
        "in evaluation it is no fixed scale and shift of each channel: it normalizes each sample by its own statistics"
    )


def _fits(layer: nn.Module, change: ChannelMap, axes: int) -> bool:
    """Whether a layer has its channels where the norm has them."""
    return axis_of(layer, axes) == change.axis


def _watched(layer: nn.Module) -> bool:
    """Whether hooks see what goes into the layer or comes out, forwards or backwards."""
    names = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return any(vars(layer)[name] for name in names)


def _wide(layer: nn.Module) -> nn.Module:
    """A copy in double precision, on the CPU: not every device has that."""
    return unwatched(layer).to("cpu", torch.float64)


def _random(shape: tuple[int, ...]) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1


def _off(values: Tensor, expected: Tensor) -> float:
    """The largest deviation, of the largest value that is expected."""
    if values.shape != expected.shape or not values.numel():
        return float("inf") if values.shape != expected.shape else 0.0
    largest = float(expected.abs().max())
    deviation = float((values - expected).abs().max())
    return deviation / largest if largest else deviation


def _compare(outputs: list[Tensor], expected: list[Tensor], tolerance: float | None) -> dict[str, float]:
    """How far the outputs are off; nothing where there is no number in them.

    Raises:
        InputError: further than they may be, or they were not finite before.
    """
    if not all(bool(one.isfinite().all()) for one in expected):
        advice = "Look at the inputs and the weights: nothing can be compared with these outputs."
        raise InputError("the outputs of a model must be finite before it is folded", "infinity or nan", advice)
    if not any(one.numel() for one in expected):
        return {}
    wide = [[tensor.to("cpu", torch.float64) for tensor in tensors] for tensors in (outputs, expected)]
    pairs = list(zip(*wide, strict=True))
    largest = max((float((one - other).abs().max()) for one, other in pairs if one.numel()), default=0.0)
    relative = max((_off(one, other) for one, other in pairs), default=0.0)
    types = [tensor.dtype for tensor in expected if tensor.dtype.is_floating_point]
    most = tolerance if tolerance is not None else max((torch.finfo(one).eps ** 0.5 for one in types), default=0.0)
    if not relative <= most:
        advice = "Fold in float32 and convert the folded model, or give another `tolerance`."
        rule = f"outputs of a folded model may be off by {most:.2g} of the largest output"
        raise InputError(rule, f"{relative:.2g}", advice)
    return {LARGEST: largest, RELATIVE: relative}


def _listed(names: Iterable[str]) -> str:
    """Who takes an output, for a message."""
    return ", ".join(sorted(name if name == OUTPUT else repr(name) if name else "the model itself" for name in names))
