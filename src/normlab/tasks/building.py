"""A task's model, built once with nothing in its slots: where they are, and whether model and loss take the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from normlab import reading
from normlab.errors import InputError
from normlab.norms.slot import Slot
from normlab.tasks.data import Array, Part
from normlab.tasks.losses import OutputFunction

TRIED_SAMPLES = 8  # that pass through the model before anything is trained


def noted_slots(
    task: str,
    build: Callable[[Any, Any], Any],
    options: object,
    measures: Mapping[str, OutputFunction],
    part: Part | None,
) -> tuple[Slot, ...]:
    """The slots that a model asks norms for, each with the name of what stands in it.

    Arguments:
        task: its name, for messages.
        build: makes the model of options and a maker of norms.
        options: the options of the task.
        measures: the loss and the scores, by what they are called in messages.
        part: data of which the first samples pass through the model; None to leave that out.

    Raises:
        InputError: there is no model, it leaves out what stands in a slot, a slot names a module that it has not, or
            the samples do not pass through it to one number of each measure.
    """
    import torch
    from torch import nn

    noted: list[Slot] = []

    class Place(nn.Identity):
        """Stands in a slot; copies of it, as in ``nn.TransformerEncoder``, are known by their number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _check_arrival(task, noted[self.number], tuple(x.shape))
            return x

    def make_norm(slot: Slot) -> nn.Module:
        if not isinstance(slot, Slot):
            rule = f"the model of {task} must ask make_norm for a normlab.Slot"
            raise InputError(rule, repr(slot), 'Try make_norm(Slot(64, "NCHW", (8, 8))).')
        noted.append(slot)
        return Place(len(noted) - 1)

    with torch.random.fork_rng(devices=[]):
        model = _built(task, build, options, make_norm)
        places = [(module.number, name) for name, module in model.named_modules() if isinstance(module, Place)]
        names = dict(reversed(places))  # the first of several copies
        for number, slot in enumerate(noted):
            _check_slot(task, slot, number in names, {name for name, _ in model.named_modules()})
        if part is not None:
            _try_samples(task, model, measures, part.take(slice(0, TRIED_SAMPLES)))
    return tuple(replace(slot, name=names[number]) for number, slot in enumerate(noted))


def _built(task: str, build: Callable[[Any, Any], Any], options: object, make_norm: Callable[[Slot], Any]) -> Any:
    from torch import nn

    rule = f"the build of {task} must make a model"
    try:
        model = build(options, make_norm)
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise InputError(rule, reading.described(error), "Mend the function.") from error
    if not isinstance(model, nn.Module):
        raise InputError(rule, type(model).__name__, "Return a torch.nn.Module.")
    return model


def _check_slot(task: str, slot: Slot, stands: bool, modules: set[str]) -> None:
    if not stands:
        rule = f"the model of {task} must hold every norm that it asks make_norm for"
        given = f"a model without the one for Slot({slot.channels}, {slot.layout!r}, role={slot.role!r})"
        raise InputError(rule, given, "Make it an attribute of the model, and call it in forward.")
    for what, name in (("layer", slot.layer), ("activation", slot.activation)):
        if name and name not in modules:
            rule = f"the {what} of a slot must name a module of the model of {task}"
            there = ", ".join(sorted(modules - {""})) or "none"
            raise InputError(rule, repr(name), f"Its modules are {there}.")


def _check_arrival(task: str, slot: Slot, shape: tuple[int, ...]) -> None:
    axis = slot.layout.index("C")
    if len(shape) == len(slot.layout) and shape[axis] != slot.channels:
        rule = f"as many channels must arrive at a slot of {task} as it says, {slot.channels} in {slot.layout}"
        raise InputError(rule, f"the shape {shape}", f"Mend the slot or the layer before it: {shape[axis]} channels.")


def _try_samples(task: str, model: Any, measures: Mapping[str, OutputFunction], part: Part) -> None:
    import torch

    advice = f"Targets are {part.targets.dtype} of {part.targets.shape[1:]} a sample; mend the data, model or function."
    what = "model"
    try:
        with torch.no_grad():
            model = model.float().eval()
            if isinstance(part.inputs, Mapping):
                outputs = model(**{name: _tensor(array) for name, array in part.inputs.items()})
            else:
                outputs = model(_tensor(part.inputs))
            values = {}
            for what, measure in measures.items():
                values[what] = measure(outputs, _tensor(part.targets))
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"the {what} of {task} must take its data", reading.described(error), advice) from error
    for name, value in values.items():
        if isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1):
            continue
        given = f"a tensor of {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise InputError(f"the {name} of {task} must be one number", given, "Take the mean over the samples.")


def _tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.array(array, dtype=np.float32 if array.dtype.kind == "f" else None))
