"""The plan minus what is stored, through the engines, into the store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from operator import attrgetter

from normlab import reading
from normlab.engine.choose import AUTO, ENGINES, Choice, NoEngine, choose, find_engine
from normlab.engine.spec import Announce, CountSteps, Parallel
from normlab.errors import InputError
from normlab.execute.local import train_here, train_in_threads
from normlab.execute.pool import train_in_processes
from normlab.execute.work import Finished, Part
from normlab.plan import Plan
from normlab.recipe import Cohort, Recipe, Run
from normlab.store.directory import Store
from normlab.study.arm import Arm

Choices = Mapping[Recipe, Choice]


@dataclass(frozen=True)
class Means:
    """What runs are trained with.

    Arguments:
        engine: name of an engine, or ``auto``.
        workers: processes or threads to train in.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        on_trial: called with a sentence before an engine is tried out, which may take a while.
    """

    engine: str = AUTO
    workers: int = 1
    device: str = "cpu"
    on_trial: Announce = lambda text: None


@dataclass(frozen=True)
class Progress:
    """How far the work has come.

    Arguments:
        done: runs stored so far, those of earlier calls included.
        total: all runs of the study.
        before: those of earlier calls.
        diverged, failed: runs of this call that did not finish.
        steps: training steps of this call so far, summed over the runs; of a run that stopped early all of them.
        total_steps: those that this call trains.
    """

    done: int
    total: int
    before: int
    diverged: int = 0
    failed: int = 0
    steps: int = 0
    total_steps: int = 0


def choose_engines(
    cohorts: Iterable[Cohort], means: Means, usual: Mapping[Arm, str] | None = None
) -> tuple[Choices, dict[Arm, str]]:
    """The engine for every arm, before anything is trained or written; and why there is none, for arms without.

    Arguments:
        cohorts: what is to be trained.
        means: what is asked for.
        usual: engines that trained other runs of the same arms, which go on with them where they can.

    Raises:
        InputError: the engine that was asked for cannot train some arm, there is no such engine or device, or
            ``workers`` is below 1.
    """
    if means.workers < 1:
        raise InputError("workers must be at least 1", means.workers, "Leave it out to use every core.")
    reading.device(means.device)
    if means.engine != AUTO:
        find_engine(means.engine)
    choices: dict[Recipe, Choice] = {}
    without: dict[Arm, str] = {}
    for cohort in cohorts:
        before = (usual or {}).get(cohort.arm, "")
        try:
            if means.engine == AUTO and before in {known.name for known in ENGINES}:
                with suppress(NoEngine):
                    same = choose(cohort, before, device=means.device)
                    choices[cohort.recipe] = replace(same, reason="it trained the other runs of this arm")
                    continue
            choices[cohort.recipe] = choose(
                cohort, means.engine, device=means.device, workers=means.workers, on_trial=means.on_trial
            )
        except NoEngine as error:
            if means.engine != AUTO:
                raise
            without[cohort.arm] = error.reason
    return choices, without


def missing(plan: Plan, store: Store) -> tuple[Cohort, ...]:
    """What a plan asks for and a folder does not hold; runs that failed are tried again."""
    taken = {run for run, status in store.statuses().items() if status != "failed"}
    cohorts = []
    for cohort in plan.cohorts:
        runs = {(cohort.arm, seed): seed for seed in cohort.seeds}
        cohorts.append(replace(cohort, seeds=tuple(seed for run, seed in runs.items() if run not in taken)))
        taken.update(runs)  # arms that are tuned may be those of the common value
    return tuple(cohort for cohort in cohorts if cohort.seeds)


def joined(cohorts: Iterable[Cohort], choices: Choices) -> list[tuple[Choice, tuple[Run, ...]]]:
    """The runs of cohorts that differ in nothing but what their engine lets replicas differ in, by seed.

    So five seeds at each rate of a grid fill the groups of an engine that trains sixteen replicas at once.

    Arguments:
        cohorts: what is to be trained.
        choices: their engines.
    """
    together: dict[tuple[Choice, str], list[Run]] = {}
    for cohort in cohorts:
        choice = choices[cohort.recipe]
        key = choice, cohort.recipe.key_beside(choice.engine.features.per_replica)
        together.setdefault(key, []).extend(cohort)
    by_seed = attrgetter("seed")
    return [(choice, tuple(sorted(runs, key=by_seed))) for (choice, _), runs in together.items()]


def outdated(plan: Plan, store: Store) -> dict[Arm, int]:
    """Stored arms that differ from one of the plan only in the user's code behind them, with their runs."""
    planned = {_without_source(arm): arm.source for arm in plan.arms if arm.source}
    counts: dict[Arm, int] = {}
    if planned:
        for arm, _ in store.statuses():
            if arm.source and planned.get(_without_source(arm), arm.source) != arm.source:
                counts[arm] = counts.get(arm, 0) + 1
    return counts


