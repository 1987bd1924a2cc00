"""What torch's and normlab's own layers say of themselves.

Classes are told by where they were defined, not by what stands in ``torch.nn`` at the moment: other tools put classes
of their own there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.norms.options import OptionValue
from normlab.recognition.spec import Affine, FoundNorm

if TYPE_CHECKING:
    from torch import nn

Facts = dict[str, Any]
_BATCH, _INSTANCE = "torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm"
_NORMALIZATION = "torch.nn.modules.normalization"
FORWARDS = {_BATCH, _INSTANCE, _NORMALIZATION}  # where the forward passes of torch's norms are defined
_DIMENSIONS = {"2d": 2, "3d": 3}


def torch_class(module: nn.Module) -> str:
    """The name of the norm of torch that a layer is of, or whose subclass it is of; empty if it is none.

    >>> from torch import nn
    >>> torch_class(nn.BatchNorm2d(3)), torch_class(nn.Linear(2, 3))
    ('BatchNorm2d', '')
    """
    for base in type(module).__mro__:
        if base.__module__ in FORWARDS and not base.__name__.startswith("_"):
            return base.__name__
    return ""


def is_scripted(module: nn.Module) -> bool:
    """Whether a layer is a script or a trace of TorchScript, or a part of one."""
    return any(base.__module__.startswith("torch.jit.") for base in type(module).__mro__)


def require_python(model: nn.Module) -> None:
    """Raises an error if the model is a script or a trace of TorchScript, whose layers nothing can watch."""
    if is_scripted(model):
        rule = "the model must be a module of Python, whose layers can be watched"
        raise InputError(rule, "a scripted one", "Give the module that was scripted.")


def own_forward(module: nn.Module) -> bool:
    """Whether the layer computes something else than torch's class that it is of: the forward pass is not torch's."""
    function = getattr(type(module).forward, "__func__", type(module).forward)
    return getattr(function, "__module__", "") not in FORWARDS or "forward" in vars(module)


def torch_facts(module: Any, name: str) -> Facts:
    """What torch's layer of that class computes, by its attributes."""
    affine = Affine(_name(module, "weight"), _name(module, "bias"))
    if "BatchNorm" in name:
        facts = _batch(module, name, affine)
    elif "InstanceNorm" in name:
        facts = _instance(module, name, affine)
    elif "Response" in name or "LRN" in name:
        return {"kind": "", "obstacle": "it normalizes over neighbouring channels, which no norm of the catalogue does"}
    elif name == "GroupNorm":
        options = {"groups": int(module.num_groups), "eps": float(module.eps), **_unlearned(affine)}
        facts = {"kind": "group", "options": options, "channels": module.num_channels, "order": "first"}
    else:
        facts = _over_last_axes(module, name, affine)
    return {"affine": affine, **facts}


def _batch(module: Any, name: str, affine: Affine) -> Facts:
    options: dict[str, OptionValue] = {"eps": float(module.eps)}
    options |= {"cumulative": True} if module.momentum is None else {"momentum": float(module.momentum)}
    options |= {} if module.running_mean is not None else {"track_running_stats": False}
    kind = "sync-batch" if name.startswith("Sync") else "batch"
    return {"kind": kind, "options": options | _unlearned(affine), **_with_running_statistics(module, name)}


def _instance(module: Any, name: str, affine: Affine) -> Facts:
    tracked = module.running_mean is not None
    options = {"eps": float(module.eps), "affine": bool(affine.weight), "track_running_stats": tracked}
    options |= {"momentum": float(module.momentum or 0.0)} if tracked else {}
    return {"kind": "instance", "options": options, **_with_running_statistics(module, name)}


def _with_running_statistics(module: Any, name: str) -> Facts:
    return {
        "channels": module.num_features,
        "order": "first",
        "spatial": _DIMENSIONS.get(name[-2:]),
        "running": ("running_mean", "running_var") if module.running_mean is not None else (),
    }


def _over_last_axes(module: Any, name: str, affine: Affine) -> Facts:
    """LayerNorm and RMSNorm."""
    shape = tuple(module.normalized_shape)
    several = len(shape) > 1
    if several and name == "RMSNorm":
        return {"kind": "", "obstacle": "it is an RMSNorm over several axes, which no norm of the catalogue is"}
    return {
        "kind": "rms" if name == "RMSNorm" else "layer-chw" if several else "layer",
        "options": {"eps": float(module.eps or 0.0), **_unlearned(affine)},
        "channels": shape[0] if several else shape[-1],
        "order": "all" if several else "last",
    }


