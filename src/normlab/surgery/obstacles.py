"""Models whose layers cannot be replaced as they are: compiled, wrapped, scripted, quantized, not yet initialized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.running import require_initialized

if TYPE_CHECKING:
    from torch import nn

RULE = "a model whose layers are replaced must be made of plain modules"
WRAP_AGAIN = "Swap in the model itself, `.module`, and wrap what comes back."
BEFORE_SHARDING = "Swap first, and shard what comes back."
BEFORE_SCRIPTING = (
    "Swap in the model that it was made from, and trace or export what comes back; of norms, TorchScript reads torch's "
    "own, `group`, `rms` and `instance`."
)
BEFORE_QUANTIZING = (
    "Swap in the float model, then prepare, calibrate and convert again: the ranges of quantized layers were measured "
    "with the norms as they are."
)
BEFORE_COMPILING = "Swap in `._orig_mod`, the model itself, and compile what comes back."


@dataclass(frozen=True)
class Obstacle:
    """A part of a model that stands against a change of its layers.

    Arguments:
        name: its name in the model; empty for the model itself.
        layer: the part.
        what: what it is.
        advice: what to do.
        everywhere: whether it counts wherever it stands, and not only for what is in it. The model itself always does.
    """

    name: str
    layer: nn.Module
    what: str
    advice: str
    everywhere: bool = False

    def reaches(self, place: str) -> bool:
        """Whether a layer of this name is in it."""
        return place == self.name or place.startswith(f"{self.name}.")


# By the full names of classes, as some of their modules are slow to import or missing in some builds of torch.
# One that ends with a full stop means every class of that package. The first that fits counts.
KINDS: tuple[tuple[str, str, str], ...] = (
    ("torch._dynamo.eval_frame.OptimizedModule", "compiled by torch.compile", BEFORE_COMPILING),
    ("torch.nn.parallel.data_parallel.DataParallel", "wrapped in DataParallel", WRAP_AGAIN),
    ("torch.nn.parallel.distributed.DistributedDataParallel", "wrapped in DistributedDataParallel", WRAP_AGAIN),
    ("torch.distributed.fsdp.", "sharded by FSDP", BEFORE_SHARDING),
    ("torch.distributed._composable.fsdp.", "sharded by FSDP", BEFORE_SHARDING),
    ("deepspeed.runtime.engine.", "wrapped by DeepSpeed", WRAP_AGAIN),
    ("opacus.grad_sample.", "wrapped by Opacus", "Swap in the model itself, `._module`, and wrap what comes back."),
    ("torch.jit._trace.", "a trace of TorchScript", BEFORE_SCRIPTING),
    ("torch.jit._script.", "a script of TorchScript", BEFORE_SCRIPTING),
)
QUANTIZED = (
    "torch.ao.nn.quantized.modules.",
    "torch.ao.nn.quantized.reference.",
    "torch.ao.nn.intrinsic.",
    "torch.ao.nn.qat.",
    "torch.ao.quantization.observer.",
    "torch.ao.quantization.fake_quantize.",
)
WRAPPERS = (  # that keep account of the parameters in them
    "torch.nn.parallel.distributed.",
    "torch.distributed.fsdp.fully_sharded_data_parallel.",
    "deepspeed.runtime.engine.",
)
SHARDS = "torch.distributed.tensor"  # where the class of sharded tensors is
COMPILED = "_torchdynamo_orig_callable"  # what torch.compile sets on the function that it gives
QUANTIZED_AS_IT_RUNS = (  # no ranges were measured for these
    "torch.ao.nn.quantized.dynamic.",
    "torch.ao.nn.quantized.modules.linear.LinearPackedParams",
)


def refuse(model: object, places: Iterable[str] | None = None) -> None:
    """Raises an error if layers of the model cannot be replaced as it is.

    A model on the meta device is no obstacle, nor is a graph of ``torch.fx``, whose calls of layers go by their
    names, nor are layers with weights that are quantized when they run.

    Arguments:
        model: the model.
        places: the names of the layers that are to be replaced; by default the whole model is meant.

    Raises:
        InputError: the model, or what such a layer stands in, is compiled, wrapped, sharded or scripted; the model is
            quantized, or waits for its first batch, or is no module. It says what, where and what to do.

    >>> import torch
    >>> refuse(torch.nn.DataParallel(torch.nn.ReLU()))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    normlab.errors.InputError: a model ... plain modules; got DataParallel, wrapped in DataParallel. Swap in the ...
    """
    module = as_module(model)
    wanted = None if places is None else tuple(places)
    for obstacle in obstacles(module):
        everywhere = wanted is None or obstacle.everywhere or not obstacle.name
        if everywhere or any(obstacle.reaches(place) for place in wanted or ()):
            kind = type(obstacle.layer).__name__
            where = f"{obstacle.name!r} ({kind})" if obstacle.name else kind
            raise InputError(RULE, f"{where}, {obstacle.what}", obstacle.advice)
    require_initialized(module)


def require_unwrapped(layers: Iterable[nn.Module]) -> None:
    """Raises an error if a wrapper that trains in several processes holds one of the layers.

    It keeps account of the parameters that it met when it was made: of new ones, or of those that learn from now on, it
    averages no gradients, and for those that are gone it waits. It cannot be seen from the layers, so that all objects
    of the process are looked through, which takes some tenths of a second; without a process group there is none.

    Arguments:
        layers: those whose parameters are to change in place.

    Raises:
        InputError: there is such a wrapper.
    """
    import gc

    from torch import distributed, nn

    meant = set(layers)
    if not (meant and distributed.is_available() and distributed.is_initialized()):
        return
    for wrapper in [one for one in gc.get_objects() if issubclass(type(one), nn.Module)]:
        kind = type(wrapper)
        if f"{kind.__module__}.{kind.__qualname__}".startswith(WRAPPERS) and not meant.isdisjoint(wrapper.modules()):
            given = f"a model beneath {kind.__name__}"
            advice = "Take it out with `model = wrapper.module; del wrapper`, or leave `copy` out; then wrap it anew."
            raise InputError("parameters that change in place must not be in a wrapper", given, advice)


def obstacles(model: nn.Module) -> Iterator[Obstacle]:
    """The parts of a model that stand against a change of its layers, from the outside in."""
    for name, layer in model.named_modules():
        kinds = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(layer).__mro__)
        known = ((what, advice) for text, what, advice in KINDS if _fits(kinds, (text,)))
        what, advice = next(known, ("", ""))
        if what:
            yield Obstacle(name, layer, what, advice)
        elif _fits(kinds, QUANTIZED) and not kinds[0].startswith(QUANTIZED_AS_IT_RUNS):
            yield Obstacle(name, layer, "quantized or prepared for it", BEFORE_QUANTIZING, everywhere=True)
        elif any(type(one).__module__.startswith(SHARDS) for one in layer.parameters(recurse=False)):
            yield Obstacle(name, layer, "sharded among processes", BEFORE_SHARDING)
        elif layer._compiled_call_impl is not None or hasattr(vars(layer).get("forward"), COMPILED):
            yield Obstacle(name, layer, "compiled in place", "Swap first, and compile what comes back.")


def _fits(kinds: Iterable[str], texts: tuple[str, ...]) -> bool:
    return any(kind.startswith(text) if text.endswith(".") else kind == text for kind in kinds for text in texts)


def as_module(model: object) -> nn.Module:
    """The model, which must be a module.

    Raises:
        InputError: it is something else.
    """
    import torch

    if isinstance(model, torch.nn.Module):
        return model
    kind = type(model)
    if kind.__module__.startswith("torch.export"):
        advice = "Swap in the model that it was exported from, and export what comes back."
        raise InputError(RULE, f"{kind.__name__}, an exported program", advice)
    advice = "Give the model itself, built: Net(), not Net."
    raise InputError("a model must be a `torch.nn.Module`", f"{kind.__module__}.{kind.__name__}", advice)
