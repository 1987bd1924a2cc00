"""Norms on a shape: the tensors of the shape, what is timed on them, and what follows from the times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.errors import InputError, describe_error
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm
from normlab.profiling.clock import OnProgress, Stopwatch, Timings, Work, compiled_apart, interleave
from normlab.profiling.memory import measure_memory
from normlab.profiling.requests import reason_against
from normlab.profiling.spec import Case, Cost, Spread
from normlab.profiling.text import ALL, group_names, in_milliseconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REFERENCE = "torch's BatchNorm"
_REFERENCE, _REFERENCE_AGAIN, _COPY, _FRESH_COPY = "the reference", "the reference once more", "a copy", "a fresh copy"
_LAYER, _LAYER_REFERENCE = "a layer without a norm", "a layer with the reference"
_UNSURE = 0.15  # of a ratio that is 1: quartiles farther apart, or a median farther off, say that ratios mean little


@dataclass(frozen=True)
class _Contender:
    """A layer that is ready to be timed, with its norm and a note for readers of its times."""

    norm: Norm
    layer: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]
    note: str


class Bench:
    """The tensors of a shape, and norms timed on them.

    Arguments:
        shape: the sizes of the axes.
        layout: the order of the axes.
        dtype: the type of tensors and parameters.
        device: where they are.
        memory_format: the order of the tensors in memory.
        compiled: whether every layer goes through ``torch.compile``.
        strict: whether a norm that does not run is an error, and not left out with its reason.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        layout: Layout,
        dtype: torch.dtype,
        device: torch.device,
        memory_format: torch.memory_format,
        compiled: bool,
        strict: bool,
    ) -> None:
        import torch

        self.shape, self.layout, self.dtype, self.device = shape, layout, dtype, device
        self.compiled, self.strict = compiled, strict
        self.slot = Slot.alone(shape, layout)
        generator = torch.Generator(device).manual_seed(0)

        def draw() -> Tensor:
            tensor = torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)
            return tensor.contiguous(memory_format=memory_format)

        self.x, self.dy = draw().requires_grad_(), draw()
        self.source, self.target = draw(), draw()

    def run(self, norms: Sequence[Norm], repeats: int | None, seconds: float, on_progress: OnProgress) -> Case:
        """Prepares, times and sums up every norm."""
        import torch

        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), compiled_apart() if self.compiled else nullcontext():
            ready, left_out = self._prepare(norms, on_progress)
            works: dict[str, Work] = {_COPY: self._copy, _FRESH_COPY: self._fresh_copy}
            works |= {str(contender.norm): self._train(contender.layer, contender.parameters) for contender in ready}
            works |= self._references(norms)
            timings = interleave(works, self.device, repeats, seconds, on_progress)
            moved = 2 * self.x.nbytes
            copy = [moved / seconds for seconds in timings[_COPY].totals()]
            costs = {str(contender.norm): self._cost(contender, timings, copy) for contender in ready}
        itself = _ratio(timings, _REFERENCE_AGAIN, _REFERENCE)
        return Case(
            shape=self.shape,
            bytes=self.x.nbytes,
            rounds=len(copy),
            copy=Spread.of(copy),
            fresh_copy=Spread.of(moved / seconds for seconds in timings[_FRESH_COPY].totals()),
            costs=tuple(costs.get(str(norm)) or left_out[str(norm)] for norm in norms),
            itself=itself,
            warnings=(*_doubts(itself), *_too_fast(costs.values())),
        )

    def _prepare(self, norms: Sequence[Norm], on_progress: OnProgress) -> tuple[list[_Contender], dict[str, Cost]]:
        """The norms that run, and those that do not, with the reason."""
        ready, left_out = [], {}
        for number, norm in enumerate(norms):
            reason = reason_against(norm, self.slot, self.shape[0])
            if not reason:
                on_progress(f"first call {number + 1} of {len(norms)}: {norm}")
                try:
                    ready.append(self._contender(norm))
                except Exception as error:
                    reason = describe_error(error)
                    if self.strict:
                        rule = f"{norm} must run on {self.dtype} {self.layout} tensors on {self.device}"
                        raise InputError(rule, reason, "Use another type, layout, shape or device.") from error
            if reason:
                left_out[str(norm)] = Cost(str(norm), norm.label, skipped=reason)
        return ready, left_out

    def _contender(self, norm: Norm) -> _Contender:
        import torch

        layer = norm.build(self.slot)
        note = norm.caution(self.slot, self.shape[0]) or ""
        if norm.spec.wrap:
            layer = _sequence(norm.spec.wrap(_projection(self.slot), norm.options), layer)
        layer = self._placed(layer)
        called = self._compile(layer)
        output = called(self.x)
        if not isinstance(output, torch.Tensor) or output.shape != self.x.shape:
            given = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
            raise ValueError(f"a norm must give a tensor of the shape of its input; this gives {given}")
        del output
        self._train(called, tuple(layer.parameters()))(Stopwatch(self.device))
        return _Contender(norm, called, tuple(layer.parameters()), note)

    def _references(self, norms: Sequence[Norm]) -> dict[str, Work]:
        """The reference, twice; where norms change weights, the layer too, by itself and with the reference."""
        layers: dict[str, nn.Module] = {}
        comparable = self.x.numel() > self.slot.channels  # torch's BatchNorm refuses one element for each channel
        if comparable:
            layers[_REFERENCE] = _reference(self.slot)
        if any(norm.spec.wrap for norm in norms):
            layers[_LAYER] = _projection(self.slot)
            if comparable:
                layers[_LAYER_REFERENCE] = _sequence(_projection(self.slot), _reference(self.slot))
        works: dict[str, Work] = {}
        for name, layer in layers.items():
            placed = self._placed(layer)
            works[name] = self._train(self._compile(placed), tuple(placed.parameters()))
        return works | ({_REFERENCE_AGAIN: works[_REFERENCE]} if comparable else {})

    def _placed(self, layer: nn.Module) -> nn.Module:
        return layer.to(self.device, self.dtype).train()

    def _compile(self, layer: nn.Module) -> Callable[[Tensor], Tensor]:
        import torch

        return torch.compile(layer, dynamic=False) if self.compiled else layer

    def _train(self, layer: Callable[[Tensor], Tensor], parameters: tuple[nn.Parameter, ...]) -> Work:
        """Forward and backward pass; what they leave is freed after the last mark."""
        import torch

        leaves = (self.x, *parameters)

        def work(watch: Stopwatch) -> None:
            watch.mark()
            output = layer(self.x)
            watch.mark()
            gradients = torch.autograd.grad(output, leaves, self.dy, allow_unused=True)
            watch.mark()
            del output, gradients

        return work

    def _copy(self, watch: Stopwatch) -> None:
        watch.mark()
        self.target.copy_(self.source)
        watch.mark()

    def _fresh_copy(self, watch: Stopwatch) -> None:
        watch.mark()
        copied = self.source.clone()
        watch.mark()
        del copied

    def _cost(self, contender: _Contender, timings: Mapping[str, Timings], copy: Sequence[float]) -> Cost:
        name, with_layer = str(contender.norm), contender.norm.spec.wrap is not None
        both = timings[name].totals()
        memory = measure_memory(lambda: contender.layer(self.x), self.dy, contender.parameters)
        self.x.grad = None
        forward, backward = (0, 0) if with_layer else self._traffic(contender, memory.saved >= self.x.nbytes)
        moved = forward + backward
        shares = [moved / seconds / rate for seconds, rate in zip(both, copy, strict=True)]
        return Cost(
            norm=name,
            label=contender.norm.label,
            forward=Spread.of(timings[name].phase(0)),
            backward=Spread.of(timings[name].phase(1)),
            both=Spread.of(both),
            ratio=_ratio(timings, name, _LAYER_REFERENCE if with_layer else _REFERENCE),
            bytes_forward=forward,
            bytes_backward=backward,
            floor=None if with_layer else moved / Spread.of(copy).median,
            bandwidth_share=None if with_layer else Spread.of(shares),
            memory=memory,
            parameters=sum(parameter.numel() for parameter in contender.parameters),
            with_layer=with_layer,
            note="; ".join(filter(None, [contender.note, _note_of_layer(timings) if with_layer else ""])),
        )

    def _traffic(self, contender: _Contender, needs_input: bool) -> tuple[int, int]:
        """The least bytes that forward and backward pass move; none for a tensor that is passed on unchanged."""
        import torch

        output = contender.layer(self.x)
        (dx,) = torch.autograd.grad(output, (self.x,), self.dy, allow_unused=True)
        one_way = self.x.nbytes
        forward = 0 if _same(output, self.x) else 2 * one_way
        if dx is None:  # no gradient reaches the input: only that of the output is read, for the parameters
            return forward, one_way
        backward = 0 if _same(dx, self.dy) else 2 * one_way
        return forward, backward + (one_way if needs_input and backward else 0)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _ratio(timings: Mapping[str, Timings], name: str, base: str) -> Spread | None:
    """The time of a work over that of another, round by round; None if either was not timed."""
    if name not in timings or base not in timings:
        return None
    rounds = zip(timings[name].totals(), timings[base].totals(), strict=True)
    return Spread.of(seconds / base_seconds for seconds, base_seconds in rounds)


