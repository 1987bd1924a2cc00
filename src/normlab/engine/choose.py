"""Which engine trains a cohort, and why."""

from __future__ import annotations

from dataclasses import dataclass

from normlab import reading
from normlab.engine.calibrate import Trial
from normlab.engine.fused.engine import Fused
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Announce, Engine
from normlab.engine.stacked.engine import Stacked
from normlab.errors import InputError, nearest
from normlab.plan import Cohort

ENGINES: tuple[Engine, ...] = (Fused(), Stacked(), Sequential())
AUTO = "auto"
WORTH_A_TRIAL = 8  # a trial may cost at most one part in so many of the work


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
    wanted: str = AUTO,
    *,
    device: str = "cpu",
    workers: int = 1,
    on_trial: Announce = lambda sentence: None,
) -> Choice:
    """The engine ``wanted``, or the one that is fastest for the cohort on this machine.

    Arguments:
        cohort: the runs.
        wanted: the name of an engine, or ``auto``.
        device: where they are trained.
        workers: processes or threads that train beside each other.
        on_trial: gets a sentence before each short training that tells whether an engine can train it, and how fast.

    Raises:
        InputError: there is no such engine, or it cannot train the cohort.
    """
    candidates: list[Engine] = []
    obstacles: list[str] = []
    task, announced = cohort.arm.condition.task.reference, False
    for engine in ENGINES if wanted == AUTO else (find_engine(wanted),):
        if not engine.preferred and not announced:  # such an engine may have to try
            on_trial(f"Looking for an engine that can train {cohort.arm.label} on {task}.")
            announced = True
        obstacle = "it trains on the CPU only" if device != "cpu" and not engine.gpu else engine.supports(cohort.recipe)
        if obstacle is not None:
            obstacles.append(f"not {engine.name}: {obstacle}")
            continue
        candidates.append(engine)
        if engine.preferred:
            break
    if not candidates:
        raise InputError(
            "an engine must be able to train every norm of the study",
            f"{cohort.arm.norm} on {task} ({'; '.join(obstacles)})",
            "Leave it out, or choose another engine." if wanted != AUTO else "Leave it out.",
        )
    engine, reason = candidates[0], "asked for" if wanted != AUTO else "the fastest for what it can train"
    if len(candidates) > 1:
        trials = [Trial(candidate, cohort, device) for candidate in candidates]
        work = len(cohort.seeds) * cohort.arm.condition.steps
        if work >= WORTH_A_TRIAL * sum(trial.steps for trial in trials):
            engine, reason = _by_calibration(trials, workers, on_trial)
        else:
            engine, reason = _by_rule(candidates, cohort, device)
    elif wanted == AUTO and not engine.preferred:
        reason = "the only one that can train it"
    return Choice(engine, "; ".join([reason, *obstacles]))


def _by_rule(candidates: list[Engine], cohort: Cohort, device: str) -> tuple[Engine, str]:
    """Without a trial: the first that the runs would fill at least half, as copies take as long as runs."""
    filled = (engine for engine in candidates if 2 * len(cohort.seeds) >= engine.part_size(cohort.recipe, device))
    return next(filled, candidates[-1]), "by rule, as the work is too short for a trial"


def _by_calibration(trials: list[Trial], workers: int, on_trial: Announce) -> tuple[Engine, str]:
    """The engine that needs the least time per step and replica in a short training."""
    cohort, device = trials[0].cohort, trials[0].device
    beside = {"processes": min(workers, len(cohort.seeds)), "threads": min(workers, len(cohort.seeds)), "alone": 1}
    seconds = {
        trial.engine: trial.seconds_per_step(on_trial) / beside[trial.engine.parallel if device == "cpu" else "alone"]
        for trial in trials
    }
    best = min(seconds, key=lambda engine: seconds[engine])
    others = ", ".join(f"{value * 1e6:.0f} for {other.name}" for other, value in seconds.items() if other is not best)
    return best, f"{seconds[best] * 1e6:.0f} us per step and replica in a short trial on this machine, {others}"


def check_device(device: str) -> str:
    """``device`` if this machine has it.

    Raises:
        InputError: it is not there.

    >>> check_device("cpu")
    'cpu'
    """
    return reading.device(device)
