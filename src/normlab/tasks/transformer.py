"""Small transformers on sequences of symbols: reversed order, and running sums modulo a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from normlab.errors import InputError
from normlab.record import Record
from normlab.seeding import stream
from normlab.tasks import models
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY, Score
from normlab.tasks.spec import Task

Size = Annotated[int, Field(ge=1, le=10_000)]


class TransformerOptions(Record):
    """Options of a transformer.

    Arguments:
        width: features of a token.
        depth: blocks, each of attention and a feed-forward network of four times the width.
        heads: of the attention; they divide the width.
        placement: where the norms stand: ``pre``, ``post``, ``sandwich`` or ``deepnorm``; see
            `normlab.tasks.models.transformer.Sublayer`.

    >>> TransformerOptions(width=8, heads=2).placement
    'pre'
    """

    width: Size = 32
    depth: Size = 2
    heads: Size = 4
    placement: Literal["pre", "post", "sandwich", "deepnorm"] = "pre"

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            advice = f"Try width {-(-self.width // self.heads) * self.heads}."
            raise InputError("width must be a multiple of heads", f"{self.width} and {self.heads}", advice)
        return self


def transformer(
    name: str,
    title: str,
    *,
    data: Callable[[int, int], Data],
    symbols: int,
    length: int,
    causal: bool,
    training_samples: int,
    held_out: tuple[str, ...] = ("test",),
    scores: tuple[Score, ...] = (ACCURACY,),
    fixed: bool = True,
    baseline: Mapping[str, float] | None = None,
) -> Task:
    """The task of naming a symbol at each place of a sequence of symbols, by a transformer.

    Slots have the roles ``block``, ``output`` (before the last layer, with the placements ``pre`` and ``sandwich``)
    and ``query-key``, which stay empty unless a study names them.

    Arguments:
        name, title, data, training_samples, held_out, scores, fixed, baseline: as for `Task`; inputs and targets are
            whole numbers below ``symbols``, samples by places.
        symbols: how many different symbols there are.
        length: places of a sequence.
        causal: whether the answer at a place may depend on the symbols up to there only.
    """
    return Task(
        name=name,
        title=title,
        data=data,
        build=lambda options, make_norm: models.Transformer(
            symbols, length, (options.width, options.depth, options.heads), options.placement, causal, make_norm
        ),
        loss=CROSS_ENTROPY,
        training_samples=training_samples,
        held_out=held_out,
        scores=scores,
        options=TransformerOptions(),
        fixed=fixed,
        classes=symbols,
        baseline=baseline,
    )


def drawn_sequences(
    name: str, symbols: int, length: int, samples: int, answer: Callable[[np.ndarray], np.ndarray]
) -> Callable[[int, int], Data]:
    """Sequences of uniform symbols with the symbols that answer them; those to train and to test on all differ."""

    def data(study_seed: int, seed: int) -> Data:
        rng = stream(study_seed, "draw", name, seed)
        drawn = np.unique(rng.integers(symbols, size=(3 * samples, length)), axis=0)
        training, test = rng.permutation(drawn)[: 2 * samples].reshape(2, samples, length)
        return Data(Part(training, answer(training)), {"test": Part(test, answer(test))})

    return data


def reversal(symbols: int = 8, length: int = 8, samples: int = 1000) -> Task:
    """Symbols in reversed order: at each place the symbol that stands as far from the end as this from the start."""
    return transformer(
        "reversal",
        f"Sequences of {length} symbols in reversed order ({samples:,} sequences), transformer",
        data=drawn_sequences("reversal", symbols, length, samples, lambda drawn: drawn[:, ::-1].copy()),
        symbols=symbols,
        length=length,
        causal=False,
        training_samples=samples,
        fixed=False,
        baseline={"accuracy": 1 / symbols},
    )


def modular_sum(modulus: int = 5, length: int = 6, samples: int = 1000) -> Task:
    """At each place the sum of all numbers up to there, modulo a number."""
    return transformer(
        "modular-sum",
        f"Running sums modulo {modulus} of {length} numbers ({samples:,} sequences), transformer",
        data=drawn_sequences("modular-sum", modulus, length, samples, lambda drawn: drawn.cumsum(axis=1) % modulus),
        symbols=modulus,
        length=length,
        causal=True,
        training_samples=samples,
        fixed=False,
        baseline={"accuracy": 1 / modulus},
    )


REVERSAL, MODULAR_SUM = reversal(), modular_sum()
