"""Speed and memory of norms on the user's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.slot import Layout
from normlab.profiling.bench import REFERENCE, Bench
from normlab.profiling.clock import OnProgress, ignore_progress
from normlab.profiling.machine import describe_machine
from normlab.profiling.requests import (
    Norms,
    check_callback,
    check_memory_format,
    check_rounds,
    check_switch,
    find_device,
    find_dtype,
    norms_of_layout,
    read_norms,
    refuse_unfit,
)
from normlab.profiling.shapes import Shapes, layout_of, read_mebibytes, read_shapes, resize
from normlab.profiling.spec import Profile
from normlab.recognition.free_memory import refuse_too_large
from normlab.recognition.inputs import find_memory_format

if TYPE_CHECKING:
    import torch

SECONDS = 5.0


def profile(
    shapes: Shapes,
    norms: Norms = (),
    *,
    layout: str | None = None,
    dtype: str | torch.dtype = "float32",
    memory_format: str = "contiguous",
    compile: bool = False,
    device: str | torch.device = "cpu",
    sizes: str | float | Sequence[float] = (),
    repeats: int | None = None,
    seconds: float = SECONDS,
    on_progress: OnProgress = ignore_progress,
) -> Profile:
    """Measures norms on shapes: forward and backward, memory, traffic against a copy, ratio to torch's BatchNorm.

    All norms of a shape are timed in every round, in an order drawn anew. Times are medians over the rounds with their
    quartiles; ratios are taken within each round. Layers are in training mode: statistics are those of the batch.

    Arguments:
        shapes: one or several, as sizes or text such as ``"32,64,56,56"``, all with the same number of axes.
        norms: one or several entries, or texts such as ``"group:groups=32"`` and ``"package.module:object"`` of a
            NormSpec, a module's class or a function of the number of channels; by default all of the catalogue that
            take the layout.
        layout: the order of the axes; by default the first that fits the shapes and that all norms take.
        dtype: of tensors and parameters: float32, float64, bf16 or fp16.
        memory_format: ``contiguous``, or ``channels_last`` for images and volumes.
        compile: whether every layer goes through ``torch.compile`` first.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        sizes: sizes of the tensors in MiB, such as ``(0.25, 1, 4)`` or ``"0.25,1,4"``; a single shape is then measured
            at batch sizes that give about those.
        repeats: rounds; by default as many as fit into ``seconds``, at least 5.
        seconds: for all rounds of one shape.
        on_progress: a function that is told how far the work is.

    Raises:
        InputError: an argument cannot be used, a norm that is asked for cannot run on the shapes, or there is too
            little memory.

    >>> (case,) = profile("8,32,4,4", ["batch", "group:groups=8"], repeats=1).cases
    >>> [cost.norm for cost in case.costs], case.costs[0].bytes_forward
    (['batch', 'group:groups=8'], 32768)
    """
    check_rounds(repeats, seconds, SECONDS)
    check_switch("compile", compile)
    check_callback(on_progress)
    torch_dtype, place = find_dtype(dtype), find_device(device)
    all_shapes = _resized(read_shapes(shapes), read_mebibytes(sizes), torch_dtype.itemsize)
    selection = read_norms(norms)
    order = layout_of(all_shapes, selection, layout)
    refuse_unfit(selection, all_shapes, order)
    contenders = selection or norms_of_layout(all_shapes, layout)
    order_in_memory = _memory_format(memory_format, order)
    refuse_too_large(all_shapes, torch_dtype.itemsize, every=not selection, device=place)
    cases = []
    for shape in all_shapes:
        # no name for the bench, so that its tensors are gone before the next one's are made
        cases.append(
            Bench(shape, order, torch_dtype, place, order_in_memory, compile, bool(selection)).run(
                contenders, repeats, seconds, _about(shape, on_progress)
            )
        )
    return Profile(
        layout=order,
        dtype=str(torch_dtype).removeprefix("torch."),
        memory_format=memory_format,
        compiled=compile,
        device=str(place),
        reference=f"{REFERENCE}{', compiled too' if compile else ''}",
        machine=describe_machine(place),
        cases=tuple(cases),
    )


def _resized(shapes: list[tuple[int, ...]], mebibytes: Sequence[float], item_bytes: int) -> list[tuple[int, ...]]:
    """The shapes; if sizes are asked for, the only shape at the batch sizes that give them."""
    if not mebibytes:
        return shapes
    if len(shapes) > 1:
        raise InputError("`sizes` must go with a single shape", f"{len(shapes)} of them", "Give one shape.")
    return list(dict.fromkeys(resize(shapes[0], size, item_bytes) for size in mebibytes))


def _about(shape: tuple[int, ...], on_progress: OnProgress) -> OnProgress:
    return lambda text: on_progress(f"{','.join(map(str, shape))}: {text}")


def _memory_format(memory_format: str, layout: Layout) -> torch.memory_format:
    check_memory_format(memory_format)
    order = find_memory_format(memory_format, len(layout))
    if order is None:
        rule = "`memory_format=channels_last` needs NCHW or NCDHW input"
        raise InputError(rule, layout, "Leave it out, or give another shape.")
    return order
