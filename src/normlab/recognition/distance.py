"""How far tensors lie from others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def distance(values: Iterable[Tensor], reference: Iterable[Tensor]) -> float:
    """The length of the difference over the length of the reference, of all tensors together.

    1 where the reference is zero and the values are not; 0 where there is nothing to compare.

    Arguments:
        values: the tensors.
        reference: what each is compared with; one of another shape is left out.

    >>> import torch
    >>> distance([torch.tensor([3.0]), torch.tensor([8.0])], [torch.tensor([3.0]), torch.tensor([4.0])])
    0.8
    """
    apart = length = 0.0
    for one, other in zip(values, reference, strict=False):
        if one.shape == other.shape:
            one, other = one.detach().double(), other.detach().double()
            apart += float((one - other).square().sum())
            length += float(other.square().sum())
    return (apart / length) ** 0.5 if length else float(apart > 0)
