"""The built-in norms, and the grammar that names a norm with its options."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import TYPE_CHECKING

from normlab.errors import InputError, nearest
from normlab.norms.batch import BATCH, SYNC_BATCH
from normlab.norms.dyt import DERF, DYT
from normlab.norms.evonorm import EVONORM_B0, EVONORM_S0
from normlab.norms.frn import FRN
from normlab.norms.ghost import GHOST
from normlab.norms.group import BATCH_GROUP, GROUP, INSTANCE
from normlab.norms.layer import LAYER, LAYER2D, LAYER_CHW, PONO, RMS
from normlab.norms.layouts import LAYOUTS
from normlab.norms.none import BIAS, NONE
from normlab.norms.partial import MEAN_ONLY, VARIANCE_ONLY
from normlab.norms.renorm import RENORM
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm, NormSpec, with_options
from normlab.norms.spellings import spellings
from normlab.norms.switchable import SWITCHABLE
from normlab.norms.unit import SCALE, UNIT
from normlab.norms.weights import SPECTRAL, STANDARDIZED, STANDARDIZED_GROUP, WEIGHT
from normlab.reading import find, split_options
from normlab.reading import layout as read_layout

if TYPE_CHECKING:
    from torch import nn

NORMS: tuple[NormSpec, ...] = (
    NONE,
    BIAS,
    BATCH,
    SYNC_BATCH,
    GHOST,
    RENORM,
    MEAN_ONLY,
    VARIANCE_ONLY,
    BATCH_GROUP,
    SWITCHABLE,
    LAYER,
    LAYER_CHW,
    LAYER2D,
    PONO,
    GROUP,
    INSTANCE,
    RMS,
    SCALE,
    UNIT,
    FRN,
    EVONORM_B0,
    EVONORM_S0,
    DYT,
    DERF,
    WEIGHT,
    SPECTRAL,
    STANDARDIZED,
    STANDARDIZED_GROUP,
)
BY_NAME: Mapping[str, NormSpec] = {spec.name: spec for spec in NORMS}


def label(text: str) -> str:
    """The name of a norm for tables and legends.

    >>> label("group:groups=10")
    'GroupNorm (groups=10)'
    """
    return parse(text).label


def parse(text: str) -> Norm:
    """The norm behind ``name:key=value,key=value`` or ``package.module:object:key=value``.

    Raises:
        InputError: the norm or an option is unknown, or a value cannot be used.

    >>> str(parse("group:groups=10,eps=1e-5"))
    'group:groups=10'
    >>> parse("batch").spec.title
    'BatchNorm'
    """
    if not isinstance(text, str):
        advice = "Give 'group:groups=8', say, or 'package.module:object' of your own."
        raise InputError("a norm must be given as text", repr(text), advice)
    reference, options = split_options(text, BY_NAME)
    spec = find(reference, "norm", NORMS, NormSpec) if ":" in reference else _built_in(reference)
    return with_options(reference, spec, options, text)


def _built_in(name: str) -> NormSpec:
    """The entry of that name; the hint for an unknown one knows titles and usual classes too."""
    if name not in BY_NAME:
        hint = nearest(name, BY_NAME, spellings(NORMS))
        raise InputError("norm must be a known name or package.module:object", repr(name), hint)
    return BY_NAME[name]


def build(text: str, channels: int, layout: Layout = "NC", extent: tuple[int, ...] = ()) -> nn.Module:
    """The layer ``text`` as a ``torch.nn.Module``, whatever order the arguments of its own class have.

    Of norms that change weights, this is only what stands in the slot; `normlab.norms.fit` does the rest.

    Arguments:
        text: the norm, such as ``"group:groups=8"``.
        channels: the number of channels C.
        layout: the order of the axes, channels first ("NC", "NCL", "NCHW", "NCDHW") or "NLC", in letters of any case.
        extent: the sizes of the spatial axes; needed only by layers that learn something for each position, and
            for what depends on whether there is more than one position.

    Raises:
        InputError: the norm is unknown, or cannot be built for that input.

    >>> build("group:groups=8", channels=64, layout="NCHW", extent=(8, 8))
    GroupNorm(8, 64, eps=1e-05, affine=True, bias=True)
    """
    norm = parse(text)
    order = read_layout(layout, LAYOUTS)
    try:
        slot = Slot(index(channels), order, tuple(index(size) for size in extent))
    except TypeError:
        arguments = f"channels={channels!r}, extent={extent!r}"
        raise InputError(
            "channels and extent must be whole numbers", arguments, "Try channels=64, extent=(8, 8)."
        ) from None
    if slot.channels < 1:
        raise InputError("channels must be at least 1", channels, "Give the number of channels.")
    if reason := norm.misfit(slot):
        what = f"{norm}, {channels} channels, {order}"
        raise InputError("a norm must have a form for its input", what, f"{reason[0].upper()}{reason[1:]}.")
    return norm.build(slot)
