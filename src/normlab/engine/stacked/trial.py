"""Whether a cohort can be trained stacked: a training step and an evaluation of two replicas on a few samples."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normlab.engine.sequential import build_model
from normlab.engine.stacked.program import Program, stack
from normlab.engine.start import Start, prepare
from normlab.records import Cohort, Setting
from normlab.tasks.data import Data, Part

SAMPLES = 8


def obstacle(cohort: Cohort) -> str | None:
    """Why ``vmap`` cannot train this cohort, or None."""
    setting = cohort.setting.model_copy(update={"epochs": 1})
    starts = [_small(prepare(run)) for run in replace(cohort, setting=setting, seeds=(0, 1)).runs()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of slow rules: the calibration knows better
            return _try(starts, setting)
    except Exception as error:  # whatever a user's layer does under vmap, sequential may be able to train it
        return f"torch.func.vmap cannot train it ({_first_sentence(error)})"


def bytes_per_replica(cohort: Cohort) -> int:
    """What one replica takes in a training step: parameters, their gradients and moments, saved activations."""
    setting = cohort.setting
    start = prepare(next(replace(cohort, setting=setting.model_copy(update={"epochs": 1}), seeds=(0,)).runs()))
    model = build_model(start, setting, "cpu")
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        inputs = torch.from_numpy(start.data.training.inputs[: setting.batch_size])
        model(inputs.to(getattr(torch, setting.dtype)))
    own = sum(value.nbytes for value in [*model.parameters(), *model.buffers()])
    return 4 * own + sum(saved.values())


def _small(start: Start) -> Start:
    """The same start with the first few samples."""

    def few(part: Part) -> Part:
        return Part(part.inputs[:SAMPLES], part.targets[:SAMPLES])

    data = Data(few(start.data.training), {name: few(part) for name, part in start.data.held_out.items()})
    return replace(start, data=data, classes=start.classes[:SAMPLES])


def _try(starts: list[Start], setting: Setting) -> str | None:
    program = Program(starts[0], setting, "cpu")
    if changed := _hidden_state(program.model, starts[0], setting):
        return f"{changed} changes in training although it is no buffer, so replicas would share it"
    parameters, buffers = stack(starts, setting, "cpu")
    if setting.dropout:
        for name in buffers:
            if name.endswith(".mask"):
                buffers[name] = buffers[name].reshape(len(starts), 1, 1)
    learned = {name: value for name, value in parameters.items() if name in program.learned}
    fixed = {name: value for name, value in parameters.items() if name not in program.learned}
    inputs = torch.from_numpy(starts[0].data.training.inputs).to(getattr(torch, setting.dtype))
    targets = torch.from_numpy(np.stack([start.classes for start in starts]))
    program.step(learned, fixed, buffers, inputs.expand(len(starts), *inputs.shape), targets)
    program.evaluate({**parameters, **buffers}, "population", {"training": (inputs, targets)})
    return None


def _hidden_state(model: nn.Module, start: Start, setting: Setting) -> str:
    """What a training pass changes in the model beside parameters and buffers; empty if nothing."""
    inputs = torch.from_numpy(start.data.training.inputs).to(getattr(torch, setting.dtype))
    model = copy.deepcopy(model).train()
    before = {name: _attributes(layer) for name, layer in model.named_modules()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        model(inputs)
    for name, layer in model.named_modules():
        now = _attributes(layer)
        for key in now.keys() | before[name].keys():
            if key not in now or key not in before[name] or not _same(now[key], before[name][key]):
                return f"{name}.{key}"
    return ""


def _attributes(layer: nn.Module) -> dict[str, Any]:
    kept = {"_parameters", "_buffers", "_modules"}
    return {key: copy.copy(value) for key, value in vars(layer).items() if key not in kept}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    try:
        return bool(one == other)
    except Exception:  # objects that cannot be compared
        return one is other


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].removesuffix(".")