def _name(module: nn.Module, tensor: str) -> str:
    return tensor if getattr(module, tensor, None) is not None else ""


def _unlearned(affine: Affine) -> dict[str, OptionValue]:
    return {} if affine.weight else {"affine": False}


def own_facts(module: Any) -> Facts | None:
    """What a layer of normlab's computes, by its attributes; None for other layers."""
    describe = _OWN.get(type(module).__name__)
    if describe is None or not type(module).__module__.startswith("normlab.norms.modules"):
        return None
    affine = Affine(_name(module, "weight"), _name(module, "bias"))
    running = tuple(name for name in ("running_mean", "running_var", "running_std") if name in module._buffers)
    facts: Facts = {"affine": affine, "running": running, "channels": int(getattr(module, "channels", 0))}
    facts["order"] = "last" if getattr(module, "axis", 1) == -1 else "first"
    return {**facts, **describe(module)}


def _simple(name: str, *options: str, **facts: Any) -> Callable[[Any], Facts]:
    """A layer whose options are attributes of the same name."""

    def describe(module: Any) -> Facts:
        values = {option: getattr(module, option) for option in options}
        if values.get("momentum", 0.0) is None:
            values = {**values, "momentum": 0.1, "cumulative": True}
        if "eps" in values:
            values["eps"] = values["eps"] or 0.0
        return {"kind": name, "options": values, **facts}

    return describe


def _any_batch(module: Any) -> Facts:
    return _batch(module, "AnyBatchNorm", Affine(_name(module, "weight")))


def _axes_layer(module: Any) -> Facts:
    options: dict[str, OptionValue] = {"eps": float(module.eps)}
    if module.axes == (1,):
        return {"kind": "layer2d", "options": options, "channels": module.normalized_shape[0], "order": "first"}
    return {"kind": "", "obstacle": f"it is a LayerNorm over the axes {module.axes}, which no norm of the catalogue is"}


def _layer2d(module: Any) -> Facts:
    kind = "layer2d" if module.weight is not None else "pono"
    return {"kind": kind, "options": {"eps": float(module.eps)}}


def _masked(module: Any) -> Facts:
    return {"kind": "", "obstacle": "it is called with a mask, which no other norm takes"}


_OWN: dict[str, Callable[[Any], Facts]] = {
    "AnyBatchNorm": _any_batch,
    "AxesLayerNorm": _axes_layer,
    "BatchGroupNorm": _simple("batch-group", "groups", "eps", "momentum"),
    "BatchRenorm": _simple("batch-renorm", "eps", "momentum"),
    "Bias": _simple("bias"),
    "ChannelRMSNorm": _simple("rms", "eps"),
    "DynamicErf": _simple("derf"),
    "DynamicTanh": _simple("dyt"),
    "EvoNormB0": _simple("evonorm-b0"),
    "EvoNormS0": _simple("evonorm-s0"),
    "FilterResponseNorm": _simple("frn", "eps"),
    "GhostBatchNorm1d": _simple("ghost", "size", "eps", "momentum"),
    "GhostBatchNorm2d": _simple("ghost", "size", "eps", "momentum", spatial=2),
    "GhostBatchNorm3d": _simple("ghost", "size", "eps", "momentum", spatial=3),
    "LayerNorm2d": _layer2d,
    "MaskedBatchNorm": _masked,
    "MaskedGroupNorm": _masked,
    "MeanOnlyBatchNorm": _simple("mean-only-batch", "momentum"),
    "PartialRMSNorm": _simple("rms", "eps", "share"),
    "ScaleNorm": _simple("scale", "eps"),
    "SwitchNorm": _simple("switchable", "eps", "momentum"),
    "UnitNorm": _simple("unit", "eps"),
    "VarianceOnlyBatchNorm": _simple("variance-only-batch", "eps", "momentum"),
}


def norm_of(module: nn.Module, facts: Mapping[str, Any], library: str) -> FoundNorm:
    """The layer with what is known of it."""
    return FoundNorm(name="", names=("",), module=module, library=library, **{"kind": "", **facts})
