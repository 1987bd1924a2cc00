"""Gradient clipping: by element, by unit, and of the whole, each replica by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from normlab.training import Training

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

ADAPTIVE_EPS = 1e-3  # smallest norm that a unit's weights count with: units that start at 0 can still move


def is_clipping(training: Training) -> bool:
    """Whether gradients are changed at all."""
    return any(limit is not None for limit in (training.clip_value, training.clip_adaptive, training.clip_norm))


def clip(
    gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor], training: Training, output: Collection[str] = ()
) -> Tensors:
    """Clipped gradients; of several ways the smaller thing comes first: element, unit, whole gradient.

    Arguments:
        gradients: by name, with a leading replica axis.
        parameters: by name, with a leading replica axis.
        training: the limits.
        output: names of the output layer's parameters, which adaptive clipping leaves alone.

    >>> import torch
    >>> gradients = {"weight": torch.tensor([[3.0, 4.0], [0.0, 1.0]])}  # two replicas
    >>> clip(gradients, gradients, Training(clip_norm=2.5))["weight"]
    tensor([[1.5000, 2.0000],
            [0.0000, 1.0000]])
    """
    clipped = dict(gradients)
    if training.clip_value is not None:
        clipped = {
            name: gradient.clamp(-training.clip_value, training.clip_value) for name, gradient in clipped.items()
        }
    if training.clip_adaptive is not None:
        clipped = {
            name: gradient if name in output else clip_units(gradient, parameters[name], training.clip_adaptive)
            for name, gradient in clipped.items()
        }
    if training.clip_norm is not None:
        clipped = clip_whole(clipped, training.clip_norm)
    return clipped


def clip_units(gradient: Tensor, parameter: Tensor, limit: float) -> Tensor:
    """Adaptive gradient clipping (A. Brock et al., 2021, arXiv:2102.06171, equation 3).

    A unit's gradient G longer than ``limit`` * max(|W|, 0.001) is shortened to that length. A unit is one output of
    a matrix or kernel, the norms taken over its inputs; a vector (bias, gain) is one unit, as in the authors' code.

    Arguments:
        gradient: with a leading replica axis.
        parameter: of the same shape.
        limit: largest ratio of the two norms.
    """
    longest = limit * _unit_norms(parameter.detach()).clamp(min=ADAPTIVE_EPS)
    length = _unit_norms(gradient)
    scale: Tensor = (longest / length.clamp(min=1e-6)).where(length > longest, 1.0)
    return gradient * scale


def _unit_norms(values: Tensor) -> Tensor:
    """Euclidean norms of units, in a shape that broadcasts against ``values``."""
    units = values.shape[:2] if values.dim() > 2 else values.shape[:1]
    norms: Tensor = values.reshape(*units, -1).norm(dim=-1)
    return norms.reshape(*units, *(1 for _ in range(values.dim() - len(units))))


def clip_whole(gradients: Mapping[str, Tensor], limit: float) -> Tensors:
    """Gradients shortened so that the Euclidean norm over all parameters of a replica is at most ``limit``.

    R. Pascanu et al., 2012, arXiv:1211.5063, with the 1e-6 in the denominator of ``torch.nn.utils.clip_grad_norm_``.

    Arguments:
        gradients: by name, with a leading replica axis.
        limit: largest norm.
    """
    import torch

    if not gradients:
        return {}
    norms = torch.stack(
        [gradient.flatten(1).norm(dim=1) if gradient.dim() > 1 else gradient.abs() for gradient in gradients.values()]
    )
    scale = (limit / (norms.norm(dim=0) + 1e-6)).clamp(max=1.0)
    return {
        name: gradient * scale.reshape(-1, *(1 for _ in range(gradient.dim() - 1)))
        for name, gradient in gradients.items()
    }
