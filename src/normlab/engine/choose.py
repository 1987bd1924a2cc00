"""Which engine trains a cohort, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normlab.engine.calibrate import Trial
from normlab.engine.fused.engine import Fused
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Announce, Engine
from normlab.engine.stacked.engine import Stacked
from normlab.errors import InputError, nearest
from normlab.reading.objects import unmarked
from normlab.recipe import Cohort

ENGINES: tuple[Engine, ...] = (Fused(), Stacked(), Sequential())
AUTO = "auto"
WORTH_A_TRIAL = 8  # a trial may cost at most one part in so many of the work
SHORT = 15.0  # seconds of work of a cohort for which no other engine is looked for


class NoEngine(InputError):
    """No engine can train a cohort, or not the one that was asked for.

    Arguments:
        cohort: the cohort.
        obstacles: why, engine by engine.
        advice: what to do.
    """

    def __init__(self, cohort: Cohort, obstacles: Sequence[str], advice: str) -> None:
        self.reason = "; ".join(obstacles)
        given = unmarked(f"{cohort.arm.norm} on {cohort.arm.condition.task.reference} ({self.reason})")
        super().__init__("an engine must be able to train every norm of the study", given, advice)


@dataclass(frozen=True)
class Choice:
    """An engine for a cohort, with the reason in a sentence."""

    engine: Engine
    reason: str


def find_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        InputError: there is none.
    """
    engines = {engine.name: engine for engine in ENGINES}
    if name not in engines:
        raise InputError("engine must be auto or a known engine", repr(name), nearest(name, [AUTO, *engines]))
    return engines[name]


def choose(
    cohort: Cohort,
    name: str = AUTO,
    *,
    device: str = "cpu",
    workers: int = 1,
    on_trial: Announce = lambda sentence: None,
) -> Choice:
    """The engine of that name, or the one that is fastest for the cohort on this machine.

    A preferred engine is taken wherever it can train at all. Else plain PyTorch is timed, and only where it would take
    long are others looked at: to see what they can do, and how fast, takes a while itself.

    Arguments:
        cohort: the runs.
        name: the name of an engine, or ``auto``.
        device: where they are trained.
        workers: processes or threads that train beside each other.
        on_trial: gets a sentence before what may take long.

    Raises:
        NoEngine: no engine can train the cohort, or not the one that was asked for.
        InputError: there is no engine of that name.
    """
    recipe = cohort.recipe
    obstacles: list[str] = []

    def able(engine: Engine) -> bool:
        obstacle = "it trains on the CPU only" if device != "cpu" and not engine.gpu else engine.supports(recipe)
        if obstacle is not None:
            obstacles.append(f"not {engine.name}: {obstacle}")
        return obstacle is None

    def choice(engine: Engine, reason: str) -> Choice:
        return Choice(engine, "; ".join([reason, *obstacles]))

    if name != AUTO:
        if able(engine := find_engine(name)):
            return choice(engine, "asked for")
        raise NoEngine(cohort, obstacles, "Leave it out, or choose another engine.")
    for engine in ENGINES:
        if engine.preferred and able(engine):
            return choice(engine, "the fastest for what it can train")
    *others, plain = (engine for engine in ENGINES if not engine.preferred)
    if not able(plain):
        raise NoEngine(cohort, obstacles, "Leave it out.")
    if (short := _short(Trial(plain, recipe, len(cohort.seeds), device), workers, on_trial)) is not None:
        return choice(plain, short)
    what = f"{cohort.arm.label} on {unmarked(cohort.arm.condition.task.reference)}"
    on_trial(f"Looking for a faster engine for {what}; the first time it may take a minute.")
    candidates = [*filter(able, others), plain]
    if len(candidates) == 1:
        return choice(plain, "the only one that can train it")
    trials = [Trial(candidate, recipe, len(cohort.seeds), device) for candidate in candidates]
    engine, reason = _by_calibration(trials, workers, on_trial)
    return choice(engine, reason)


def _short(trial: Trial, workers: int, on_trial: Announce) -> str | None:
    """Why the work is too short to look for another engine, or None."""
    work = trial.runs * trial.recipe.arm.condition.steps
    if work < WORTH_A_TRIAL * trial.steps:
        return "the work is short"
    pace = trial.pace(on_trial)
    seconds = pace.seconds(trial.recipe.arm.condition.steps) * trial.runs / min(workers, trial.runs)
    return f"the work takes it about {seconds:.0f} s" if seconds < SHORT else None


def _by_calibration(trials: list[Trial], workers: int, on_trial: Announce) -> tuple[Engine, str]:
    """The engine that needs the least time for each run."""
    runs, device, steps = trials[0].runs, trials[0].device, trials[0].recipe.arm.condition.steps
    beside = {"processes": min(workers, runs), "threads": min(workers, runs), "alone": 1}
    seconds = {
        trial.engine: trial.pace(on_trial).seconds(steps)
        / beside[trial.engine.parallel if device == "cpu" else "alone"]
        for trial in trials
    }
    best = min(seconds, key=lambda engine: seconds[engine])
    each = {engine: f"{value * 1e6 / steps:.0f}" for engine, value in seconds.items()}
    others = ", ".join(f"{value} for {other.name}" for other, value in each.items() if other is not best)
    return best, f"{each[best]} us per step and replica in a short trial on this machine, {others}"
