"""Checks of one forward pass, which the others rest on: its input stays, and it repeats itself."""

from __future__ import annotations

import torch

from normlab.checks.spec import Observation
from normlab.checks.subject import SAME, Subject, difference, draws, run, seeded


def untouched(subject: Subject) -> Observation:
    """The input is left as it was, in training and in evaluation."""
    changing = []
    for mode in ("training", "evaluation"):
        model, inputs = subject.model().train(mode == "training"), subject.inputs()
        with seeded(7), torch.no_grad():
            model(inputs)
        if not torch.equal(inputs, subject.inputs()):
            changing.append(mode)
    if changing:
        return Observation(
            "does not hold", f"in {' and '.join(changing)} it changes its input; the other checks give it copies"
        )
    return Observation("holds", "the input is left as it was")


def repetition(subject: Subject) -> Observation:
    """The same input gives the same output, whatever random numbers are drawn."""
    if subject.restless:
        return Observation("does not hold", "the same input gives another output, with the same random numbers too")
    if draws(lambda: subject.trained().eval(), subject.inputs()):
        return Observation("does not hold", "in evaluation the output depends on random numbers")
    layer = subject.trained().eval()
    with torch.no_grad():
        if difference(run(layer, subject.inputs()), run(layer, subject.inputs())) > SAME:
            return Observation("does not hold", "in evaluation a second call of the same layer gives another output")
    if subject.draws:
        text = "in training the output depends on random numbers; the other checks draw the same ones for each layer"
        return Observation("not claimed", text)
    return Observation("holds", "the same input gives the same output")
