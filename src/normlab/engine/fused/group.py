"""From runs to arrays and back: the plain NumPy side of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from normlab.engine.fused.lanes import lanes
from normlab.engine.fused.layers import ACTIVATIONS, LOSSES
from normlab.engine.fused.layout import Kinds, Layer, Layout, Whole, make_layout, make_memory
from normlab.engine.fused.norms import BATCH, GIVEN, NONE, SAMPLE, TANH
from normlab.engine.fused.optimizers import OPTIMIZERS
from normlab.engine.fused.train import BLOCK, Course, Given, Parts, Recorded, train
from normlab.engine.start import Start
from normlab.norms.spec import Norm
from normlab.records import FloatArray, Measure, Series, Setting
from normlab.tasks.data import Data

NORMS = {
    "none": NONE,
    "batch": BATCH,
    "ghost": BATCH,
    "layer": SAMPLE,
    "group": SAMPLE,
    "rms": SAMPLE,
    "dyt": TANH,
}
UNCENTRED = {"rms"}
UNSHIFTED = {"none", "rms"}


@dataclass(frozen=True)
class Program:
    """All that the replicas of a cohort share."""

    layout: Layout
    table: Whole
    kinds: Kinds
    course: Course
    parts: Parts
    held_out: tuple[str, ...]
    dtype: str

    @property
    def layers(self) -> list[Layer]:
        """The linear layers with what follows them."""
        return [Layer(*row) for row in self.table.tolist()]


@dataclass(frozen=True)
class Trained:
    """What a replica leaves: its series, and what became of it."""

    series: dict[str, Series]
    stopped_at: int | None = None
    stopped_by: str = ""


def make_program(norm: Norm, widths: tuple[int, ...], setting: Setting, measure: Measure, data: Data) -> Program:
    """Everything but the replicas' own weights, batch orders and classes."""
    kinds = _kinds(norm, setting)
    steps_per_epoch = setting.steps_per_epoch(len(data.training))
    steps = setting.epochs * steps_per_epoch
    noise_at = np.zeros(steps, dtype=np.bool_)
    noise_at[measure.noise_at(steps)] = True
    course = Course(
        batch=setting.batch_size,
        epochs=setting.epochs,
        steps_per_epoch=steps_per_epoch,
        optimizer=OPTIMIZERS[setting.optimizer],
        rate=float(setting.learning_rate),
        decay=float(setting.weight_decay),
        momentum=float(setting.momentum),
        nesterov=setting.nesterov,
        noise_at=noise_at,
        measured=True,
        most_steps=steps,
    )
    layout, table = make_layout(widths, kinds, max(setting.batch_size, BLOCK))
    return Program(layout, table, kinds, course, _parts(data, setting.dtype), tuple(data.held_out), setting.dtype)


def _kinds(norm: Norm, setting: Setting) -> Kinds:
    options, name = norm.options, norm.spec.name
    affine = bool(options.get("affine", name == "dyt"))
    eps = float(options.get("eps", 0.0))
    if name == "rms" and eps == 0:
        eps = float(np.finfo(setting.dtype).eps)
    return Kinds(
        norm=NORMS[name],
        groups=int(options.get("groups", 1)),
        chunk=int(options["size"]) if name == "ghost" else 0,
        centred=name not in UNCENTRED,
        eps=eps,
        weight=float(options.get("momentum", 0.0)),
        activation=ACTIVATIONS[setting.activation],
        after=setting.placement == "after",
        loss=LOSSES[setting.loss],
        dropout=float(setting.dropout),
        gain=affine,
        shift=affine and name not in UNSHIFTED,
        alpha=float(options.get("alpha", 0.0)),
    )


def _parts(data: Data, dtype: str) -> Parts:
    parts = [data.training, *data.held_out.values()]
    counts = [len(part) for part in parts]
    training = data.training.inputs.astype(dtype).astype(np.float64)
    return Parts(
        samples=np.concatenate([part.inputs for part in parts]).astype(dtype),
        first=np.asarray([0, *accumulate(counts)][:-1], dtype=np.int64),
        count=np.asarray(counts, dtype=np.int64),
        mean=training.mean(axis=0),
        covariance=np.cov(training, rowvar=False, bias=True).reshape(-1),
    )


def shortened(program: Program, steps: int) -> Program:
    """The same training without measurements, for its first steps only: to time the bare training."""
    return replace(program, course=program.course._replace(measured=False, most_steps=steps))


def group_size(dtype: str) -> int:
    """How many replicas are trained at once."""
    return lanes(dtype)


def _given(program: Program, starts: Sequence[Start]) -> Given:
    held_out = [part.targets for part in starts[0].data.held_out.values()]
    masks = [start.masks for start in starts if start.masks is not None]
    return Given(
        order=np.stack([start.order for start in starts]).astype(np.int32),
        classes=np.stack([np.concatenate([start.classes, *held_out]) for start in starts]).astype(np.int32),
        masks=np.stack(masks) if masks else np.zeros((len(starts), 1, 1), dtype=np.uint8),
    )


