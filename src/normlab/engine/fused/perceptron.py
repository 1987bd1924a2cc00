"""Multilayer perceptrons, read from the structure that a task gives as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from normlab.engine.fused.kinds import CROSS_ENTROPY, NORMS, OPTIONS, SQUARED_ERROR
from normlab.engine.initial_state import load_data
from normlab.norms.none import NONE
from normlab.norms.spec import Norm
from normlab.recipe import Recipe
from normlab.tasks import losses
from normlab.tasks.data import Data
from normlab.tasks.structure import Activation, Chain, Layer

LOSSES = {losses.CROSS_ENTROPY: CROSS_ENTROPY, losses.ONE_HOT_SQUARED_ERROR: SQUARED_ERROR}
FORMS = {  # what follows a linear layer, dropout aside, and whether a norm comes after the activation
    ("norm", "activation"): False,
    ("activation", "norm"): True,
    ("activation",): False,
}


@dataclass(frozen=True)
class Perceptron:
    """A multilayer perceptron: blocks of linear layer, norm, activation and perhaps dropout, then a linear layer.

    Arguments:
        widths: features of the input and of each linear layer.
        linear: names of the linear layers.
        norms: names of the norms, one behind each linear layer but the last.
        norm: the norm in all of them.
        activation: the activation in all blocks.
        after: whether the norms come after the activations.
        dropout: probability with which a hidden unit is dropped, behind each block.
        loss: which of the kernel's losses.
        scored: whether accuracy is measured.
    """

    widths: tuple[int, ...]
    linear: tuple[str, ...]
    norms: tuple[str, ...]
    norm: Norm
    activation: Activation
    after: bool
    dropout: float
    loss: int
    scored: bool

    @property
    def weights(self) -> int:
        """The number of weights of the linear layers."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.widths))


def read(recipe: Recipe) -> Perceptron | str:
    """The perceptron of a recipe, or why it is none that the kernel can train."""
    chain = recipe.task.chain_of(recipe.options)
    if chain is None:
        return "it trains models whose structure their task gives as data"
    if obstacle := _problem_obstacle(recipe):
        return obstacle
    network = _network(recipe, chain)
    return network if isinstance(network, str) else data_obstacle(load_data(recipe), network) or network


def _network(recipe: Recipe, chain: Chain) -> Perceptron | str:
    for layer in chain:
        if layer.kind not in {"linear", "norm", "activation", "dropout"}:
            return f"it trains multilayer perceptrons, which have no layer of the kind {layer.kind}"
    blocks = _blocks(chain)
    if not blocks or chain[0].kind != "linear" or blocks[-1][1:] or len(blocks) < 2:
        return "it trains hidden layers followed by a linear one"
    forms = {tuple(layer.kind for layer in block[1:]) for block in blocks[:-1]}
    form = next(iter(forms))
    bare = form[:-1] if form[-1:] == ("dropout",) else form
    if len(forms) > 1 or bare not in FORMS:
        return "it needs hidden layers that are all followed by a norm and an activation, perhaps dropout, in one order"
    functions = {layer.function for layer in chain if layer.kind == "activation"}
    if len(functions) > 1:
        return f"it needs one activation for all layers, not {' and '.join(sorted(functions))}"
    norm = _norm(recipe, chain)
    if isinstance(norm, str):
        return norm
    linear = [block[0] for block in blocks]
    widths = (linear[0].sizes[0], *(layer.sizes[1] for layer in linear))
    dropout = recipe.task.dropout_of(recipe.options)
    if (dropout.rate > 0) != ("dropout" in form) or (dropout.rate and dropout.units != widths[1:-1]):
        return "it needs dropout of every unit of every hidden layer, or none"
    return Perceptron(
        widths=widths,
        linear=tuple(layer.name for layer in linear),
        norms=tuple(layer.name for layer in chain if layer.kind == "norm"),
        norm=norm,
        activation=next(iter(functions)),
        after=FORMS[bare],
        dropout=dropout.rate,
        loss=LOSSES[recipe.task.loss_of(recipe.options)],
        scored=bool(recipe.task.scores),
    )


def _blocks(chain: Chain) -> list[list[Layer]]:
    """The layers, from each linear layer to the next."""
    blocks: list[list[Layer]] = []
    for layer in chain:
        if layer.kind == "linear" or not blocks:
            blocks.append([])
        blocks[-1].append(layer)
    return blocks


def _norm(recipe: Recipe, chain: Chain) -> Norm | str:
    """The one norm of all slots."""
    norms = {str(norm): norm for norm in (recipe.norms.norm_at(layer.slot) for layer in chain if layer.slot)}
    if len(norms) > 1:
        return f"it needs one norm for all slots, not {' and '.join(norms)}"
    norm = next(iter(norms.values()), Norm(NONE.name, NONE, {}))
    if norm.reference not in NORMS:
        return f"it has no {norm.reference}"
    if unknown := norm.changed_options - OPTIONS:
        return f"it has no {norm.reference} with another {min(unknown)}"
    return norm


def _problem_obstacle(recipe: Recipe) -> str | None:
    """Why it has not the loss or the scores of a task."""
    loss = recipe.task.loss_of(recipe.options)
    if loss not in LOSSES:
        return f"it has no loss {loss.name}"
    if other := [score.name for score in recipe.task.scores if score != losses.ACCURACY]:
        return f"it has no score {other[0]}"
    return None


def data_obstacle(data: Data, network: Perceptron) -> str | None:
    """Why the kernel cannot take these data, or None."""
    for part in (data.training, *data.held_out.values()):
        inputs, targets = part.inputs, part.targets
        if isinstance(inputs, Mapping) or inputs.ndim != 2 or inputs.dtype.kind != "f":
            return "it takes inputs of samples by features in floating point"
        if inputs.shape[1] != network.widths[0]:
            return f"it needs inputs of {network.widths[0]} features, not {inputs.shape[1]}"
        if targets.ndim != 1 or targets.dtype.kind not in "iu" or not _within(targets, network.widths[-1]):
            return "it takes targets that are numbers of classes, one for each sample"
    return None


def _within(classes: np.ndarray, count: int) -> bool:
    return bool(((classes >= 0) & (classes < count)).all())
