"""Multilayer perceptrons: linear, norm and activation for each hidden width, then a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from normlab.norms.slot import Slot
from normlab.record import Record
from normlab.tasks.data import Data
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY, ONE_HOT_SQUARED_ERROR, R2, SQUARED_ERROR
from normlab.tasks.spec import Dropout, Task
from normlab.tasks.structure import Activation, Chain, Layer, build_chain, draw_weights, slots_of_chain

Width = Annotated[int, Field(ge=1, le=1_000_000)]
LOSSES = {loss.name: loss for loss in (CROSS_ENTROPY, ONE_HOT_SQUARED_ERROR)}


class RegressionOptions(Record):
    """Options of a perceptron that answers by numbers.

    Arguments:
        hidden: widths of the hidden layers.
        activation: the nonlinearity.
        placement: norm before or after the activation.
        dropout: probability with which a hidden unit is dropped.
        dropout_at: where: at the ``end`` of each block, behind norm and activation, or at its ``norm``, directly before
            it, whose running variances are then of units that are dropped in training alone (X. Li et al., 2018,
            arXiv:1801.05134).
    """

    hidden: tuple[Width, ...] = Field((50,), min_length=1, max_length=1000, strict=False)
    activation: Activation = "relu"
    placement: Literal["before", "after"] = "before"
    dropout: FiniteFloat = Field(0.0, ge=0, lt=1)
    dropout_at: Literal["end", "norm"] = "end"


class PerceptronOptions(RegressionOptions):
    """Options of a perceptron that classifies.

    Arguments:
        hidden, activation, placement, dropout, dropout_at: as for `RegressionOptions`.
        loss: ``cross_entropy``, or ``squared_error`` against one-hot targets.
    """

    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"


def perceptron_chain(inputs: int, outputs: int, options: RegressionOptions) -> Chain:
    """The structure of a perceptron.

    >>> [layer.name for layer in perceptron_chain(10, 2, PerceptronOptions())]
    ['linear1', 'norm1', 'activation1', 'linear2']
    """
    widths = (inputs, *options.hidden, outputs)
    layers: list[Layer] = []
    for number, (before, after) in enumerate(pairwise(widths[:-1]), start=1):
        linear, activation = f"linear{number}", f"activation{number}"
        slot = Slot(after, layer=linear, activation=activation, name=f"norm{number}")
        block = [Layer("norm", slot.name, slot=slot), Layer("activation", activation, function=options.activation)]
        block = block if options.placement == "before" else block[::-1]
        if options.dropout:
            place = len(block) if options.dropout_at == "end" else [layer.kind for layer in block].index("norm")
            block.insert(place, Layer("dropout", f"dropout{number}", (after,)))
        layers += [Layer("linear", linear, (before, after)), *block]
    layers.append(Layer("linear", f"linear{len(widths) - 1}", widths[-2:]))
    return tuple(layers)


def perceptron(
    name: str,
    title: str,
    *,
    data: Callable[[int, int], Data],
    inputs: int,
    classes: int,
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    hidden: tuple[int, ...] = (50,),
    fixed: bool = True,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of classifying by a multilayer perceptron, with a slot after each hidden linear layer.

    Arguments:
        name, title, data, training_samples, held_out, fixed, baseline: as for `Task`.
        inputs: features of a sample.
        classes: outputs of the last layer.
        hidden: widths of the hidden layers by default.
    """

    return Task(
        name=name,
        title=title,
        data=data,
        loss=lambda options: LOSSES[options.loss],
        training_samples=training_samples,
        held_out=held_out,
        scores=(ACCURACY,),
        options=PerceptronOptions(hidden=hidden),
        fixed=fixed,
        classes=classes,
        baseline=baseline,
        **_model(inputs, classes),
    )


def regression_perceptron(
    name: str,
    title: str,
    *,
    data: Callable[[int, int], Data],
    inputs: int,
    outputs: int = 1,
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    hidden: tuple[int, ...] = (50,),
    fixed: bool = True,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of predicting numbers by a multilayer perceptron, with a slot after each hidden linear layer.

    Arguments:
        name, title, data, training_samples, held_out, fixed, baseline: as for `Task`.
        inputs: features of a sample.
        outputs: numbers to predict for each sample.
        hidden: widths of the hidden layers by default.
    """
    return Task(
        name=name,
        title=title,
        data=data,
        loss=SQUARED_ERROR,
        training_samples=training_samples,
        held_out=held_out,
        scores=(R2,),
        options=RegressionOptions(hidden=hidden),
        fixed=fixed,
        baseline=baseline,
        **_model(inputs, outputs),
    )


def _model(inputs: int, outputs: int) -> dict[str, Any]:
    """What a task says of its model, as arguments of `Task`."""

    def chain(options: RegressionOptions) -> Chain:
        return perceptron_chain(inputs, outputs, options)

    return {
        "build": lambda options, make_norm: build_chain(chain(options), make_norm),
        "weights": lambda options, stream: draw_weights(chain(options), stream),
        "slots": lambda options: slots_of_chain(chain(options)),
        "structure": chain,
        "dropout": lambda options: Dropout(options.dropout, options.hidden if options.dropout else ()),
    }
