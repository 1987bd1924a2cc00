"""What the norms of an answer cost on a shape, measured now: joined from the profile of layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from normlab.errors import InputError
from normlab.guidance.precedent import ModelKind
from normlab.guidance.query import Guidance, Query
from normlab.norms.catalog import parse
from normlab.norms.slot import Layout, Slot
from normlab.profiling.layers import profile
from normlab.profiling.requests import reason_against
from normlab.profiling.shapes import layout_of, read_shapes
from normlab.profiling.spec import Cost

USUAL_BATCH = 32
ROUNDS = 5  # in each of which every norm is timed: an answer must come soon on a busy machine too
SHAPES: dict[
    ModelKind, tuple[Layout, tuple[int, ...]]
] = {  # of one sample, where no shape is given; 240 divides by most numbers of groups
    "perceptron": ("NC", (240,)),
    "cnn": ("NCHW", (64, 32, 32)),
    "recurrent": ("NLC", (64, 240)),
    "transformer": ("NLC", (64, 240)),
}


@dataclass(frozen=True)
class Fit:
    """What a norm costs on a shape.

    Arguments:
        norm: its text.
        milliseconds: forward and backward.
        ratio: over torch's BatchNorm in the same rounds.
        kept_bytes: the output and what is saved for the backward pass; None where it was not measured.
        skipped: why it was not measured.
        fits: whether it keeps no more than was asked for.
    """

    norm: str
    milliseconds: float | None = None
    ratio: float | None = None
    kept_bytes: int | None = None
    skipped: str = ""
    fits: bool = True

    @property
    def time(self) -> str:
        """Time and ratio for a table."""
        return "-" if self.milliseconds is None else f"{self.milliseconds:.3g} ms ({self.ratio:.2f})"

    @property
    def kept(self) -> str:
        """Memory for a table."""
        return "-" if self.kept_bytes is None else f"{self.kept_bytes / 2**20:.3g} MiB"


@dataclass(frozen=True)
class Costs:
    """What the norms of an answer cost.

    Arguments:
        shape: on which they were measured.
        fits: of each norm.
        warnings: why some of the figures should not be trusted.
    """

    shape: str
    fits: tuple[Fit, ...]
    warnings: tuple[str, ...] = ()

    def within(self, limit: int | None) -> Costs:
        """The same with a word on which norms keep no more than ``limit`` bytes; all if there is no limit."""
        if limit is None:
            return self
        fits = (replace(fit, fits=fit.kept_bytes is None or fit.kept_bytes <= limit) for fit in self.fits)
        return replace(self, fits=tuple(fits))


def costs_of(guidance: Guidance, shape: str | None = None) -> Costs:
    """Time and memory of the norms of an answer.

    Arguments:
        guidance: the answer.
        shape: input of a norm as ``N,C,...``; a usual one of the kind, with the batch that is asked about, if None.

    Raises:
        InputError: the shape is none.
    """
    _, sample = SHAPES[guidance.query.kind]
    sizes = shape or ",".join(map(str, (guidance.query.batch_size or USUAL_BATCH, *sample)))
    slot, batch_size = slot_on(guidance.query, sizes)
    reasons = {choice.norm: _reason(choice.norm, slot, batch_size) for choice in guidance.choices}
    norms = [norm for norm, reason in reasons.items() if reason is None]
    skipped = tuple(Fit(norm, skipped=reason) for norm, reason in reasons.items() if reason is not None)
    if not norms:
        return Costs(sizes, skipped)
    (case,) = profile(sizes, norms, layout=slot.layout, repeats=ROUNDS).cases
    return Costs(sizes, (*map(_fit, case.costs), *skipped), case.warnings)


def slot_on(query: Query, shape: str) -> tuple[Slot, int]:
    """The slot of a norm on that shape, for the kind of model that is asked about, and the size of the batch.

    Raises:
        InputError: the shape is none.
    """
    (read,) = read_shapes(shape)
    return Slot.alone(read, layout_of([read], (), SHAPES[query.kind][0])), read[0]


def _reason(norm: str, slot: Slot, batch_size: int) -> str | None:
    """Why a norm is not measured, or None: one for each role is no layer, and what is not there cannot run."""
    try:
        return reason_against(parse(norm), slot, batch_size)
    except InputError as error:
        return str(error)


def _fit(cost: Cost) -> Fit:
    return Fit(
        norm=cost.norm,
        milliseconds=1e3 * cost.both.median if cost.both else None,
        ratio=cost.ratio.median if cost.ratio else None,
        kept_bytes=cost.memory.kept if cost.memory else None,
        skipped=cost.skipped,
    )
