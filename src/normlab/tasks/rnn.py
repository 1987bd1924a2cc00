"""Recurrent networks: handwritten digits by their rows, and the adding problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from normlab.record import Record
from normlab.seeding import stream
from normlab.tasks import models
from normlab.tasks.data import Data, Part
from normlab.tasks.digits import DIGITS, load
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY, R2, SQUARED_ERROR, Loss, Score
from normlab.tasks.spec import Task

Units = Annotated[int, Field(ge=1, le=100_000)]


class RecurrentOptions(Record):
    """Options of a recurrent network.

    Arguments:
        hidden: units of the cell.
        statistics: whether running statistics belong to a step of the sequence (``per-step``) or are those of all
            steps (``shared``). Norms without running statistics are the same with both.
        initial_gain: where the gain of norms in the cell starts, where they have one; 0.1 keeps the gradients of
            batch-normalized cells from vanishing (T. Cooijmans et al., 2016, arXiv:1603.09025, section 4).
    """

    hidden: Units = 32
    statistics: Literal["per-step", "shared"] = "per-step"
    initial_gain: FiniteFloat = Field(1.0, ge=0)


def recurrent(
    name: str,
    title: str,
    *,
    cell: Literal["lstm", "gru"],
    data: Callable[[int, int], Data],
    shape: tuple[int, int],
    outputs: int,
    loss: Loss,
    scores: tuple[Score, ...],
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    hidden: int = 32,
    fixed: bool = True,
    classes: int = 0,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of answering a sequence by a recurrent cell and a linear layer on its last output.

    Slots have the roles ``input-gate``, ``recurrent-gate``, ``cell`` (LSTM) and ``output``; the last stays empty
    unless a study names it.

    Arguments:
        name, title, data, loss, scores, training_samples, held_out, fixed, classes, baseline: as for `Task`.
        cell: which cell.
        shape: steps of a sequence and features of a step; samples may be flat, step by step.
        outputs: of the linear layer.
        hidden: units of the cell by default.
    """
    return Task(
        name=name,
        title=title,
        data=data,
        build=lambda options, make_norm: models.RecurrentNet(
            cell,
            shape,
            outputs,
            options.hidden,
            options.statistics == "per-step",
            options.initial_gain,
            make_norm,
        ),
        loss=loss,
        training_samples=training_samples,
        held_out=held_out,
        scores=scores,
        options=RecurrentOptions(hidden=hidden),
        fixed=fixed,
        classes=classes,
        baseline=baseline,
    )


def _digits_by_rows(cell: Literal["lstm", "gru"]) -> Task:
    return recurrent(
        f"digits-{cell}",
        f"Handwritten digits (1,797 images of 8x8) read row by row, {cell.upper()}",
        cell=cell,
        data=load,
        shape=(8, 8),
        outputs=DIGITS.classes,
        loss=CROSS_ENTROPY,
        scores=(ACCURACY,),
        training_samples=DIGITS.training_samples,
        held_out=DIGITS.held_out,
        fixed=False,
        classes=DIGITS.classes,
        baseline=DIGITS.baseline,
    )


def adding(length: int = 20, samples: int = 1000) -> Task:
    """The adding problem: of a sequence of numbers, the sum of the two that are marked.

    S. Hochreiter and J. Schmidhuber, 1997, Long short-term memory, in the form of Q. Le et al., 2015,
    arXiv:1504.00941: numbers uniform in 0..1, one mark in each half. Each seed has a draw of its own.

    Arguments:
        length: steps of a sequence.
        samples: sequences to train on; as many are held out.
    """

    def data(study_seed: int, seed: int) -> Data:
        rng = stream(study_seed, "draw", "adding", seed)
        return Data(adding_sequences(rng, samples, length), {"test": adding_sequences(rng, samples, length)})

    return recurrent(
        "adding",
        f"The adding problem ({samples:,} sequences of {length} numbers), LSTM",
        cell="lstm",
        data=data,
        shape=(length, 2),
        outputs=1,
        loss=SQUARED_ERROR,
        scores=(R2,),
        training_samples=samples,
        fixed=False,
        baseline={"r2": 0.0},
    )


def adding_sequences(rng: np.random.Generator, count: int, length: int) -> Part:
    """Sequences of pairs (number, mark) with the sum of the two marked numbers.

    >>> part = adding_sequences(np.random.default_rng(0), 3, 6)
    >>> part.inputs.shape, part.inputs[..., 1].sum(axis=1).tolist()
    ((3, 6, 2), [2.0, 2.0, 2.0])
    """
    numbers = rng.random((count, length))
    rows = np.arange(count)
    first, second = rng.integers(length // 2, size=count), rng.integers(length // 2, length, size=count)
    marks = np.zeros((count, length))
    marks[rows, first] = marks[rows, second] = 1.0
    return Part(np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1))


DIGITS_LSTM, DIGITS_GRU = _digits_by_rows("lstm"), _digits_by_rows("gru")
ADDING = adding()
