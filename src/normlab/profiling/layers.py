"""Speed and memory of norms on the user's shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.spec import Norm
from normlab.profiling.clock import Say, Stopwatch, Timings, Work, compiled_apart, interleave
from normlab.profiling.free_memory import refuse_too_large
from normlab.profiling.machine import describe_machine
from normlab.profiling.memory import measure_memory
from normlab.profiling.requests import (
    as_shapes,
    as_texts,
    check_memory_format,
    check_repeats,
    choose_layout,
    choose_norms,
    find_device,
    find_dtype,
    find_memory_format,
    own_slot,
    reason_against,
    refuse_unfit,
    resize,
)
from normlab.profiling.spec import Case, Cost, Profile, Spread
from normlab.profiling.text import ALL, first_line, in_milliseconds, together
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REFERENCE = "torch's BatchNorm"
SECONDS = 5.0
_BASE, _ITSELF, _COPY, _FRESH = "the reference", "the reference once more", "a copy", "a fresh copy"
_BARE, _BARE_BASE = "a layer without a norm", "a layer with the reference"
_UNSURE = 0.15  # of a ratio that is 1: quartiles farther apart, or a median farther off, say that ratios mean little


def say_nothing(text: str) -> None:
    """For work that nobody watches."""


def profile(
    shapes: Sequence[str | Sequence[int]] | str | Sequence[int],
    norms: Sequence[str] | str = (),
    *,
    layout: str | None = None,
    dtype: str | torch.dtype = "float32",
    memory_format: str = "contiguous",
    compile: bool = False,
    device: str = "cpu",
    sizes: Sequence[float] = (),
    repeats: int | None = None,
    seconds: float = SECONDS,
    on_progress: Say = say_nothing,
) -> Profile:
    """Measures norms on shapes: forward and backward, memory, traffic against a copy, ratio to torch's BatchNorm.

    All norms of a shape are timed in every round, in an order drawn anew for each; a figure is the median over
    rounds with its quartiles, a ratio is taken within each round. Layers train: statistics are those of the batch.

    Arguments:
        shapes: one or several, as sizes or text such as ``"32,64,56,56"``, all with the same number of axes.
        norms: one or several texts such as ``"group:groups=32"`` or ``"package.module:object"`` of a NormSpec, a
            module's class or a function of the number of channels; without any, all of the catalogue that take the
            layout.
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
        InputError: a shape, norm, type or device cannot be used, a norm that was asked for cannot run on them, or
            there is too little memory.

    >>> found = profile("8,32,4,4", ["batch", "group:groups=8"], repeats=1)
    >>> [cost.norm for cost in found.cases[0].costs], found.cases[0].costs[0].bytes_forward
    (['batch', 'group:groups=8'], 32768)
    """
    check_repeats(repeats, seconds, SECONDS)
    sized, asked = as_shapes(shapes), as_texts(norms)
    kind, place = find_dtype(dtype), find_device(device)
    if not sized or (sizes and len(sized) != 1):
        raise InputError("there must be one shape for --sizes, and at least one", f"{len(sized)}", "Give one shape.")
    if sizes:
        sized = list(dict.fromkeys(resize(sized[0], size, kind.itemsize) for size in sizes))
    chosen = choose_norms(asked, sized, layout)
    order = choose_layout(sized, chosen if asked else [], layout)
    if asked:
        refuse_unfit(chosen, sized, order)
    form = _memory_format(memory_format, order)
    refuse_too_large(sized, kind.itemsize, not asked, place)
    cases = []
    for shape in sized:
        say = _about(shape, on_progress)
        # no name for the bench, so that its tensors are gone before the next one's are made
        cases.append(_Bench(shape, order, kind, place, form, compile, bool(asked)).run(chosen, repeats, seconds, say))
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
    check_memory_format(text)
    found = find_memory_format(text, len(layout))
    if found is None:
        raise InputError("channels_last needs NCHW or NCDHW input", layout, "Leave it out, or give another shape.")
    return found


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
        itself = _ratio(timed, _ITSELF, _BASE)
        return Case(
            shape=self.shape,
            bytes=self.x.nbytes,
            rounds=len(copy),
            copy=Spread.of(copy),
            fresh_copy=Spread.of(moved / seconds for seconds in timed[_FRESH].totals()),
            costs=tuple(costs.get(str(norm)) or left_out[str(norm)] for norm in norms),
            itself=itself,
            warnings=(*_doubts(itself), *_too_fast(costs.values())),
        )

    def _prepare(self, norms: Sequence[Norm], say: Say) -> tuple[list[_Contender], dict[str, Cost]]:
        """The norms that run, and those that do not, with the reason."""
        ready, left_out = [], {}
        for number, norm in enumerate(norms):
            reason = reason_against(norm, self.slot, self.shape[0])
            if not reason:
                say(f"first call {number + 1} of {len(norms)}: {norm}")
                try:
                    ready.append(self._contender(norm))
                except Exception as error:
                    reason = first_line(error)
                    if self.strict:
                        rule = f"{norm} must run on {self.dtype} {self.layout} tensors on {self.device}"
                        raise InputError(rule, reason, "Use another type, layout, shape or device.") from error
            if reason:
                left_out[str(norm)] = Cost(str(norm), norm.label, skipped=reason)
        return ready, left_out

    def _contender(self, norm: Norm) -> _Contender:
        layer = norm.build(self.slot)
        note = norm.caution(self.slot, self.shape[0]) or ""
        if norm.spec.wrap:
            layer = _before(norm.spec.wrap(_projection(self.slot), norm.options), layer)
        layer = self._placed(layer)
        called = self._compile(layer)
        output = called(self.x)
        if getattr(output, "shape", None) != self.x.shape:
            given = tuple(output.shape) if hasattr(output, "shape") else f"a {type(output).__name__}"
            raise ValueError(f"a norm must give a tensor of the shape of its input; this gives {given}")
        del output
        self._train(called, tuple(layer.parameters()))(Stopwatch(self.device))
        return _Contender(norm, called, tuple(layer.parameters()), note)

    def _extras(self, norms: Sequence[Norm]) -> dict[str, Work]:
        """The reference, twice; where norms change weights, the layer too, by itself and with the reference."""
        layers: dict[str, nn.Module] = {}
        comparable = self.x.numel() > self.slot.channels  # torch's BatchNorm refuses one element for each channel
        if comparable:
            layers[_BASE] = _reference(self.slot)
        if any(norm.spec.wrap for norm in norms):
            layers[_BARE] = _projection(self.slot)
            if comparable:
                layers[_BARE_BASE] = _before(_projection(self.slot), _reference(self.slot))
        works: dict[str, Work] = {}
        for name, layer in layers.items():
            placed = self._placed(layer)
            works[name] = self._train(self._compile(placed), tuple(placed.parameters()))
        return works | ({_ITSELF: works[_BASE]} if comparable else {})

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
        name, with_layer = str(one.norm), one.norm.spec.wrap is not None
        found = timed[name]
        both = found.totals()
        memory = measure_memory(lambda: one.layer(self.x), self.dy, one.parameters)
        self.x.grad = None
        forward, backward = (0, 0) if with_layer else self._traffic(one, memory.saved >= self.x.nbytes)
        moved = forward + backward
        shares = [moved / own / rate for own, rate in zip(both, copy, strict=True)]
        return Cost(
            norm=name,
            label=one.norm.label,
            forward=Spread.of(found.phase(0)),
            backward=Spread.of(found.phase(1)),
            both=Spread.of(both),
            ratio=_ratio(timed, name, _BARE_BASE if with_layer else _BASE),
            bytes_forward=forward,
            bytes_backward=backward,
            floor=None if with_layer else moved / Spread.of(copy).median,
            bandwidth_share=None if with_layer else Spread.of(shares),
            memory=memory,
            parameters=sum(parameter.numel() for parameter in one.parameters),
            with_layer=with_layer,
            note="; ".join(filter(None, [one.note, _of_layer(timed) if with_layer else ""])),
        )

    def _traffic(self, one: _Contender, needs_input: bool) -> tuple[int, int]:
        """The least bytes of forward and backward pass; a tensor that is passed on as it is costs none."""
        import torch

        output = one.layer(self.x)
        (dx,) = torch.autograd.grad(output, (self.x,), self.dy, allow_unused=True)
        one_way = self.x.nbytes
        forward = 0 if _same(output, self.x) else 2 * one_way
        if dx is None:  # no gradient reaches the input: only that of the output is read, for the parameters
            return forward, one_way
        backward = 0 if _same(dx, self.dy) else 2 * one_way
        return forward, backward + (one_way if needs_input and backward else 0)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _ratio(timed: Mapping[str, Timings], name: str, base: str) -> Spread | None:
    """One work over another, round by round; None if one of them was not timed."""
    if name not in timed or base not in timed:
        return None
    return Spread.of(own / other for own, other in zip(timed[name].totals(), timed[base].totals(), strict=True))


def _of_layer(timed: Mapping[str, Timings]) -> str:
    alone = in_milliseconds(Spread.of(timed[_BARE].totals()))
    ratio = f"; ratio: to that layer with {REFERENCE} after it" if _BARE_BASE in timed else ""
    return f"together with the layer whose weights it changes, which takes {alone} ms by itself{ratio}"


def _doubts(itself: Spread | None) -> Iterator[str]:
    if itself and (itself.high - itself.low > _UNSURE or abs(itself.median - 1) > _UNSURE):
        found = f"{itself.median:.2f} ({itself.low:.2f}-{itself.high:.2f})"
        yield (
            f"{REFERENCE} against itself has a ratio of {found}: the machine is too busy, or the rounds are too few, "
            "to trust ratios. Stop other work, or give more --seconds"
        )


def _too_fast(costs: Iterable[Cost]) -> Iterator[str]:
    """Norms that took less time than their least traffic."""
    fast = [(cost.label, "") for cost in costs if cost.floor and cost.both and cost.floor > cost.both.median]
    for names, _ in together(fast, ALL):
        yield (
            f"The floor lies above the time of {names}: the copy was slowed down, or caches hold what the norm moves. "
            "Floor and share of the copy's speed say nothing there"
        )


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
