"""Layers of other libraries with running statistics, and the layers of torch and normlab that stand in for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab import norms
from normlab.errors import InputError
from normlab.norms.catalog import BY_NAME
from normlab.norms.layouts import SPATIAL
from normlab.norms.running import require_representable
from normlab.norms.slot import Slot
from normlab.recognition.find import recognize
from normlab.recognition.spec import FoundNorm
from normlab.surgery.carry import carry, innermost
from normlab.surgery.edits import Edits
from normlab.surgery.placing import place, take_by_any_name
from normlab.surgery.references import follow
from normlab.surgery.split import own_norm, split

if TYPE_CHECKING:
    from torch import Tensor, nn

_LAYOUTS = {len(spatial): layout for layout, spatial in SPATIAL.items()}
_UNTOLD = 1  # the number of axes of positions that most layers take which take several


def stand_in(found: FoundNorm) -> nn.Module | str:
    """A layer that computes what a foreign one does, by statistics that can be seen and set; or why there is none.

    Arguments:
        found: a norm with running statistics whose class is neither torch's nor normlab's.
    """
    if found.kind not in BY_NAME or not BY_NAME[found.kind].couples_batch:
        return "its running statistics are averages over samples, not of batches"
    norm = own_norm(found)
    slot = Slot(found.channels, _LAYOUTS[_UNTOLD if found.spatial is None else found.spatial], name=found.name)
    try:
        behind = split(found, slot) if found.activation else ()
    except InputError as error:
        return str(error)
    layer = carry(found, _of_any_axes(place(norm, slot, found)), norm, slot).layer
    layer = norms.NormThenActivation(layer, *behind).train(found.module.training) if behind else layer
    take_by_any_name(layer)
    return layer


def _of_any_axes(layer: nn.Module) -> nn.Module:
    """The layer, torch's BatchNorm as one that takes any number of axes, as foreign ones may."""
    from torch.nn.modules.batchnorm import _BatchNorm

    if isinstance(layer, _BatchNorm):
        layer.__class__ = norms.AnyBatchNorm
    return layer


@contextmanager
def stood_in(model: nn.Module, layers: Mapping[nn.Module, FoundNorm]) -> Iterator[nn.Module]:
    """Within the context layers stand in for foreign ones, which get their statistics when it ends without error.

    Arguments:
        model: the model; the one within the context may be another where it is such a layer itself.
        layers: those that stand in, as `stand_in` makes them, each with the norm that it stands in for.

    Raises:
        InputError: a statistic is beyond the type of a buffer.
    """
    edits = Edits(model)
    edits.put_all({name: layer for layer, found in layers.items() for name in found.names})
    follow(edits)
    try:
        yield edits.model
    finally:
        edits.undo()
    for layer, found in layers.items():
        _write_back(found, innermost(layer))


def _write_back(found: FoundNorm, layer: nn.Module) -> None:
    import torch

    known = recognize(layer)
    assert known is not None
    with torch.no_grad():
        counts = [("num_batches_tracked",) * 2] if "num_batches_tracked" in found.module._buffers else []
        for name, own in (*zip(found.running, known.running, strict=True), *counts):
            buffer: Tensor = getattr(found.module, name)
            buffer.copy_(layer.get_buffer(own).view_as(buffer))
    require_representable(found.module, found.running)
