"""Small residual networks on images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from normlab.record import Record
from normlab.tasks import models
from normlab.tasks.cnn import Channels
from normlab.tasks.data import Data
from normlab.tasks.digits import DIGITS, load
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY
from normlab.tasks.spec import Task
from normlab.tasks.structure import Activation

Blocks = Annotated[int, Field(ge=1, le=1000)]


class ResidualOptions(Record):
    """Options of a residual network.

    Arguments:
        hidden: channels of the stages; each stage but the first halves the image (rounded up).
        blocks: residual blocks of a stage, two convolutions each.
        activation: the nonlinearity.
        zero_gamma: whether the gain of the last norm in each block starts at 0, where the norm has one, so that
            blocks start as their shortcuts (P. Goyal et al., 2017, arXiv:1706.02677).
    """

    hidden: tuple[Channels, ...] = Field((16, 32), min_length=1, max_length=1000, strict=False)
    blocks: Blocks = 1
    activation: Activation = "relu"
    zero_gamma: bool = False


def residual(
    name: str,
    title: str,
    *,
    data: Callable[[int, int], Data],
    image: tuple[int, int, int],
    classes: int,
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    fixed: bool = True,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of classifying images by a residual network with a slot behind each convolution.

    Norms on projected shortcuts have the role ``shortcut``.

    Arguments:
        name, title, data, training_samples, held_out, fixed, baseline: as for `Task`.
        image: channels, height and width of a sample; samples are flat, row by row.
        classes: outputs of the last layer.
    """
    return Task(
        name=name,
        title=title,
        data=data,
        build=lambda options, make_norm: models.ResidualNet(
            image, classes, options.hidden, options.blocks, options.activation, options.zero_gamma, make_norm
        ),
        loss=CROSS_ENTROPY,
        training_samples=training_samples,
        held_out=held_out,
        scores=(ACCURACY,),
        options=ResidualOptions(),
        fixed=fixed,
        classes=classes,
        baseline=baseline,
    )


DIGITS_RESNET = residual(
    "digits-resnet",
    "Handwritten digits (1,797 images of 8x8), small residual network",
    data=load,
    image=(1, 8, 8),
    classes=DIGITS.classes,
    training_samples=DIGITS.training_samples,
    held_out=DIGITS.held_out,
    fixed=False,
    baseline=DIGITS.baseline,
)
