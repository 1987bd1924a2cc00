"""What the user says of a model and its training, read into a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.diagnosis.case import Case
from normlab.diagnosis.loading import MadeAnew, epoch_of, first_batch
from normlab.errors import InputError, describe_error, nearest
from normlab.recognition.find import found_norms
from normlab.recognition.inputs import build_model, samples_in
from normlab.recognition.known import is_scripted, require_python
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

AMP = {"bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "float16": "float16", "half": "float16"}


def make_case(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any,
    batch_size: int | None,
    loader: Any,
    optimizer: Any,
    grad_accumulation: int,
    ddp: bool,
    fsdp: bool,
    amp: str | torch.dtype | None,
    checkpoint: Any,
) -> Case:
    """The model with what is known of its training; the arguments are those of `normlab.doctor`.

    Raises:
        InputError: one of them cannot be used.
    """
    from torch import nn

    for name, value in (("batch_size", batch_size), ("grad_accumulation", grad_accumulation)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise InputError(f"`{name}` must be a whole number of at least 1", repr(value), f"Try `{name}=8`.")
    batches = read_loader(loader)
    first = read_first_batch(batches)
    whole, values = _built(model, inputs, first)
    sizes = [tensor.shape[0] for tensor in tensors_of(values) if tensor.dim()]
    if sizes and not any(sizes):
        raise InputError("`inputs` must hold samples", "tensors without any", "Give a batch of the training.")
    module = _unwrapped(whole)
    wrapped = isinstance(whole, nn.parallel.DistributedDataParallel)
    return Case(
        module,
        tuple(norm for norm in found_norms(module) if not is_scripted(norm.module)),  # these take no hooks
        values,
        batch_size or batch_size_of(batches, first),
        batches,
        read_optimizer(optimizer, module),
        grad_accumulation,
        bool(ddp) or wrapped,
        bool(fsdp),
        read_amp(amp),
        read_checkpoint(checkpoint),
        not wrapped or bool(whole.broadcast_buffers),
    )


def _built(model: Any, inputs: Any, batch: Any) -> tuple[nn.Module, Any]:
    """The model and its inputs: those that are given, else those of its function, else the first of the loader."""
    import torch

    module, values = build_model(model, inputs, None, None, "contiguous", needed=False)
    require_python(module)
    if isinstance(module, torch.fx.GraphModule) and "train" in vars(module):  # torch.export takes the method away
        rule = "the model must be a module of Python, whose layers can be watched"
        raise InputError(rule, "an exported one", "Give the module that was exported.")
    if values is None and batch is not None:
        module, values = build_model(module, inputs_in(batch, module), None, None, "contiguous")
    return module, values or ()


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself of one that is compiled, or wrapped for several devices: layers have the names that it gives.

    Raises:
        InputError: it was taken apart by a wrapper.
    """
    from torch import nn

    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
            model = compiled
        else:
            break
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
        rule = "the model must hold its own parameters"
        advice = "Give the model as it is before it is wrapped, and say `fsdp=True`."
        raise InputError(rule, "one whose parameters FullyShardedDataParallel holds", advice)
    return model


def read_loader(loader: Any) -> Any:
    """The loader itself, or what ``package.module:object`` names: a loader, or a function that makes one.

    Raises:
        InputError: it cannot be gone through.
    """
    if isinstance(loader, str):
        rule = "`loader` must name a loader of batches, or a function that makes one, as package.module:object"
        loader = reading.loaded(
            loader,
            rule,
            lambda value: callable(value) or isinstance(value, Iterable),
            "loader",
            "Make it a DataLoader, or a function that gives one.",
        )
    if callable(loader) and not isinstance(loader, Iterable):
        make, rule = loader, "the function behind `loader` must make it without arguments"
        loader = reading.called(make, rule)
        if isinstance(loader, Iterator) and reading.called(make, rule) is not loader:
            loader = MadeAnew(make)
    if loader is not None and (not isinstance(loader, Iterable) or isinstance(loader, Mapping)):
        rule = "`loader` must be something that gives batches, such as a DataLoader"
        raise InputError(rule, f"a {type(loader).__name__}", "Give the DataLoader of the training.")
    return loader


