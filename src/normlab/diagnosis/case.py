"""A model with what is known of its training: what the rules look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.spec import Need
from normlab.errors import InputError
from normlab.norms.copying import unwatched
from normlab.recognition.inputs import map_inputs, run_model, samples_in
from normlab.recognition.spec import FoundNorm, Use
from normlab.recognition.state import kept
from normlab.recognition.trace import trace
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NUMBERS = "parameters that hold numbers, not on the device meta"
SEED = 0  # of the random numbers that the model draws in each pass: passes differ by their mode alone


@dataclass(frozen=True)
class NormCall:
    """What went into a norm and came out of it in one pass; copies, which later layers cannot have changed.

    Arguments:
        before: its first tensor.
        after: its first output.
        channels_last: whether the output lay in memory as ``torch.channels_last``.
    """

    before: Tensor
    after: Tensor
    channels_last: bool = False


@dataclass(frozen=True)
class Pass:
    """A forward pass of the whole model.

    Arguments:
        output: what the model gave; None where it raised.
        calls: those of each norm, by its first name; norms that were not called are left out.
        error: what it raised, or None.
        stopped: the name of the norm in which it raised, with the tensor that came in; None where it did not.
    """

    output: Any
    calls: Mapping[str, tuple[NormCall, ...]]
    error: Exception | None = None
    stopped: tuple[str, Tensor] | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the output."""
        return tuple(tensors_of(self.output))

    def first(self, name: str) -> NormCall | None:
        """The first call of a norm in which something can be measured: with values, all of them finite."""
        return next((call for call in self.calls.get(name, ()) if is_measurable(call.before)), None)


def is_measurable(tensor: Tensor) -> bool:
    """Whether a tensor has values, all of them finite: a norm makes nothing of others, whatever is wrong with it."""
    return tensor.numel() > 0 and bool(tensor.isfinite().all())


