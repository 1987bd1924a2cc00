"""Slots: the places in a model where norms go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["NC", "NCL", "NCHW", "NCDHW", "NLC"]


@dataclass(frozen=True)
class Slot:
    """A place in a model where a norm goes.

    Arguments:
        channels: the number of channels (features) that arrive there.
        layout: the order of the axes, such as ``"NC"``.
        extent: the sizes of the spatial axes, empty for ``"NC"``.
        layer: the name in the model of the linear layer or convolution before the slot, for norms that change its
            weights; empty if the model does not say.
        activation: the name in the model of the activation that belongs to the slot, which a norm with an
            activation of its own takes the place of; empty if the model does not say.
        role: what the slot is for: ``block``, ``gate``, ``cell``, ``query-key``, ``output``, ...; a study may give
            each role a norm of its own.
        name: the name in the model of what stands in the slot; empty until the model is built.
        optional: whether the slot stays empty unless a study names its role.
    """

    channels: int
    layout: Layout = "NC"
    extent: tuple[int, ...] = ()
    layer: str = ""
    activation: str = ""
    role: str = "block"
    name: str = ""
    optional: bool = False

    @classmethod
    def of_shape(cls, shape: Sequence[int], layout: Layout) -> Slot:
        """The slot that input of a shape reaches.

        >>> Slot.of_shape((8, 16, 5), "NCL")  # doctest: +ELLIPSIS
        Slot(channels=16, layout='NCL', extent=(5,), layer='', activation='', ...)
        """
        extent = tuple(size for size, axis in zip(shape, layout, strict=True) if axis not in "NC")
        return cls(shape[layout.index("C")], layout, extent)

    @classmethod
    def alone(cls, shape: Sequence[int], layout: Layout) -> Slot:
        """A slot for a norm by itself: norms of weights get a layer before it, those that activate need nothing else.

        >>> Slot.alone((8, 128, 512), "NLC")  # doctest: +ELLIPSIS
        Slot(channels=512, layout='NLC', extent=(128,), layer='layer', activation='activation', ...)
        """
        return replace(cls.of_shape(shape, layout), layer="layer", activation="activation")
