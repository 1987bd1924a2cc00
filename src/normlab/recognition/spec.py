"""What is known of a normalization layer that was found in somebody's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from normlab.norms.options import OptionValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Order = Literal["first", "last", "all", ""]


@dataclass(frozen=True)
class Affine:
    """How gamma and beta stand in a layer's parameters: ``gamma = offset + weight``.

    Arguments:
        weight: the name of the parameter behind gamma; empty without one.
        bias: the name of the parameter behind beta; empty without one.
        offset: what is added to the weight, 1 where gamma is 1 + weight.
    """

    weight: str = ""
    bias: str = ""
    offset: float = 0.0


@dataclass(frozen=True)
class FoundNorm:
    """A normalization layer in a model: where it stands, what it computes, and whether that can be said for sure.

    Arguments:
        name: its first name in the model, dotted; empty where the model itself is the layer.
        names: all its names: a shared layer has several.
        module: the layer.
        kind: the norm of the catalogue that it computes, such as ``"batch"``; empty where none is known to.
        options: the options with which that norm computes the same, gamma and beta aside.
        library: where its class comes from: ``"torch"``, ``"normlab"``, ``"timm"``, ``"transformers"``, ...
        channels: the number of channels, or features of the last axis; 0 where the layer does not say.
        order: where the channels are: ``"first"`` is axis 1, ``"last"`` the last one, ``"all"`` every axis but the
            samples' (LayerNorm over C,H,W); empty where only a forward pass tells.
        spatial: the number of axes beside samples and channels; None where the layer takes any.
        affine: its gamma and beta.
        running: the names of the buffers of running statistics, mean first; empty where it keeps none.
        frozen: whether it always evaluates by its buffers, also in training mode.
        activation: what it applies behind the norm: the name of a child, or of a function of torch.nn.functional;
            empty where it ends with the norm.
        role: what it is for, as far as its name tells: ``"query-key"``, ``"output"``, ``"embedding"``, ``"shortcut"``
            or ``"block"``.
        obstacle: why it cannot be told what it computes, or why it cannot be taken out; empty where it can.
    """

    name: str
    names: tuple[str, ...]
    module: nn.Module
    kind: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    library: str = "torch"
    channels: int = 0
    order: Order = ""
    spatial: int | None = None
    affine: Affine = Affine()
    running: tuple[str, ...] = ()
    frozen: bool = False
    activation: str = ""
    role: str = "block"
    obstacle: str = ""

    @property
    def weight(self) -> Tensor | None:
        """The parameter behind gamma, or None."""
        return getattr(self.module, self.affine.weight, None) if self.affine.weight else None

    @property
    def bias(self) -> Tensor | None:
        """The parameter behind beta, or None."""
        return getattr(self.module, self.affine.bias, None) if self.affine.bias else None

    @property
    def eps(self) -> float | None:
        """What is added to the variance or mean square; 0 for torch's own choice of it, None where there is none."""
        value = self.options.get("eps")
        return None if value is None else float(value)

    @property
    def momentum(self) -> float | None:
        """The share of a new batch in the running statistics, whatever the layer calls it; None where there is none.

        Nor is there one in a cumulative average, where that share is another with each batch.
        """
        value = None if self.options.get("cumulative") else self.options.get("momentum")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Use:
    """A call of a layer in a traced forward pass.

    Arguments:
        shape: the shape of its first tensor.
        dtype: that tensor's type.
        channels_last: whether it lay in memory as ``torch.channels_last``.
        training: whether the layer was in training mode.
        before: the name of the part without parts of its own whose output came in untouched, or empty.
        behind: the name of the module that its output went into, or empty.
        keyword: the name by which it was given that tensor; empty where it was given by its place.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool = False
    training: bool = False
    before: str = ""
    behind: str = ""
    keyword: str = ""