def _fill(program: Program, memory: FloatArray, starts: Sequence[Start]) -> None:
    """Every replica's own weights; gains 1, shifts 0, running variances 1."""
    lay = program.layout
    numbers = memory.reshape(lay.size, len(starts))
    numbers[lay.one] = 1
    numbers[lay.running_variance : lay.running_variance + lay.units] = 1
    for number, at in enumerate(program.layers, start=1):
        for lane, start in enumerate(starts):
            numbers[at.weight : at.bias, lane] = start.weights[f"linear{number}.weight"].ravel()
            numbers[at.bias : at.bias + at.outputs, lane] = start.weights[f"linear{number}.bias"]
        if number < lay.layers:
            numbers[at.gain : at.gain + at.outputs * lay.gain_step] = 1
            if program.kinds.norm == TANH:
                numbers[at.alpha] = program.kinds.alpha


def train_group(program: Program, starts: Sequence[Start]) -> tuple[list[Trained], FloatArray]:
    """Trains up to ``group_size`` replicas in this thread; gives what they leave, and the memory as it ends.

    The interpreter's lock is released meanwhile, so that several threads can train groups.
    """
    width = lanes(program.dtype)
    full = [*starts, *[starts[-1]] * (width - len(starts))]  # nobody looks at the copies
    course = program.course
    steps, parts = len(course.noise_at), len(program.parts.count)
    out = Recorded(
        training_loss=np.full((steps, width), np.nan),
        gradient_norm=np.full((steps, width), np.nan),
        losses=np.full((course.epochs + 1, parts, 2, width), np.nan),
        accuracies=np.full((course.epochs + 1, parts, 2, width), np.nan),
        noise=np.full((int(course.noise_at.sum()), 3, width), np.nan),
        stopped=np.full(width, -1, dtype=np.int64),
        stopped_by=np.zeros(width, dtype=np.int64),
    )
    memory = make_memory(program.layout, program.dtype)
    _fill(program, memory, full)
    lay, kinds = program.layout, program.kinds
    still = kinds._replace(norm=GIVEN if kinds.norm == BATCH else kinds.norm, dropout=0.0)
    train(lay, program.table, kinds, still, course, program.parts, _given(program, full), memory, out)
    return [_read(program, out, lane) for lane in range(len(starts))], memory


def _read(program: Program, out: Recorded, lane: int) -> Trained:
    """The series of one replica, up to where it stopped."""
    course = program.course
    stopped, by_step = int(out.stopped[lane]), not out.stopped_by[lane]
    steps = len(course.noise_at) if stopped < 0 else stopped + by_step
    evaluations = course.epochs + 1 if stopped < 0 else stopped // course.steps_per_epoch + 1
    at_epochs = np.arange(evaluations) * course.steps_per_epoch
    at_noise = np.flatnonzero(course.noise_at)
    at_noise = at_noise if stopped < 0 else at_noise[at_noise < stopped]
    series: dict[str, Series] = {}
    kinds = ("", "_running") if program.kinds.norm == BATCH else ("",)
    for column, suffix in enumerate(kinds):
        name = "running_loss" if suffix else "canonical_loss"
        series[name] = Series(at_epochs, out.losses[:evaluations, 0, column, lane].astype(np.float64))
    for part, held_out in enumerate(program.held_out, start=1):
        for column, suffix in enumerate(kinds):
            for what, values in (("loss", out.losses), ("accuracy", out.accuracies)):
                measured = values[:evaluations, part, column, lane].astype(np.float64)
                series[f"{held_out}_{what}{suffix}"] = Series(at_epochs, measured)
    every, noise = np.arange(steps), out.noise[: len(at_noise), :, lane].astype(np.float64)
    training_loss = out.training_loss[:steps, lane].astype(np.float64)
    series["training_loss"] = Series(every, training_loss)
    series["gradient_norm"] = Series(every, out.gradient_norm[:steps, lane].astype(np.float64))
    if len(at_noise):
        series["noise_canonical"] = Series(at_noise, noise[:, 0].copy())
        series["noise_population"] = Series(at_noise, noise[:, 1].copy())
        series["noise_training"] = Series(at_noise, training_loss[at_noise])
    if stopped < 0:
        return Trained(series)
    return Trained(series, stopped, "training_loss" if by_step else "canonical_loss")


def unpack(program: Program, memory: FloatArray, offset: int, lane: int) -> Mapping[str, NDArray[np.float64]]:
    """Parameters (``offset`` 0) or gradients (``layout.grad``) of a replica by the names that torch gives them."""
    flat = memory.reshape(program.layout.size, -1)[offset:, lane].astype(np.float64)
    named: dict[str, NDArray[np.float64]] = {}
    for number, at in enumerate(program.layers, start=1):
        named[f"linear{number}.weight"] = flat[at.weight : at.bias].reshape(at.outputs, at.inputs)
        named[f"linear{number}.bias"] = flat[at.bias : at.bias + at.outputs]
        if number == program.layout.layers:
            break
        if program.kinds.gain:
            named[f"norm{number}.weight"] = flat[at.gain : at.gain + at.outputs]
        if program.kinds.shift:
            named[f"norm{number}.bias"] = flat[at.shift : at.shift + at.outputs]
        if program.kinds.norm == TANH:
            named[f"norm{number}.alpha"] = flat[at.alpha : at.alpha + 1]
    return named
