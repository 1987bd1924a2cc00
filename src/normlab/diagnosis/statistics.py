"""The statistics of what comes into a norm, those that it keeps, and how far they lie apart beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import Tensor

FEW_ERRORS = 4.0  # standard errors, root mean square over the channels: about 1 by chance
FEW_SAMPLES = 4  # below which their spread says little about the error of their mean
TINY = 1e-12
SHUFFLES = 199  # random ways to part samples in two


@dataclass(frozen=True)
class Statistics:
    """Means and variances, one of each channel.

    Arguments:
        mean: the means.
        variance: the biased variances.
        mean_error: the standard errors of the means, from the spread between samples; 0 where they are given.
        variance_error: the standard errors of the variances.
    """

    mean: Tensor
    variance: Tensor
    mean_error: Tensor
    variance_error: Tensor


def statistics_of(norm: FoundNorm, value: Tensor) -> Statistics | None:
    """Those of what comes into a norm, samples on its first axis; None where there are too few samples.

    The positions of a sample are not independent of each other, so that errors are those of means over samples.
    """
    if value.dim() < 2 or value.shape[0] < FEW_SAMPLES:
        return None
    axis = -1 if norm.order == "last" else 1
    channels = value.double().movedim(axis, 1).reshape(value.shape[0], value.shape[axis], -1)
    mean = channels.mean((0, 2))
    squares = (channels - mean[:, None]).square().mean(2)
    root = value.shape[0] ** 0.5
    return Statistics(mean, squares.mean(0), channels.mean(2).std(0) / root, squares.std(0) / root)


def running_statistics(norm: FoundNorm) -> Statistics | None:
    """Those that a norm keeps; None where it keeps no mean and variance of equal sizes."""
    buffers = [getattr(norm.module, name) for name in norm.running[:2] if getattr(norm.module, name, None) is not None]
    if len(buffers) < 2:
        return None
    mean, spread = (buffer.detach().double().flatten() for buffer in buffers)
    if mean.shape != spread.shape:
        return None
    variance = spread.square() if norm.running[1].endswith("std") else spread
    return Statistics(mean, variance, mean * 0, mean * 0)


def is_initial(norm: FoundNorm) -> bool:
    """Whether its running statistics are those of a new layer: mean 0 and variance 1 in every channel."""
    kept = running_statistics(norm)
    return kept is not None and bool((kept.mean == 0).all() and (kept.variance == 1).all())


def distances(some: Statistics, others: Statistics, eps: float = 0.0) -> tuple[float, float]:
    """How far statistics lie from others beyond chance, root mean squares over the channels.

    Arguments:
        some: the ones.
        others: those that they are compared with.
        eps: what is added to variances before they are compared.

    Returns:
        The distance of the means in standard deviations of the others, and the difference of the logarithms of the
        standard deviations; each 0 where it is less than a few standard errors.
    """
    if some.mean.shape != others.mean.shape:
        return 0.0, 0.0
    means = some.mean - others.mean
    variances = some.variance - others.variance
    logs = ((some.variance + eps + TINY) / (others.variance + eps + TINY)).log() / 2
    sure = (
        _root_mean_square(means / (some.mean_error**2 + others.mean_error**2 + TINY).sqrt()) > FEW_ERRORS,
        _root_mean_square(variances / (some.variance_error**2 + others.variance_error**2 + TINY).sqrt()) > FEW_ERRORS,
    )
    far = _root_mean_square(means / (others.variance + eps + TINY).sqrt()), _root_mean_square(logs)
    return far[0] if sure[0] else 0.0, far[1] if sure[1] else 0.0


@dataclass(frozen=True)
class Apart:
    """How far what comes into a norm in two calls lies apart, root mean squares over the channels.

    Arguments:
        means: the distance of the means in standard deviations.
        logs: the difference of the logarithms of the standard deviations.
        chance: the share of random ways to part the samples of both calls that set them as far apart.
    """

    means: float
    logs: float
    chance: float


def apart(norm: FoundNorm, one: Tensor, other: Tensor) -> Apart | None:
    """How far two inputs of a norm lie apart, and whether that may be chance: a permutation test over their samples.

    It holds for few samples, and for channels that depend on each other. None where there are no channels to compare.
    """
    import torch

    axis = -1 if norm.order == "last" else 1
    if min(one.dim(), other.dim()) < 2 or one.shape[axis] != other.shape[axis]:
        return None
    channels = [value.double().movedim(axis, 1).reshape(len(value), value.shape[axis], -1) for value in (one, other)]
    center = torch.cat([value.mean((0, 2))[None] for value in channels]).mean(0)[:, None]
    moments = [torch.cat([(value - center).mean(2), (value - center).square().mean(2)], 1) for value in channels]
    samples, count = torch.cat(moments), len(one)
    draw = torch.Generator().manual_seed(0)
    orders = [torch.arange(len(samples)), *(torch.randperm(len(samples), generator=draw) for _ in range(SHUFFLES))]
    first = torch.zeros(len(orders), len(samples), dtype=samples.dtype, device=samples.device)
    for row, order in zip(first, orders, strict=True):
        row[order[:count].to(samples.device)] = 1
    means, logs = _distances(first @ samples / count, (1 - first) @ samples / len(other))
    far = torch.maximum(means, logs)
    return Apart(float(means[0]), float(logs[0]), float((far >= far[0] * (1 - 1e-9)).double().mean()))


def _distances(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The distances of `Apart` for rows of means and mean squares."""
    import torch

    half = one.shape[1] // 2
    variances = [(row[:, half:] - row[:, :half].square()).clamp_min(0) + TINY for row in (one, other)]
    means = (one[:, :half] - other[:, :half]) / ((variances[0] + variances[1]) / 2).sqrt()
    logs = torch.log(variances[0] / variances[1]) / 2
    return means.square().mean(1).sqrt(), logs.square().mean(1).sqrt()


def lag(norm: FoundNorm, value: Tensor) -> float:
    """How far running statistics lie from those of what comes in, the larger of the two distances; 0 if not finite."""
    kept, arriving = running_statistics(norm), statistics_of(norm, value)
    if kept is None or arriving is None or not (kept.mean.isfinite().all() and kept.variance.isfinite().all()):
        return 0.0
    return max(distances(arriving, kept, norm.eps or 0.0))


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
