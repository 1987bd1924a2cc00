"""Many replicas of a perceptron at once on the CPU, by a compiled kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from time import perf_counter

from normlab.engine.environment import describe
from normlab.engine.fused.group import NORMS, Program, Trained, group_size, make_program, shortened, train_group
from normlab.engine.spec import Engine
from normlab.engine.start import Start, load_data, prepare
from normlab.norms.catalog import parse
from normlab.records import Cohort, Outcome, Run
from normlab.tasks.catalog import find_task
from normlab.tasks.mlp import PerceptronTask

MOST_REPLICAS = 32  # in a part: small enough that 64 seeds keep two cores busy
MOST_WORK = 1e9  # of a replica, in samples times parameters of a part: about ten seconds of work, one group at least
TIMED_STEPS = 16  # of each group of replicas


class Fused(Engine):
    """Trains as many replicas at once as a vector register holds, each start to finish within the caches."""

    name = "fused"
    title = "fused (compiled; several replicas in every instruction)"
    parallel = "threads"
    gpu = False

    def supports(self, cohort: Cohort) -> str | None:
        task = find_task(cohort.task)
        if type(task) is not PerceptronTask:
            return "it trains multilayer perceptrons only"
        reference = parse(cohort.norm).reference
        if reference not in NORMS:
            return f"it has no {reference}"
        return None

    def part_size(self, cohort: Cohort, device: str = "cpu") -> int:
        return _groups_in_part(cohort) * group_size(cohort.setting.dtype)

    def train(self, cohort: Cohort, device: str) -> Iterator[Outcome]:
        runs = list(cohort.runs())
        size = group_size(cohort.setting.dtype)
        environment = describe(self.name, device, ("numba", "numpy"))
        for first in range(0, len(runs), size):
            group = runs[first : first + size]
            starts = [prepare(run) for run in group]
            program = _program(replace(cohort, seeds=()))
            seconds = _seconds_per_step(program, starts)
            trained, _ = train_group(program, starts)
            for run, start, result in zip(group, starts, trained, strict=True):
                yield _outcome(run, start, result, program.layout.parameters, seconds, environment)

    def unmeasured(self, cohort: Cohort) -> Callable[[], None]:
        """What trains every replica in this thread without measuring anything, to time the bare training."""
        program = _program(replace(cohort, seeds=()))
        program = shortened(program, len(program.course.noise_at))
        starts = [prepare(run) for run in cohort.runs()]
        size = group_size(cohort.setting.dtype)

        def train() -> None:
            for first in range(0, len(starts), size):
                train_group(program, starts[first : first + size])

        return train


def _groups_in_part(cohort: Cohort) -> int:
    """The longer the training, the smaller the parts, so that little is lost when the work is interrupted."""
    task, setting = find_task(cohort.task), cohort.setting
    assert isinstance(task, PerceptronTask)
    weights = sum(inputs * outputs for inputs, outputs in pairwise(task.widths(setting)))
    work = float(setting.epochs) * task.training_samples * weights
    return max(1, min(MOST_REPLICAS // group_size(setting.dtype), int(MOST_WORK / work)))


@lru_cache(maxsize=16)
def _program(cohort: Cohort) -> Program:
    task = find_task(cohort.task)
    assert isinstance(task, PerceptronTask)
    data = load_data(cohort.task, cohort.study_seed)
    return make_program(parse(cohort.norm), task.widths(cohort.setting), cohort.setting, cohort.measure, data)


def _seconds_per_step(program: Program, starts: list[Start]) -> float:
    """Seconds per step and replica of the first steps, without measurements and without compiling the kernel."""
    train_group(shortened(program, 1), starts)  # this compiles it, or loads what was compiled earlier
    steps = min(TIMED_STEPS, len(program.course.noise_at))
    short = shortened(program, steps)
    began = perf_counter()
    train_group(short, starts)
    return (perf_counter() - began) / steps / group_size(program.dtype)


def _outcome(
    run: Run, start: Start, trained: Trained, parameters: int, seconds: float, environment: dict[str, str]
) -> Outcome:
    reason = ""
    if trained.stopped_at is not None:
        value = trained.series[trained.stopped_by].values[-1]
        reason = f"{trained.stopped_by} became {value} at step {trained.stopped_at}"
    return Outcome(
        run=run,
        status="diverged" if reason else "finished",
        series=trained.series,
        parameters=parameters,
        batch_hash=start.batch_hash,
        seconds_per_step=seconds,
        environment=environment,
        reason=reason,
        stopped_at=trained.stopped_at,
    )
