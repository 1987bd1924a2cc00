"""Small convolutional networks: convolution, norm and activation for each width, mean over positions, linear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from normlab.norms.slot import Slot
from normlab.record import Record
from normlab.tasks.data import Data
from normlab.tasks.digits import DIGITS, load
from normlab.tasks.losses import ACCURACY, Loss
from normlab.tasks.mlp import LOSSES
from normlab.tasks.spec import Task
from normlab.tasks.structure import Activation, Chain, Layer, build_chain, draw_weights, slots_of_chain

KERNEL = 3
Channels = Annotated[int, Field(ge=1, le=100_000)]


class ConvolutionalOptions(Record):
    """Options of a convolutional network.

    Arguments:
        hidden: channels of the convolutions.
        convolutions: how many there are at each size of the image; several make a net like that of K. Simonyan and
            A. Zisserman, 2014, arXiv:1409.1556.
        activation: the nonlinearity.
        placement: norm before or after the activation.
        loss: ``cross_entropy``, or ``squared_error`` against one-hot targets.
    """

    hidden: tuple[Channels, ...] = Field((16, 32, 32), min_length=1, max_length=1000, strict=False)
    convolutions: Annotated[int, Field(ge=1, le=100)] = 1
    activation: Activation = "relu"
    placement: Literal["before", "after"] = "before"
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"


def convolutional_chain(image: tuple[int, int, int], classes: int, options: ConvolutionalOptions) -> Chain:
    """The structure: the first convolution keeps the size of the image, the next ones halve it (rounded up).

    By default each of them does, otherwise the first of every so many. All pad by one pixel of zeros. What is left is
    averaged over its positions before the linear layer.

    >>> chain = convolutional_chain((1, 8, 8), 10, ConvolutionalOptions())
    >>> [slot.extent for slot in slots_of_chain(chain)]
    [(8, 8), (4, 4), (2, 2)]
    """
    channels, height, width = image
    layers = [Layer("unflatten", "image", image)]
    for number, (before, after) in enumerate(pairwise((channels, *options.hidden)), start=1):
        stride = 2 if number > 1 and (number - 1) % options.convolutions == 0 else 1
        height, width = -(-height // stride), -(-width // stride)
        convolution, activation = f"convolution{number}", f"activation{number}"
        slot = Slot(after, "NCHW", (height, width), convolution, activation, name=f"norm{number}")
        block = (
            Layer("norm", slot.name, slot=slot),
            Layer("activation", activation, function=options.activation),
        )
        layers.append(Layer("convolution", convolution, (before, after, KERNEL, stride, 1)))
        layers.extend(block if options.placement == "before" else reversed(block))
    layers += [
        Layer("mean", "mean"),
        Layer("flatten", "flat"),
        Layer("linear", "linear", (options.hidden[-1], classes)),
    ]
    return tuple(layers)


def convolutional(
    name: str,
    title: str,
    *,
    data: Callable[[int, int], Data],
    image: tuple[int, int, int],
    classes: int,
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    hidden: tuple[int, ...] = (16, 32, 32),
    fixed: bool = True,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of classifying images by 3x3 convolutions with a slot after each, then a linear layer.

    Arguments:
        name, title, data, training_samples, held_out, fixed, baseline: as for `Task`.
        image: channels, height and width of a sample; samples are flat, row by row.
        classes: outputs of the last layer.
        hidden: channels of the convolutions by default.
    """

    def chain(options: ConvolutionalOptions) -> Chain:
        return convolutional_chain(image, classes, options)

    def loss(options: ConvolutionalOptions) -> Loss:
        return LOSSES[options.loss]

    return Task(
        name=name,
        title=title,
        data=data,
        build=lambda options, make_norm: build_chain(chain(options), make_norm),
        loss=loss,
        training_samples=training_samples,
        held_out=held_out,
        scores=(ACCURACY,),
        options=ConvolutionalOptions(hidden=hidden),
        fixed=fixed,
        classes=classes,
        weights=lambda options, stream: draw_weights(chain(options), stream),
        slots=lambda options: slots_of_chain(chain(options)),
        structure=chain,
        baseline=baseline,
    )


DIGITS_CNN = convolutional(
    "digits-cnn",
    "Handwritten digits (1,797 images of 8x8), small CNN",
    data=load,
    image=(1, 8, 8),
    classes=DIGITS.classes,
    training_samples=DIGITS.training_samples,
    held_out=DIGITS.held_out,
    fixed=False,
    baseline=DIGITS.baseline,
)
