"""What several rules measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import gcd, prod

from normlab.diagnosis.case import Case, NormCall, Pass
from normlab.recognition.spec import FoundNorm, Use

BATCH = ("batch", "sync-batch", "ghost", "batch-renorm", "mean-only-batch", "variance-only-batch", "batch-group")
LARGEST_HALF, INFINITE_HALF = 65504.0, 65520.0  # of float16, and what is rounded to infinity
MOST_GROUPS, ENOUGH = 32, 16  # as Wu and He 2018 have them: groups, and elements of a group


def batch_norms(case: Case, *, evaluating: bool = False) -> Iterator[FoundNorm]:
    """The norms that take statistics over the samples of a batch in training.

    Arguments:
        case: the model.
        evaluating: whether those too that could, but stay in evaluation mode when the model is trained.
    """
    for norm in case.of_kind(*BATCH):
        if not norm.frozen and (evaluating or norm.name not in case.evaluating):
            yield norm


def with_numbers(case: Case) -> Iterator[FoundNorm]:
    """The norms whose parameters and buffers hold numbers, which those on the meta device do not."""
    for norm in case.norms:
        if not any(tensor.is_meta for tensor in (*norm.module.parameters(), *norm.module.buffers())):
            yield norm


def first_calls(seen: Pass, norms: Iterable[FoundNorm]) -> Iterator[tuple[FoundNorm, NormCall]]:
    """Each norm that was called in a pass, with the first call in which something can be measured."""
    for norm in norms:
        if call := seen.first(norm.name):
            yield norm, call


def values_per_statistic(norm: FoundNorm, shape: Sequence[int]) -> int | None:
    """How many elements share a mean or mean square; None where that is not known of its kind.

    Arguments:
        norm: the norm.
        shape: what comes in, with the samples on axis 0.
    """
    if norm.kind in BATCH and norm.kind != "batch-group":
        return shape[0] * prod(shape[2:])
    if norm.kind == "instance":
        return prod(shape[2:])
    if norm.kind in ("group", "standardized-group"):
        groups = int(getattr(norm.module, "num_groups", norm.options.get("groups", 0)) or 0)
        return shape[1] * prod(shape[2:]) // groups if groups and len(shape) > 1 else None
    if norm.kind in ("layer", "layer-chw", "rms"):
        if axes := getattr(norm.module, "normalized_shape", None):
            return int(prod(axes))
        return prod(shape[1:]) if norm.order == "all" else norm.channels or None
    return norm.channels or None if norm.kind == "layer2d" else None


def makes_up(momentum: float, times: float) -> bool:
    """Whether a momentum is one that was lowered to what several updates with one batch make a usual one.

    A usual one has two digits behind the point; 1 - (1 - 0.1) ** (1 / 2), which two updates make 0.1, has not.

    >>> makes_up(0.0513, 2), makes_up(0.1, 2), makes_up(0.01, 2)
    (True, False, False)
    """
    acts = 1 - (1 - momentum) ** times
    return round(momentum, 2) != momentum and abs(acts - round(acts, 2)) < 0.002 * acts


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it.

    >>> shape_text((8, 64, 1, 1))
    '8x64x1x1'
    """
    return "x".join(map(str, shape))


def group_call(norm: FoundNorm, shape: Sequence[int]) -> str:
    """The call that puts GroupNorm in its place: the most groups, 32 at most, that leave enough elements to each.

    A group has two channels at least, as with one GroupNorm would be InstanceNorm.

    Arguments:
        norm: the norm.
        shape: what comes in, with the samples on axis 0 and the channels on axis 1.

    >>> norm = FoundNorm("bn", ("bn",), None, "batch")
    >>> group_call(norm, (8, 64, 4, 4)), group_call(norm, (8, 24))
    ('normlab.swap(model, "group:groups=32", where="bn")', 'normlab.swap(model, "group:groups=1", where="bn")')
    >>> group_call(norm, (8, 16, 64, 64))
    'normlab.swap(model, "group:groups=8", where="bn")'
    """
    channels, space = shape[1] if len(shape) > 1 else 1, prod(shape[2:])
    return swap_call(norm, f"group:groups={most_groups([(channels, space)])}")


def groups_fitting(norms: Iterable[FoundNorm], uses: Mapping[str, Sequence[Use]]) -> int:
    """The number of groups that one swap of all batch norms of a model, or else of all its norms, would have.

    Arguments:
        norms: the norms of the model.
        uses: their calls, as far as they are known; elsewhere a layer is taken for one with axes of space.
    """
    known = [norm for norm in norms if norm.channels]
    sizes = []
    for norm in [norm for norm in known if norm.kind in BATCH] or known:
        shape = next((use.shape for use in uses.get(norm.name, ()) if len(use.shape) > 1), None)
        sizes.append((norm.channels, ENOUGH if shape is None else prod(shape[1:]) // norm.channels))
    return most_groups(sizes)


def most_groups(sizes: Sequence[tuple[int, int]]) -> int:
    """The most groups, 32 at most, that leave two channels and enough elements to each group in every layer.

    Arguments:
        sizes: the channels of each layer, and the elements of a channel in a sample.

    >>> most_groups([(64, 16)]), most_groups([(16, 16), (24, 16)]), most_groups([(16, 1)]), most_groups([])
    (32, 8, 1, 1)
    """
    fewest, common = min((channels for channels, _ in sizes), default=1), gcd(*(channels for channels, _ in sizes))
    fitting = [count for count in range(1, max(1, min(MOST_GROUPS, fewest // 2)) + 1) if common % count == 0]
    enough = (count for count in fitting if all(size // count * space >= ENOUGH for size, space in sizes))
    return max(enough, default=1)


def swap_call(norm: FoundNorm, to: str, traced: bool = False) -> str:
    """The call that puts another norm in the place of this one.

    Arguments:
        norm: this one.
        to: the other.
        traced: whether the swap has to see the inputs, to know the order of their axes.
    """
    where = f', where="{norm.name}"' if norm.name else ""
    return f'normlab.swap(model, "{to}"{where}{", example_inputs=inputs" if traced else ""})'