def _note_of_layer(timings: Mapping[str, Timings]) -> str:
    alone = in_milliseconds(Spread.of(timings[_LAYER].totals()))
    ratio = f"; ratio: to that layer with {REFERENCE} after it" if _LAYER_REFERENCE in timings else ""
    return f"together with the layer whose weights it changes, which takes {alone} ms by itself{ratio}"


def _doubts(itself: Spread | None) -> Iterator[str]:
    if itself and (itself.high - itself.low > _UNSURE or abs(itself.median - 1) > _UNSURE):
        ratio = f"{itself.median:.2f} ({itself.low:.2f}-{itself.high:.2f})"
        yield (
            f"{REFERENCE} against itself has a ratio of {ratio}: the machine is too busy, or the rounds are too few, "
            "to trust ratios. Stop other work, or give more seconds"
        )


def _too_fast(costs: Iterable[Cost]) -> Iterator[str]:
    """Norms that took less time than their least traffic."""
    fast = [(cost.label, "") for cost in costs if cost.floor and cost.both and cost.floor > cost.both.median]
    for names, _ in group_names(fast, ALL):
        yield (
            f"The floor lies above the time of {names}: the copy was slowed down, or caches hold what the norm moves. "
            "Floor and share of the copy's speed say nothing there"
        )


def _sequence(first: nn.Module, second: nn.Module) -> nn.Module:
    from torch import nn

    return nn.Sequential(first, second)


def _projection(slot: Slot) -> nn.Module:
    """What a norm that changes weights can change: a map of the channels, without a bias, at each position."""
    from torch import nn

    if slot.layout in ("NC", "NLC"):
        return nn.Linear(slot.channels, slot.channels, bias=False)
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    return kinds[len(slot.extent)](slot.channels, slot.channels, 1, bias=False)


def _reference(slot: Slot) -> nn.Module:
    """Torch's own BatchNorm of the layout."""
    from torch import nn

    if slot.layout == "NLC":
        return nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(slot.channels), nn.Unflatten(0, (-1, *slot.extent)))
    return {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}.get(len(slot.extent), nn.BatchNorm1d)(slot.channels)
