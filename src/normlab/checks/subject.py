"""What is checked: a norm in one slot, built anew for every question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isclass
from typing import Any

import torch
from torch import Tensor, nn

from normlab.errors import InputError
from normlab.norms.catalog import NORMS, parse
from normlab.norms.spec import Norm, NormSpec, with_options
from normlab.records import Layout, Slot
from normlab.references import imported

SIZES = {"N": 4, "L": 5, "D": 2, "H": 3, "W": 4}
CHANNELS = (6, 8, 12, 16, 32, 64, 128, 256)  # the first that the norm takes and that leaves it something to say
LAYOUTS: tuple[Layout, ...] = ("NC", "NCL", "NCHW", "NCDHW", "NLC")


@dataclass(frozen=True)
class Subject:
    """A norm in one slot.

    Arguments:
        norm: the norm.
        slot: where it is built for.
        claimed: whether its entry says what it does; a bare module says nothing.
    """

    norm: Norm
    slot: Slot
    claimed: bool = True

    @property
    def layout(self) -> Layout:
        """The order of the axes of its input."""
        return self.slot.layout

    def layer(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The norm alone, in training mode; the same seed makes the same layer."""
        with seeded(seed):
            return self.norm.build(self.slot).to(dtype).train()

    def model(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The norm; one that changes weights comes with a linear layer or convolution before it."""
        wrap = self.norm.spec.wrap
        if wrap is None:
            return self.layer(dtype, seed)
        with seeded(seed):
            before = wrap(self._before(), self.norm.options)
            return nn.Sequential(before, self.norm.build(self.slot)).to(dtype).train()

    def _before(self) -> nn.Module:
        channels = self.slot.channels
        if self.layout in ("NC", "NLC"):
            return nn.Linear(channels, channels)
        kinds: dict[str, Callable[..., nn.Module]] = {"NCL": nn.Conv1d, "NCHW": nn.Conv2d, "NCDHW": nn.Conv3d}
        return kinds[self.layout](channels, channels, 3, padding=1)

    def trained(self, dtype: torch.dtype = torch.float64, seed: int = 0, steps: int = 3) -> nn.Module:
        """The model after a few forward passes, its parameters moved."""
        model = self.model(dtype, seed)
        for step in range(steps):
            with torch.no_grad():
                run(model, self.inputs(seed=100 * (seed + 1) + step, dtype=dtype))
        with seeded(seed + 50), torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    def sizes(self, samples: int = SIZES["N"], extent: int | None = None) -> dict[str, int]:
        """The size of each axis; ``extent`` replaces that of the spatial ones."""
        spatial = dict(zip((axis for axis in self.layout if axis not in "NC"), self.slot.extent, strict=True))
        known = {"N": samples, "C": self.slot.channels} | {axis: extent or size for axis, size in spatial.items()}
        return {axis: known[axis] for axis in self.layout}

    def inputs(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Normal numbers with mean 1 and spread 3."""
        generator = torch.Generator().manual_seed(seed)
        return (torch.randn(tuple(self.sizes().values()), generator=generator, dtype=torch.float64) * 3 + 1).to(dtype)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch draws from ``seed``; outside nothing is shifted."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def run(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """The output; a layer that draws random numbers draws the same ones at every call."""
    with seeded(7):
        output = model(inputs)
    if not isinstance(output, Tensor) or output.shape != inputs.shape:
        given = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise InputError("a norm must give a tensor of the shape of its input", given, "Return the normalized input.")
    return output


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value; infinite if one is not finite and the other is."""
    if not one.numel():
        return 0.0
    one, other = one.detach().double(), other.detach().double()
    if not (one.isfinite().all() and other.isfinite().all()):
        return 0.0 if torch.equal(one.nan_to_num(0.5), other.nan_to_num(0.5)) else float("inf")
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


def subjects(reference: str | NormSpec) -> tuple[Subject, ...]:
    """The norm behind a text in every layout in which it does something.

    Arguments:
        reference: a spec, a norm's text, or ``package.module:object`` of a NormSpec, a module's class, or a function
            of the number of channels that makes a module.

    Raises:
        InputError: there is no such norm, or it can be built for no layout.
    """
    if isinstance(reference, NormSpec):
        return _entered(with_options(reference.name, reference, "", reference.name))
    head, _, rest = reference.partition(":")
    if rest and head not in {spec.name for spec in NORMS}:
        name = ":".join(reference.split(":")[:2])
        found = imported(name, "norm", object)
        if not isinstance(found, NormSpec):
            return _bare(name, found)
    return _entered(parse(reference))


def _entered(norm: Norm) -> tuple[Subject, ...]:
    """A norm with an entry, in every layout on which it can be built and does something."""
    slots = [slot for layout in norm.spec.axes if (slot := _slot(norm, layout))]
    if not slots:
        rule = "a norm must have a layout on which it can be built and does something"
        raise InputError(rule, f"{norm}, which takes {', '.join(norm.spec.axes) or 'none'}", "Check axes and refuse.")
    return tuple(Subject(norm, slot) for slot in slots)


def _slot(norm: Norm, layout: Layout) -> Slot | None:
    """A slot with so many channels that every statistic has some elements and every group two channels."""
    extent = tuple(SIZES[axis] for axis in layout if axis not in "NC")
    groups = norm.parts.get("G", 1)
    grouped = any("C/G" in axes for axes in norm.spec.sets(layout))
    for channels in (*CHANNELS, 2 * groups, 4 * groups):
        slot = Slot(channels, layout, extent, "layer", "activation")
        judges = (norm.refusal, norm.emptiness, norm.caution)
        if any(judge(slot, SIZES["N"]) for judge in judges):
            continue
        if not grouped or channels >= 2 * groups:
            return slot
    return None


def _bare(reference: str, found: object) -> tuple[Subject, ...]:
    """A module's class or a function that makes one, in every layout that it takes; it claims nothing."""
    rule = "norm must name a NormSpec, a module's class or a function of the channels that makes a module"
    advice = "Wrap it in a normlab.NormSpec, whose build makes the module for a slot."
    if not callable(found) or isinstance(found, nn.Module) or (isclass(found) and not issubclass(found, nn.Module)):
        raise InputError(rule, f"{reference!r}, {_kind(found)}", advice)
    slots, reasons = [], []
    for layout in LAYOUTS:
        slot = Slot(CHANNELS[0], layout, tuple(SIZES[axis] for axis in layout if axis not in "NC"))
        subject = Subject(Norm(reference, _silent(reference, found, layout)), slot, claimed=False)
        try:
            run(subject.layer(), subject.inputs())
        except Exception as error:
            reasons.append(f"{layout}: {first_line(error)}")
        else:
            slots.append(subject)
    if not slots:
        raise InputError(rule, f"{reference!r}, which takes no layout ({'; '.join(reasons[:2])})", advice)
    return tuple(slots)


def _kind(found: object) -> str:
    return f"the class {found.__name__}" if isclass(found) else f"an object of type {type(found).__name__}"


def _silent(reference: str, make: Callable[..., Any], layout: Layout) -> NormSpec:
    title = reference.partition(":")[2]
    return NormSpec(
        name=reference,
        title=title,
        formula="",
        source="",
        axes={layout: ()},
        centred=False,
        scaled=False,
        couples_batch=False,
        train="",
        evaluate="",
        suits="",
        breaks="",
        build=lambda slot, options: make(slot.channels),
    )


def first_line(error: Exception) -> str:
    """What an error says, on one line of at most 120 letters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
