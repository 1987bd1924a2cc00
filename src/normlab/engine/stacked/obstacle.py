"""Whether a recipe can be trained stacked: two replicas are trained for a step on a few samples, and measured."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from normlab.engine.history import History
from normlab.engine.initial_state import InitialState, draw
from normlab.engine.model import build_model, samples_of
from normlab.engine.stacked.group import train_group
from normlab.engine.stacked.stacked_model import StackedModel
from normlab.engine.trial import in_short
from normlab.recipe import Recipe
from normlab.tasks.samples import call, take


def find_obstacle(short: Recipe) -> str | None:
    """Why ``vmap`` cannot train a recipe that is `in_short` already, or None: whatever training would do is tried."""
    try:
        states = [draw(short, seed) for seed in (0, 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of slow rules: the calibration knows better
            stacked_model = StackedModel(states[0], "cpu")
            if changed := _hidden_state(stacked_model.model, states[0]):
                return f"{changed} changes in training although it is no buffer, so replicas would share it"
            train_group(stacked_model, states, {0: History(), 1: History()}, [])
    except Exception as error:  # whatever a user's layer does under vmap, sequential may be able to train it
        return f"torch.func.vmap cannot train it ({_first_sentence(error)})"
    return None


def bytes_per_replica(recipe: Recipe) -> int:
    """What one replica takes in a training step: parameters, their gradients and moments, saved activations."""
    state = draw(in_short(recipe, 1), 0)
    model = build_model(state, "cpu")
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        samples = samples_of(state.data.training, state.training, "cpu")
        call(model, take(samples, slice(state.training.batch_size))[0])
    state_bytes = sum(value.nbytes for value in [*model.parameters(), *model.buffers()])
    return 4 * state_bytes + sum(saved.values())


def _hidden_state(model: nn.Module, state: InitialState) -> str:
    """What a training pass changes in the model beside parameters and buffers; empty if nothing."""
    inputs, _ = samples_of(state.data.training, state.training, "cpu")
    model = copy.deepcopy(model).train()
    before = {name: _attributes(layer) for name, layer in model.named_modules()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        call(model, inputs)
    for name, layer in model.named_modules():
        now = _attributes(layer)
        for key in now.keys() | before[name].keys():
            if key not in now or key not in before[name] or not _same(now[key], before[name][key]):
                return f"{name}.{key}"
    return ""


def _attributes(layer: nn.Module) -> dict[str, Any]:
    tensors = {"_parameters", "_buffers", "_modules"}
    return {key: copy.copy(value) for key, value in vars(layer).items() if key not in tensors}


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) or isinstance(other, Tensor):
        return isinstance(value, Tensor) and isinstance(other, Tensor) and torch.equal(value, other)
    try:
        return bool(value == other)
    except Exception:  # objects that cannot be compared
        return value is other


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].removesuffix(".")