def read_first_batch(loader: Any) -> Any:
    """The first batch of the loader; None where there is none, or taking it would use it up.

    Raises:
        InputError: the loader fails.
    """
    if loader is None:
        return None
    try:
        batch = first_batch(loader)
    except Exception as error:
        rule = "`loader` must give batches"
        raise InputError(rule, reading.described(error), "Mend the loader or its data.") from error
    if batch is None and epoch_of(loader).samples == 0:
        raise InputError("`loader` must give batches", "one without samples", "Mend the loader or its data.")
    return batch


def batch_size_of(loader: Any, first: Any) -> int | None:
    """The number of samples in a batch, as the loader says or its first batch shows."""
    if loader is None:
        return None
    for owner in (loader, getattr(loader, "batch_sampler", None)):
        if isinstance(size := getattr(owner, "batch_size", None), int):
            return size
    return samples_in(first) or None


def inputs_in(batch: Any, model: nn.Module) -> Any:
    """What of a batch the model is called with: of a pair the first part, of a mapping the names that it takes."""
    parameters = signature(model.forward).parameters.values()
    if isinstance(batch, Mapping):
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
            return dict(batch)
        names = {parameter.name for parameter in parameters}
        return {name: value for name, value in batch.items() if name in names}
    if isinstance(batch, tuple | list):
        needed = sum(
            parameter.default is Parameter.empty and parameter.kind <= Parameter.POSITIONAL_OR_KEYWORD
            for parameter in parameters
        )
        return tuple(batch[: max(1, needed)])
    return (batch,)


def read_optimizer(optimizer: Any, model: nn.Module) -> Any:
    """The optimizer itself, or the one that a function of the model makes; the function may be named by text.

    Raises:
        InputError: it is none, or cannot be made.
    """
    from torch.optim import Optimizer

    if isinstance(optimizer, str):
        rule = "`optimizer` must name a function of the model that makes an optimizer, as package.module:object"
        optimizer = reading.loaded(optimizer, rule, callable, "function", "Make it a function of the model.")
    if optimizer is not None and not isinstance(optimizer, Optimizer) and callable(optimizer):
        optimizer = reading.called(optimizer, "the function behind `optimizer` must make one for the model", model)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        rule = "`optimizer` must be a torch.optim.Optimizer, or a function of the model that makes one"
        raise InputError(rule, f"a {type(optimizer).__name__}", "Give the optimizer of the training.")
    return optimizer


def read_amp(amp: str | torch.dtype | None) -> torch.dtype | None:
    """The type of mixed precision behind a name.

    Raises:
        InputError: there is no such type.
    """
    import torch

    if amp is None:
        return None
    name = str(amp).removeprefix("torch.").lower()
    if name not in AMP:
        raise InputError("`amp` must be bf16 or fp16", repr(amp), nearest(name, AMP))
    return torch.bfloat16 if AMP[name] == "bfloat16" else torch.float16


def read_checkpoint(checkpoint: Any) -> dict[str, Tensor] | None:
    """The tensors of a saved state: a mapping, or a file of safetensors or of `torch.save`.

    Raises:
        InputError: it cannot be read, or holds no tensors by name.
    """
    if checkpoint is None:
        return None
    value = _load(Path(checkpoint)) if isinstance(checkpoint, str | Path) else checkpoint
    while isinstance(value, Mapping) and isinstance(inner := value.get("state_dict", value.get("model")), Mapping):
        value = inner
    tensors = _most_tensors(value)
    if any(tensor.is_meta for tensor in tensors.values()):
        advice = "Load it to a real device."
        raise InputError("`checkpoint` must hold numbers", "tensors on the device meta", advice)
    if not tensors:
        rule = "`checkpoint` must hold tensors by name"
        raise InputError(rule, f"a {type(value).__name__} without them", "Give a state_dict or a file of one.")
    return tensors


def _most_tensors(value: Any) -> dict[str, Tensor]:
    """The tensors by name of a mapping, or of the one within it that holds the most."""
    import torch

    if not isinstance(value, Mapping):
        return {}
    own = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, torch.Tensor)}
    return max((own, *map(_most_tensors, value.values())), key=len)


def _load(path: Path) -> Any:
    import torch

    rule = "`checkpoint` must be a file of safetensors or of torch.save"
    if not path.is_file():
        raise InputError(rule, f"{path}, where no file is", "Check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(rule, f"{path} ({describe_error(error)})", "Save the model's state_dict.") from error
