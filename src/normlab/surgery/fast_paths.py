"""Guards for layers of torch that compute LayerNorm on a fast path, whatever norm stands in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.recognition.known import own_forward, torch_class

if TYPE_CHECKING:
    from torch import nn

FAST = "_transformer_encoder_layer_fwd"  # what computes attention, LayerNorm and the linear layers in one


@dataclass(frozen=True)
class Guard:
    """A switch of a layer that keeps it from its fast path.

    Arguments:
        name: the name of the layer in the model.
        attribute: the attribute that was set.
        before: what it held.
    """

    name: str
    attribute: str
    before: object


@dataclass(frozen=True)
class FastPaths:
    """What was done about the fast paths of a model.

    Arguments:
        guards: the switches that were set.
        unguarded: the names of layers with a fast path in code of their own, which has no known switch.
    """

    guards: tuple[Guard, ...] = ()
    unguarded: tuple[str, ...] = ()


def guard_fast_paths(
    model: nn.Module,
    norms: Collection[nn.Module] | None = None,
    change: Callable[[nn.Module, str, object], None] = setattr,
) -> FastPaths:
    """Has encoder layers of torch compute in evaluation without gradients what they compute in training.

    There ``nn.TransformerEncoderLayer`` takes a fast path, which reads the weights of its two norms and computes
    LayerNorm; ``nn.TransformerEncoder`` reads them too, to choose nested tensors. They raise where a norm has no bias
    or eps, as RMSNorm. Both obey an attribute, which is set to what it is for layers without a fast path, so that the
    guard survives copies, pickles and compilation. ``nn.MultiheadAttention`` has a fast path as well, and decoder
    layers use it, but it computes no norm, and is left alone.

    Arguments:
        model: the model; changed in place.
        norms: the layers that were put in; by default all, so that a model that somebody else changed is mended.
        change: what sets an attribute of a layer, such as `normlab.surgery.edits.Edits.change`, which can be undone.

    >>> from torch import nn
    >>> layer = nn.TransformerEncoderLayer(4, 2, batch_first=True)
    >>> guard_fast_paths(layer).guards
    ()
    >>> layer.norm1 = nn.RMSNorm(4)
    >>> guard_fast_paths(layer).guards
    (Guard(name='', attribute='activation_relu_or_gelu', before=1),)
    """
    from torch.nn.modules.transformer import TransformerEncoder, TransformerEncoderLayer

    wanted = None if norms is None else {id(part) for norm in norms for part in norm.modules()}
    guards: list[Guard] = []
    unguarded: list[str] = []
    guarded: set[int] = set()
    for name, layer in model.named_modules():
        if not _mistaken(layer, wanted):
            continue
        if _own_fast_path(layer):
            unguarded.append(name)
        elif isinstance(layer, TransformerEncoderLayer):
            guarded.add(id(layer))
            guards += _set(name, layer, "activation_relu_or_gelu", 0, change)
    for name, encoder in model.named_modules():
        if isinstance(encoder, TransformerEncoder) and any(id(layer) in guarded for layer in encoder.layers):
            guards += _set(name, encoder, "use_nested_tensor", False, change)
    return FastPaths(tuple(guards), tuple(unguarded))


def _mistaken(layer: nn.Module, wanted: Collection[int] | None) -> bool:
    """Whether a fast path of this layer would compute something else than its parts do."""
    from torch.nn.modules.transformer import TransformerEncoderLayer

    if not (isinstance(layer, TransformerEncoderLayer) or _own_fast_path(layer)):
        return False
    own = {id(norm) for norm in _plain_norms(layer)}
    if wanted is not None:
        return any(id(part) in wanted and id(part) not in own for part in layer.modules())
    return any(id(getattr(layer, name)) not in own for name in ("norm1", "norm2") if hasattr(layer, name))


def _plain_norms(layer: nn.Module) -> Iterator[nn.Module]:
    """The norms of an encoder layer that the fast path computes rightly: LayerNorms over the last axis."""
    for name in ("norm1", "norm2"):
        norm: Any = getattr(layer, name, None)
        is_layer_norm = norm is not None and torch_class(norm) == "LayerNorm" and not own_forward(norm)
        if is_layer_norm and norm.bias is not None and len(norm.normalized_shape) == 1:
            yield norm


def _own_fast_path(layer: nn.Module) -> bool:
    """Whether a class of the user calls the fast operator itself; torch's own class is left out."""
    from torch.nn.modules.transformer import TransformerEncoderLayer

    functions = (
        function
        for kind in type(layer).__mro__
        if kind is not TransformerEncoderLayer and not kind.__module__.startswith("torch.")
        for function in vars(kind).values()
    )
    return any(FAST in getattr(getattr(function, "__code__", None), "co_names", ()) for function in functions)


def _set(
    name: str, layer: nn.Module, attribute: str, value: object, change: Callable[[nn.Module, str, object], None]
) -> list[Guard]:
    before = getattr(layer, attribute, value)
    if before == value:
        return []
    change(layer, attribute, value)
    return [Guard(name, attribute, before)]
