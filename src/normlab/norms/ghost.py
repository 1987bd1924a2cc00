"""Ghost batch normalization: batch normalization of every chunk of a batch by itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from normlab.norms.batch import BATCH, batch_type
from normlab.norms.spec import NormSpec, Option, OptionValue
from normlab.records import Slot

if TYPE_CHECKING:
    from torch import Tensor, nn


def chunks(samples: int, size: int) -> list[int]:
    """The sizes of the chunks of a batch; a last chunk of a single sample joins the one before.

    >>> chunks(64, 32), chunks(40, 32), chunks(65, 32)
    ([32, 32], [32, 8], [32, 33])
    """
    whole, rest = divmod(samples, size)
    if whole == 0:
        return [samples]
    sizes = [size] * whole
    if rest == 1:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


@cache
def _ghost_type(base: type[nn.Module]) -> type[nn.Module]:
    """The layer's class, made on first use because it is torch's."""
    import torch

    class GhostBatchNorm(base):  # type: ignore[misc, valid-type]
        """``chunk`` samples share their statistics in training; 0 stands for the whole batch."""

        chunk: int = 0

        def forward(self, inputs: Tensor) -> Tensor:
            if not (self.training and self.chunk):
                return super().forward(inputs)  # type: ignore[no-any-return]
            parts = torch.functional.split(inputs, chunks(len(inputs), self.chunk))
            return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])

    return GhostBatchNorm


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """A layer that is torch's BatchNorm in all but the training forward pass."""
    layer = _ghost_type(batch_type(slot))(  # type: ignore[arg-type]
        slot.channels, eps=options["eps"], momentum=options["momentum"], affine=bool(options["affine"])
    )
    layer.chunk = int(options["size"])  # type: ignore[assignment]
    return layer


GHOST = NormSpec(
    name="ghost",
    title="Ghost BatchNorm",
    formula="BatchNorm of each chunk of `size` samples of the batch, with gamma and beta shared by all chunks",
    source="Hoffer, Hubara and Soudry, 2017, arXiv:1705.08741",
    axes=BATCH.axes,
    centred=True,
    scaled=True,
    couples_batch=True,
    train=(
        "Cuts the batch into chunks of `size` samples (a last one of a single sample joins the one before) and "
        "normalizes each by its own mean and biased variance; running statistics move at every chunk."
    ),
    evaluate="The same as BatchNorm: the running statistics.",
    suits="Large batches, where BatchNorm's noise would be too small to regularize.",
    breaks="The same as BatchNorm with a batch of `size`; with chunks of 2 only +-1 comes out on N,C input.",
    build=build,
    options=(Option("size", 32, "samples in a chunk", at_least=2), *BATCH.options),
    affine=BATCH.affine,
    state=BATCH.state,
)
