"""Checks of what shares statistics: axes, coupling across the batch, invariances."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.checks.spec import Observation
from normlab.checks.subject import SAME, Subject, difference, draws, run
from normlab.norms.reductions import numbered_sets
from normlab.norms.spec import Invariance

DRAWS = 12  # inputs to try: an element at which a built-in activation is flat hides a change
SMALL = 0.1  # of their size for the last third, where functions that saturate, such as tanh, are not flat
MOVED = 1e-9  # a change of the output by more than this share of its spread
EPS_ASIDE = 1e-3  # of the output, at inputs of spread 3, where eps is no option that can be set to almost 0
AWAY = 0.5  # from 0, where an element that is its own statistic feels an eps that is learned
LARGE = 1e4  # inputs so large that no eps is felt


def axes(subject: Subject) -> Observation:
    """Moving one element moves exactly the outputs that share its statistic."""
    sets = subject.norm.spec.sets(subject.layout)
    if subject.norm.spec.wrap is not None and not sets:
        return Observation("not applicable", "it changes weights and takes no statistics of activations")
    shape = tuple(subject.sizes().values())
    places = [(0,) * len(shape), tuple(size - 1 for size in shape), tuple(size // 2 for size in shape)]
    for place in places:
        moved = _moved(subject, place)
        if not subject.claimed:
            along = [axis for number, axis in enumerate(subject.layout) if _extends(moved, place, number)]
            return Observation("not claimed", f"one element moves the outputs along {', '.join(along) or 'no axis'}")
        expected = _sharing(subject, place)
        if lost := int((expected & ~moved).sum()):
            text = f"moving one element leaves {lost} of {int(expected.sum())} outputs that should share its statistic"
            return Observation("does not hold", text)
        if extra := int((moved & ~expected).sum()):
            text = f"moving one element moves {extra} outputs outside of {_listed(sets)}"
            return Observation("does not hold", text)
    if not sets:
        return Observation("holds", "one element moves its own output alone")
    return Observation("holds", f"one element moves exactly the outputs that share {_listed(sets)}")


def _listed(sets: tuple[tuple[str, ...], ...]) -> str:
    return " or ".join("(" + ", ".join(axes) + ")" for axes in sets) or "itself"


def _moved(subject: Subject, place: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which outputs change, in any of some inputs, when the element at ``place`` does."""
    moved = torch.zeros(tuple(subject.sizes().values()), dtype=torch.bool)
    for draw in range(DRAWS):
        size = SMALL if draw >= 2 * DRAWS // 3 else 1.0
        inputs = size * subject.inputs(draw // 2) * (-1) ** draw  # with its mirror image: it may be flat on one side
        changed = inputs.clone()
        changed[place] += 0.4
        with torch.no_grad():
            before, after = run(subject.layer(), inputs), run(subject.layer(), changed)
        moved |= (after - before).abs() > MOVED * before.abs().max().clamp_min(1e-12)
    return moved.numpy()


def _extends(moved: NDArray[np.bool_], place: tuple[int, ...], axis: int) -> bool:
    line = [slice(None) if number == axis else index for number, index in enumerate(place)]
    return bool(moved[tuple(line)].sum() > 1)


def _sharing(subject: Subject, place: tuple[int, ...]) -> NDArray[np.bool_]:
    sizes = subject.sizes()
    shared = np.zeros(tuple(sizes.values()), dtype=bool)
    shared[place] = True
    for within in subject.norm.spec.sets(subject.layout):
        numbers = numbered_sets(within, sizes, subject.norm.parts)
        shared |= numbers == numbers[place]
    return shared


def batch(subject: Subject) -> Observation:
    """A batch-free norm gives for a batch what it gives for its samples; one that couples the batch says so."""
    inputs = subject.inputs()
    others = inputs.clone()
    others[0] = -0.7 * others[0] + 0.3
    with torch.no_grad():
        together = run(subject.model(), inputs)
        changed = difference(run(subject.model(), others)[1:], together[1:])
    coupled = subject.norm.spec.couples_batch
    if not subject.claimed:
        says = "changes the outputs of the others" if changed > SAME else "leaves the outputs of the others"
        return Observation("not claimed", f"in training one sample {says}")
    if coupled:
        text = "another first sample changes the outputs of the others by up to {figure:.0%} of the largest"
        return Observation("holds" if changed > SAME else "does not hold", text, changed)
    if changed > SAME:
        text = "it claims to be free of the batch, but one sample changes the outputs of the others by {figure:.1e}"
        return Observation("does not hold", text, changed)
    if subject.draws:  # a batch and its samples one by one draw other numbers
        return Observation("holds", "one sample leaves the outputs of the others")
    with torch.no_grad():
        alone = torch.cat([run(subject.model(), inputs[n : n + 1]) for n in range(len(inputs))])
    gap = difference(alone, together)
    text = "a batch and its samples one by one differ by at most {figure:.1e}"
    return Observation("holds" if gap <= SAME else "does not hold", text, gap)


def evaluation(subject: Subject) -> Observation:
    """In evaluation mode each sample is treated by itself."""
    model, inputs = subject.trained().eval(), subject.inputs()
    if draws(lambda: subject.trained().eval(), inputs):
        return Observation("not applicable", "it draws random numbers in evaluation, other ones for single samples")
    with torch.no_grad():
        alone = torch.cat([run(model, inputs[n : n + 1]) for n in range(len(inputs))])
        gap = difference(alone, run(model, inputs))
    text = "a batch and its samples one by one differ by at most {figure:.1e}"
    return Observation("holds" if gap <= SAME else "does not hold", text, gap)


def invariances(subject: Subject) -> Observation:
    """What is claimed not to change the output in training does not, eps aside."""
    if subject.norm.spec.wrap is not None and not subject.norm.spec.sets(subject.layout):
        return Observation("not applicable", "it changes weights and takes no statistics of activations")
    almost = {name: min(value, 1e-12) for name, value in subject.norm.options.items() if name.endswith("eps")}
    subject = replace(subject, norm=replace(subject.norm, options={**subject.norm.options, **almost}))
    gaps = {kind: _gap(subject, kind) for kind in get_args(Invariance)}
    claimed = [kind for kind in gaps if kind in subject.norm.spec.invariances]
    more = [kind for kind, gap in gaps.items() if gap <= 1 and kind not in claimed]
    beside = f"not claimed but true: {', '.join(more)}" if more else "nothing else is true"
    if broken := [kind for kind in claimed if gaps[kind] > 1]:
        return Observation("does not hold", f"the output does change with {', '.join(broken)}")
    if claimed:
        return Observation("holds", f"{', '.join(claimed)}; {beside}")
    return Observation("not claimed", beside if more else "the output changes with every scale and shift")


def _gap(subject: Subject, kind: Invariance) -> float:
    """The change of the output as a share of what rounding and eps may cause."""
    ratios = []
    for size, allowed in ((1.0, EPS_ASIDE), (LARGE, 1e-6)):
        inputs = subject.inputs(3)
        inputs = size * (inputs + AWAY * inputs.sign())
        with torch.no_grad():
            before = run(subject.layer(), inputs)
            after = run(subject.layer(), _transformed(inputs, kind, subject.layout, size))
        ratios.append(difference(after, before) / allowed)
    return max(ratios)


def _transformed(inputs: torch.Tensor, kind: Invariance, layout: str, size: float) -> torch.Tensor:
    """The input times a factor or plus a summand: one for all, for each channel or for each sample."""
    unit = next((axis for axis in "CN" if kind.startswith({"C": "channel", "N": "sample"}[axis])), None)
    shape = [length if axis == unit else 1 for axis, length in zip(layout, inputs.shape, strict=True)]
    steps = torch.linspace(1.5, 4.0, max(shape), dtype=inputs.dtype).reshape(shape)
    return inputs * steps if kind.endswith("scale") else inputs + size * steps
