"""Speed and memory of norms on the user's shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.spec import Norm
from normlab.profiling.ask import (
    FORMATS,
    check_repeats,
    choose_layout,
    choose_norms,
    find_device,
    find_dtype,
    own_slot,
    parse_shape,
    reason_against,
    refuse_unfit,
    resize,
)
from normlab.profiling.clock import Say, Stopwatch, Timings, Work, compiled_apart, interleave
from normlab.profiling.machine import describe_machine
from normlab.profiling.memory import measure_memory
from normlab.profiling.spec import Case, Cost, Profile, Spread
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REFERENCE = "torch's BatchNorm"
_BASE, _COPY, _FRESH, _BARE = "the reference", "a copy", "a fresh copy", "the layer without the norm"


def say_nothing(text: str) -> None:
    """For work that nobody watches."""


def profile(
    shapes: Sequence[str | Sequence[int]] | str,
    norms: Sequence[str] = (),
    *,
    layout: str | None = None,
    dtype: str = "float32",
    memory_format: str = "contiguous",
    compile: bool = False,
    device: str = "cpu",
    sizes: Sequence[float] = (),
    repeats: int | None = None,
    seconds: float = 5.0,
    on_progress: Say = say_nothing,
) -> Profile:
    """Measures norms on shapes: forward and backward, memory, traffic against a copy, ratio to torch's BatchNorm.

    All norms of a shape are timed in every round, in an order drawn anew for each; a figure is the median over
    rounds with its quartiles, a ratio is taken within each round. Layers train: statistics are those of the batch.

    Arguments:
        shapes: one or several, as sizes or text such as ``"32,64,56,56"``, all with the same number of axes.
        norms: texts such as ``"group:groups=32"``; without any, all of the catalogue that take the layout.
        layout: the order of the axes; by default the first that fits the shapes and that all norms take.
        dtype: of tensors and parameters: float32, float64, bf16 or fp16.
        memory_format: ``contiguous``, or ``channels_last`` for images and volumes.
        compile: whether every layer goes through ``torch.compile`` first.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        sizes: MiB of the tensors; the only shape is then measured with other batch sizes, near those.
        repeats: rounds; by default as many as fit into ``seconds``, at least 5.
        seconds: for all rounds of one shape.
        on_progress: told in words how far it is.

    Raises:
        InputError: a shape, norm, type or device cannot be used, or a norm that was asked for cannot run on them.

    >>> found = profile("8,32,4,4", ["batch", "group:groups=8"], repeats=1)
    >>> [cost.norm for cost in found.cases[0].costs], found.cases[0].costs[0].bytes_forward
    (['batch', 'group:groups=8'], 32768)
    """
    check_repeats(repeats, seconds)
    asked = [shapes] if isinstance(shapes, str) else list(shapes)
    sized = [parse_shape(one if isinstance(one, str) else ",".join(map(str, one))) for one in asked]
    kind, place = find_dtype(dtype), find_device(device)
    if not sized or (sizes and len(sized) != 1):
        raise InputError("there must be one shape for --sizes, and at least one", f"{len(sized)}", "Give one shape.")
    if sizes:
        sized = list(dict.fromkeys(resize(sized[0], size, kind.itemsize) for size in sizes))
    chosen = choose_norms(norms, sized, layout)
    order = choose_layout(sized, chosen if norms else [], layout)
    if norms:
        refuse_unfit(chosen, sized, order)
    form = _memory_format(memory_format, order)
    cases = []
    for shape in sized:
        bench = _Bench(shape, order, kind, place, form, compile, strict=bool(norms))
        cases.append(bench.run(chosen, repeats, seconds, _about(shape, on_progress)))
    return Profile(
        layout=order,
        dtype=str(kind).removeprefix("torch."),
        memory_format=memory_format,
        compiled=compile,
        device=str(place),
        reference=f"{REFERENCE}{', compiled too' if compile else ''}",
        machine=describe_machine(place),
        cases=tuple(cases),
    )


def _about(shape: tuple[int, ...], say: Say) -> Say:
    return lambda words: say(f"{','.join(map(str, shape))}: {words}")


def _memory_format(text: str, layout: Layout) -> torch.memory_format:
    import torch

    if text not in FORMATS:
        raise InputError(f"memory format must be {' or '.join(FORMATS)}", repr(text), "Leave it out for contiguous.")
    if text == "contiguous":
        return torch.contiguous_format
    known = {"NCHW": torch.channels_last, "NCDHW": torch.channels_last_3d}
    if layout not in known:
        raise InputError("channels_last needs NCHW or NCDHW input", layout, "Leave it out, or give another shape.")
    return known[layout]


@dataclass(frozen=True)
class _Contender:
    """A layer that is ready to be timed."""

    norm: Norm
    layer: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]
    note: str


class _Bench:
    """One shape: its tensors, and what is timed on them."""

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
        self.slot = own_slot(shape, layout)
        generator = torch.Generator(device).manual_seed(0)

        def draw() -> Tensor:
            drawn = torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)
            return drawn.contiguous(memory_format=memory_format)

        self.x, self.dy = draw().requires_grad_(), draw()
        self.source, self.target = draw(), draw()

    def run(self, norms: Sequence[Norm], repeats: int | None, seconds: float, say: Say) -> Case:
        """Prepares, times and sums up every norm."""
        import torch

        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), compiled_apart() if self.compiled else nullcontext():
            ready, left_out = self._prepare(norms, say)
            works: dict[str, Work] = {_COPY: self._copy, _FRESH: self._fresh_copy}
            works |= {str(one.norm): self._train(one.layer, one.parameters) for one in ready}
            works |= self._extras(norms)
            timed = interleave(works, self.device, repeats, seconds, say)
            moved = 2 * self.x.nbytes
            copy = [moved / seconds for seconds in timed[_COPY].totals()]
            costs = {str(one.norm): self._cost(one, timed, copy) for one in ready}
        return Case(
            shape=self.shape,
            bytes=self.x.nbytes,
            rounds=len(copy),
            copy=Spread.of(copy),
            fresh_copy=Spread.of(moved / seconds for seconds in timed[_FRESH].totals()),
            costs=tuple(costs.get(str(norm)) or left_out[str(norm)] for norm in norms),
        )

    def _prepare(self, norms: Sequence[Norm], say: Say) -> tuple[list[_Contender], dict[str, Cost]]:
        """The norms that run, and those that do not, with the reason."""
        ready, left_out = [], {}
        for norm in norms:
            reason = reason_against(norm, self.slot, self.shape[0])
            if not reason:
                say(f"first call of {norm}")
                try:
                    ready.append(self._contender(norm))
                except (RuntimeError, ValueError, NotImplementedError, IndexError) as error:
                    reason = _first_line(error)
                    if self.strict:
                        rule = f"{norm} must run on {self.dtype} {self.layout} tensors on {self.device}"
                        raise InputError(rule, reason, "Use another type, shape or device.") from error
            if reason:
                left_out[str(norm)] = Cost(str(norm), norm.label, skipped=reason)
        return ready, left_out

    def _contender(self, norm: Norm) -> _Contender:
        layer = norm.build(self.slot)
        note = norm.caution(self.slot, self.shape[0]) or ""
        if norm.spec.wrap:
            layer = _before(norm.spec.wrap(_projection(self.slot), norm.options), layer)
            note = "with the layer whose weights it changes, which takes"
        layer = self._placed(layer)
        called = self._compile(layer)
        self._train(called, tuple(layer.parameters()))(Stopwatch(self.device))
        return _Contender(norm, called, tuple(layer.parameters()), note)

    def _extras(self, norms: Sequence[Norm]) -> dict[str, Work]:
        """The reference, and the bare layer where norms change weights."""
        works: dict[str, Work] = {}
        if self.x.numel() > self.slot.channels:  # torch's BatchNorm refuses a single element for each channel
            batch = self._placed(_reference(self.slot))
            works[_BASE] = self._train(self._compile(batch), tuple(batch.parameters()))
        if any(norm.spec.wrap for norm in norms):
            bare = self._placed(_projection(self.slot))
            works[_BARE] = self._train(self._compile(bare), tuple(bare.parameters()))
        return works

    def _placed(self, layer: nn.Module) -> nn.Module:
        return layer.to(self.device, self.dtype).train()

    def _compile(self, layer: nn.Module) -> Callable[[Tensor], Tensor]:
        import torch

        return torch.compile(layer, dynamic=False) if self.compiled else layer

    def _train(self, layer: Callable[[Tensor], Tensor], parameters: tuple[nn.Parameter, ...]) -> Work:
        """Forward and backward pass; what they leave is freed after the last mark."""
        import torch

        wanted = (self.x, *parameters)

        def work(watch: Stopwatch) -> None:
            watch.mark()
            output = layer(self.x)
            watch.mark()
            gradients = torch.autograd.grad(output, wanted, self.dy, allow_unused=True)
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

    def _cost(self, one: _Contender, timed: dict[str, Timings], copy: list[float]) -> Cost:
        found = timed[str(one.norm)]
        both = found.totals()
        memory = measure_memory(lambda: one.layer(self.x), self.dy, one.parameters)
        forward, backward = self._traffic(one, memory.saved >= self.x.nbytes)
        moved = forward + backward
        note = one.note
        if one.norm.spec.wrap:
            note += f" {Spread.of(timed[_BARE].totals()).median * 1e3:.3g} ms without it"
        ratio = [own / base for own, base in zip(both, timed[_BASE].totals(), strict=True)] if _BASE in timed else []
        return Cost(
            norm=str(one.norm),
            label=one.norm.label,
            forward=Spread.of(found.phase(0)),
            backward=Spread.of(found.phase(1)),
            both=Spread.of(both),
            ratio=Spread.of(ratio) if ratio else None,
            bytes_forward=forward,
            bytes_backward=backward,
            floor=moved / Spread.of(copy).median,
            bandwidth_share=Spread.of(moved / own / rate for own, rate in zip(both, copy, strict=True)),
            memory=memory,
            parameters=sum(parameter.numel() for parameter in one.parameters),
            note=note,
        )

    def _traffic(self, one: _Contender, needs_input: bool) -> tuple[int, int]:
        """The least bytes of forward and backward pass; a tensor that is passed on as it is costs none."""
        import torch

        output = one.layer(self.x)
        (dx,) = torch.autograd.grad(output, (self.x,), self.dy)
        one_way = self.x.nbytes
        forward = 0 if _same(output, self.x) else 2 * one_way
        backward = 0 if _same(dx, self.dy) else 2 * one_way
        return forward, backward + (one_way if needs_input and backward else 0)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _before(first: nn.Module, second: nn.Module) -> nn.Module:
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