def _without_source(arm: Arm) -> tuple[object, ...]:
    condition = arm.condition
    measure, task = condition.measure, condition.task.reference
    return arm.norm, task, condition.model, condition.training, measure, condition.study_seed


def warm_up(cohorts: Iterable[Cohort], choices: Choices, means: Means) -> None:
    """What engines do once before they train, such as loading compiled code.

    Arguments:
        cohorts: what is to be trained.
        choices: their engines.
        means: what is asked for.
    """
    kinds = {(choices[cohort.recipe].engine, cohort.recipe.training.dtype): cohort.recipe for cohort in cohorts}
    for (engine, _), recipe in kinds.items():
        engine.warm_up(recipe, means.device, means.on_trial)


def execute(
    plan: Plan,
    store: Store,
    choices: Choices,
    *,
    cohorts: Sequence[Cohort] | None = None,
    since: Progress | None = None,
    workers: int = 1,
    processes: int | None = None,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Trains runs of ``plan`` that ``store`` does not hold yet; gives how far that came.

    Arguments:
        plan: what to train.
        store: where outcomes are kept; each part is written as soon as it is finished.
        choices: the engine for every arm, from `choose_engines`.
        cohorts: which of them; all that are missing by default.
        since: how far earlier rounds of the same call came.
        workers: processes or threads to train in.
        processes: how many of them where an engine takes processes; as many if None.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        on_progress: called after every finished part, and a few times a second with the steps of those in work.

    Raises:
        ExecutionError: a worker process died; what was finished is kept.
    """
    cohorts = missing(plan, store) if cohorts is None else cohorts
    pending = _parts(cohorts, choices, device)
    total = len(plan.runs)
    done = total - sum(len(cohort.seeds) for cohort in cohorts)
    steps = sum(part.steps for part in pending)
    since = since or Progress(done, total, before=done)
    begin = replace(since, done=done, total=total, total_steps=since.total_steps + steps)
    account = _Account(begin, on_progress)
    on_progress(account.progress)
    processes = workers if processes is None else processes
    beside: dict[Parallel, int] = {"threads": workers, "processes": processes, "alone": 1}
    with closing(_train(pending, store, device, beside, account.count)) as training:  # whatever `on_progress` raises
        for finished in training:
            account.enter(finished)
    return account.progress


class _Account:
    """How far the work has come, told to a listener.

    Arguments:
        progress: where it begins.
        on_progress: the listener.
    """

    def __init__(self, progress: Progress, on_progress: Callable[[Progress], None]) -> None:
        self.progress, self._on_progress = progress, on_progress
        self._error: Exception | None = None

    def enter(self, finished: Finished) -> None:
        """A part is stored."""
        if self._error is not None:
            raise self._error
        now = self.progress
        self.progress = replace(
            now,
            done=now.done + finished.runs,
            diverged=now.diverged + finished.diverged,
            failed=now.failed + finished.failed,
            steps=now.steps + finished.steps,
        )
        self._on_progress(self.progress)

    def count(self, steps: int) -> None:
        """A part in work has come further.

        This is called from the midst of a training, where an error would be taken for one of the training: one of
        the listener's waits for the end of the part.
        """
        self.progress = replace(self.progress, steps=self.progress.steps + steps)
        try:
            self._on_progress(self.progress)
        except Exception as error:
            self._error = self._error or error


def _train(
    parts: list[Part], store: Store, device: str, beside: Mapping[Parallel, int], on_steps: CountSteps
) -> Generator[Finished, None, None]:
    """Threads first: they are the fastest, so that most is there early. On a GPU parts share it one by one.

    What another process could not look up, objects of Python that no module holds, is trained in this one.
    """
    kinds: dict[Parallel, list[Part]] = {"threads": [], "processes": [], "alone": []}
    for part in parts:
        parallel = find_engine(part.engine).parallel if device == "cpu" else "alone"
        kinds["alone" if parallel == "processes" and not part.recipe.portable else parallel].append(part)
    for kind, some in kinds.items():
        count = min(beside[kind], len(some))
        if kind == "threads" and some:
            yield from train_in_threads(some, store, device, count, on_steps)
        elif count < 2:
            yield from train_here(some, store, device, on_steps)
        else:
            yield from train_in_processes(some, store, device, count, on_steps)


def _parts(cohorts: Sequence[Cohort], choices: Choices, device: str) -> list[Part]:
    """The parts to train, seed by seed across the norms, so that pairs are complete early."""
    parts: list[Part] = []
    for choice, runs in joined(cohorts, choices):
        size = choice.engine.part_size(runs[0].recipe, device)
        for first in range(0, len(runs), size):
            parts.append(Part(runs[first : first + size], choice.engine.name, choice.reason))
    return sorted(parts, key=lambda part: part.runs[0].seed)
