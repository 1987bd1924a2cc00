"""Which engine trains a cohort, and why."""

from __future__ import annotations

from dataclasses import dataclass

from normlab import reading
from normlab.engine.calibrate import seconds_per_step, trial_runs
from normlab.engine.fused.engine import Fused
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.engine.stacked.engine import Stacked
from normlab.errors import InputError, nearest
from normlab.records import Cohort

ENGINES: tuple[Engine, ...] = (Fused(), Stacked(), Sequential())
FASTEST = "fused"  # wherever it can train at all, by more than any calibration could err
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


def choose(cohort: Cohort, wanted: str = AUTO, *, device: str = "cpu", workers: int = 1) -> Choice:
    """The engine ``wanted``, or the one that is fastest for the cohort on this machine.

    Raises:
        InputError: there is no such engine, or it cannot train the cohort.
    """
    candidates: list[Engine] = []
    obstacles: list[str] = []
    for engine in ENGINES if wanted == AUTO else (find_engine(wanted),):
        obstacle = "it trains on the CPU only" if device != "cpu" and not engine.gpu else engine.supports(cohort)
        if obstacle is None:
            candidates.append(engine)
            if engine.name == FASTEST:
                break
        else:
            obstacles.append(f"not {engine.name}: {obstacle}")
    if not candidates:
        raise InputError(
            "an engine must be able to train every norm of the study",
            f"{cohort.norm} on {cohort.task} ({'; '.join(obstacles)})",
            "Leave the norm out, or choose another engine." if wanted != AUTO else "Leave the norm out.",
        )
    engine, reason = candidates[0], "asked for" if wanted != AUTO else "the fastest for what it can train"
    if len(candidates) > 1:
        trials = sum(trial_runs(engine, cohort, device) for engine in candidates)
        worth = len(cohort.seeds) * cohort.setting.epochs >= WORTH_A_TRIAL * trials
        engine, reason = (_by_calibration if worth else _by_rule)(candidates, cohort, device, workers)
    elif wanted == AUTO and engine.name != FASTEST:
        reason = "the only one that can train it"
    return Choice(engine, "; ".join([reason, *obstacles]))


def _by_rule(candidates: list[Engine], cohort: Cohort, device: str, workers: int) -> tuple[Engine, str]:
    """Without a trial: the first that the runs would fill at least half, as copies take as long as runs."""
    filled = (engine for engine in candidates if 2 * len(cohort.seeds) >= engine.part_size(cohort, device))
    return next(filled, candidates[-1]), "by rule, as the work is too short for a trial"


def _by_calibration(candidates: list[Engine], cohort: Cohort, device: str, workers: int) -> tuple[Engine, str]:
    """The engine that needs the least time per step and replica in a short training."""
    beside = {"processes": min(workers, len(cohort.seeds)), "threads": min(workers, len(cohort.seeds)), "alone": 1}
    seconds = {
        engine: seconds_per_step(engine, cohort, device) / beside[engine.parallel if device == "cpu" else "alone"]
        for engine in candidates
    }
    best = min(candidates, key=lambda engine: seconds[engine])
    others = ", ".join(f"{seconds[other] * 1e6:.0f} for {other.name}" for other in candidates if other is not best)
    return best, f"{seconds[best] * 1e6:.0f} us per step and replica in a short trial on this machine, {others}"


def check_device(device: str) -> str:
    """``device`` if this machine has it.

    Raises:
        InputError: it is not there.

    >>> check_device("cpu")
    'cpu'
    """
    return reading.device(device)