@dataclass(frozen=True)
class Case:
    """A model with what is known of its training.

    Arguments:
        model: the model.
        norms: its normalization layers.
        inputs: what it is called with, a tuple or a mapping; empty where none are known.
        batch_size: the number of samples of a training step on one device; None where it is not known.
        loader: the user's loader of training batches, or None.
        optimizer: the user's optimizer, or None.
        grad_accumulation: the number of batches whose gradients are summed before a step.
        ddp: whether it is trained with DistributedDataParallel.
        fsdp: whether it is trained with fully sharded parameters.
        amp: the type of mixed precision, or None.
        checkpoint: the tensors of a saved state by name, or None.
        broadcasts: whether DistributedDataParallel, if it is used, writes rank 0's buffers before each forward pass.
    """

    model: nn.Module
    norms: tuple[FoundNorm, ...]
    inputs: tuple[Any, ...] | Mapping[str, Any] = ()
    batch_size: int | None = None
    loader: Any = None
    optimizer: Any = None
    grad_accumulation: int = 1
    ddp: bool = False
    fsdp: bool = False
    amp: torch.dtype | None = None
    checkpoint: Mapping[str, Tensor] | None = None
    broadcasts: bool = True

    def knows(self, need: Need) -> bool:
        """Whether what a rule needs is known."""
        value = getattr(self, need)
        if need == "inputs":
            return (len(value) > 0 or self.takes_nothing) and self.has_numbers
        if need == "grad_accumulation":
            return bool(value > 1)
        return value is not None and value is not False

    def words(self, need: Need) -> str:
        """What is to be given for a need that is not met: the argument, or what the model itself lacks."""
        return NUMBERS if need == "inputs" and not self.has_numbers else need

    @property
    def takes_nothing(self) -> bool:
        """Whether the model is called without inputs, as one that holds its data or draws them."""
        return not signature(self.model.forward).parameters

    @cached_property
    def has_numbers(self) -> bool:
        """Whether the model can be run: on the meta device nothing comes out of it."""
        return not any(tensor.is_meta for tensor in (*self.model.parameters(), *self.model.buffers()))

    @cached_property
    def uses(self) -> Mapping[str, tuple[Use, ...]]:
        """The calls of each module in a traced forward pass, by its first name; empty without one.

        In the modes in which the parts are, or in evaluation mode where the pass raises in these.
        """
        for training in (None, False) if self.knows("inputs") else ():
            try:
                return trace(self.model, self.inputs, training=training)
            except InputError:
                continue
        return {}

    @cached_property
    def training(self) -> Pass:
        """A forward pass in training mode (layers that are frozen by the user in evaluation mode are trained too)."""
        return self.run(training=True)

    @cached_property
    def evaluation(self) -> Pass:
        """A forward pass in evaluation mode, with the buffers as the model came."""
        return self.run(training=False)

    @cached_property
    def mixed(self) -> Pass:
        """A forward pass in evaluation mode under autocast to `amp`; without `amp`, that of evaluation mode."""
        return self.run(training=False, mixed=True) if self.amp else self.evaluation

    @cached_property
    def evaluating(self) -> frozenset[str]:
        """The norms that stay in evaluation mode when the model is trained, as its own `train` keeps them there."""
        with kept(self.model):
            self.model.train()
            return frozenset(norm.name for norm in self.norms if not norm.module.training)

    @cached_property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules by all their names."""
        return dict(self.model.named_modules(remove_duplicate=False))

    def of_kind(self, *kinds: str) -> Iterator[FoundNorm]:
        """The norms of some kinds, such as ``"batch"``; of all kinds if none are given."""
        return (norm for norm in self.norms if not kinds or norm.kind in kinds)

    def run(self, *, training: bool, inputs: Any = None, part: nn.Module | None = None, mixed: bool = False) -> Pass:
        """A forward pass without gradients; the model is left as it was.

        Arguments:
            training: the mode.
            inputs: in place of the case's own.
            part: what is called in place of the whole model.
            mixed: whether it runs under autocast to `amp`.
        """
        import torch

        values = self.inputs if inputs is None else inputs
        calls: dict[str, list[NormCall]] = {}
        entered: dict[str, Tensor] = {}
        autocast = self.autocast() if mixed else nullcontext()
        with kept(self.model), torch.no_grad(), autocast, _recorded(self.norms, calls, entered):
            torch.manual_seed(SEED)
            self.model.train(training)
            try:
                output = run_model(part or self.model, values)
                error = None
            except Exception as raised:
                output, error = None, raised
        stopped = next(reversed(entered.items()), None) if error else None
        return Pass(output, {name: tuple(some) for name, some in calls.items()}, error, stopped)

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision as `amp` says, on the device of the model; nothing without it."""
        import torch

        device = next((parameter.device.type for parameter in self.model.parameters()), "cpu")
        return torch.autocast(device, self.amp) if self.amp else nullcontext()

    def entering(self, part: nn.Module) -> Any:
        """What a part is first called with in evaluation mode: a tuple, or a mapping of names; None where it is not."""
        seen: list[Any] = []
        hook = part.register_forward_pre_hook(lambda _, args, named: seen.append(args or named), with_kwargs=True)
        try:
            self.run(training=False)
        finally:
            hook.remove()
        return seen[0] if seen else None

    def replay(
        self, norm: FoundNorm, before: Tensor, *, training: bool, plain: bool = False, mixed: bool = False
    ) -> Tensor:
        """What a copy of the norm makes of a tensor, without gradients and with the buffers as the model came.

        Arguments:
            norm: the norm.
            before: the tensor.
            training: the mode.
            plain: whether gamma is 1 and beta 0.
            mixed: whether it runs under autocast to `amp`.
        """
        import torch

        copy = unwatched(norm.module).train(training)
        autocast = self.autocast() if mixed else nullcontext()
        with torch.no_grad(), torch.random.fork_rng(devices=()), autocast:
            if plain and norm.affine.weight:
                getattr(copy, norm.affine.weight).fill_(1.0 - norm.affine.offset)
            if plain and norm.affine.bias:
                getattr(copy, norm.affine.bias).zero_()
            torch.manual_seed(SEED)
            return next(tensors_of(copy(before.clone())))

    def resized(self, samples: int) -> tuple[Any, ...] | Mapping[str, Any]:
        """The inputs with another number of samples: the first ones, and where more are wanted, shuffled ones.

        A shuffled sample has the numbers of a sample in another order; masks keep theirs.
        """
        import torch

        batch = samples_in(self.inputs)
        generator = torch.Generator().manual_seed(SEED)

        def change(value: Any) -> Any:
            is_batch = isinstance(value, torch.Tensor) and value.dim() > 0 and 0 < value.shape[0] == batch
            has_rows = is_batch and value.layout is torch.strided  # unlike the adjacency of a graph
            return _enlarged(value, samples, generator) if has_rows else value

        return map_inputs(self.inputs, change)


def _enlarged(value: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """So many samples: those of a tensor, and as often as it takes the same numbers in another order, masks as is."""
    import torch

    parts = [value]
    while sum(map(len, parts)) < samples:
        order = torch.randperm(value.numel(), generator=generator).to(value.device)
        is_mask = value.dtype is torch.bool or (not value.is_floating_point() and int(value.max()) <= 1)
        parts.append(value if is_mask else value.flatten()[order].view(value.shape))
    return torch.cat(parts)[:samples]


@contextmanager
def _recorded(
    norms: tuple[FoundNorm, ...], calls: dict[str, list[NormCall]], entered: dict[str, Tensor]
) -> Iterator[None]:
    """Notes what goes into each norm and comes out of it; what went in and did not come out stays in ``entered``."""
    import torch

    def enter(name: str, args: Any, kwargs: Any) -> None:
        first = next(tensors_of((args, kwargs)), None)
        if first is not None:
            entered[name] = first.detach().clone(memory_format=torch.preserve_format)

    def leave(name: str, output: Any) -> None:
        first = next(tensors_of(output), None)
        if first is not None and name in entered:
            last = first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)
            calls.setdefault(name, []).append(NormCall(entered.pop(name), first.detach().clone(), last))

    handles = []
    for norm in norms:
        pre = partial(lambda name, _, args, kwargs: enter(name, args, kwargs), norm.name)
        post = partial(lambda name, _, __, output: leave(name, output), norm.name)
        handles.append(norm.module.register_forward_pre_hook(pre, with_kwargs=True, prepend=True))
        handles.append(norm.module.register_forward_hook(post, prepend=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
