"""How fast an engine trains runs on this machine, measured once and kept for later commands."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from normlab.engine.cache import RecipeCache
from normlab.engine.environment import describe
from normlab.engine.spec import Announce, Engine
from normlab.engine.trial import in_short
from normlab.reading.objects import unmarked
from normlab.recipe import Cohort, Recipe
from normlab.record import digest

MOST_STEPS = 20  # of an epoch of a trial
LONGER = 3  # times as many epochs as before, until the steps of a trial take as long as its start
ENOUGH_SECONDS = 5.0  # a trial that took as long says enough
TICK = 1e-6  # seconds that further epochs take at the least, whatever the clock says


@dataclass(frozen=True)
class Pace:
    """How long a run takes, trained beside as many others as its engine trains at once.

    Arguments:
        start: seconds for all that happens once in a run, however long: data and weights, first and last measurement.
        step: seconds for each step, with what is measured on the way.

    >>> Pace(start=2.0, step=0.5).seconds(10)
    7.0
    """

    start: float
    step: float

    def seconds(self, steps: int) -> float:
        """Seconds of a run of so many steps."""
        return self.start + self.step * steps


@dataclass(frozen=True)
class Trial:
    """A short training by an engine, to see how fast it is.

    Arguments:
        engine: the engine.
        recipe: what it trains.
        runs: how many runs there are to train together, as far as the engine can.
        device: where they are trained.
        most_steps: of an epoch.
    """

    engine: Engine
    recipe: Recipe
    runs: int
    device: str
    most_steps: int = MOST_STEPS

    @property
    def short(self) -> Cohort:
        """What is trained."""
        return self._short(1)

    def _short(self, epochs: int) -> Cohort:
        count = min(self.runs, self.engine.part_size(self.recipe, self.device))
        return Cohort(in_short(self.recipe, self.most_steps, epochs=epochs), tuple(range(count)))

    @property
    def steps(self) -> int:
        """What it costs, in steps of a run; more only where steps take next to no time."""
        short = self.short
        return (2 + LONGER) * len(short.seeds) * short.arm.condition.steps

    def pace(self, announce: Announce) -> Pace:
        """How long a run takes, with everything that is measured.

        Kept in a file by engine, machine and versions, and by what is trained.
        """
        short = self.short
        further = self.engine.name, self.device, len(short.seeds), self.most_steps
        return _known.get(short.recipe, further, lambda: self._kept_or_measured(short, announce))

    def _kept_or_measured(self, short: Cohort, announce: Announce) -> Pace:
        environment = describe(self.engine.name, self.device, ("torch", "numpy"))
        folder, key = cache_folder(), digest([environment, short.arm.key, len(short.seeds)])
        path = folder / "calibration" / f"{key}.json" if folder else None
        if path is not None:
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                return Pace(float(kept["start"]), float(kept["step"]))
            except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or not by this version
                pass
        task = short.arm.condition.task.reference
        announce(f"Timing {self.engine.name} on a few steps of {short.arm.label} on {unmarked(task)}.")
        self.engine.warm_up(short.recipe, self.device, announce)
        pace = self._measure(short)
        if path is not None:
            with suppress(OSError):  # without a folder for caches it is measured anew by the next command
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(asdict(pace)), encoding="utf-8")
        return pace

    def _measure(self, short: Cohort) -> Pace:
        """From trainings of two lengths: what both take is the start, which long runs have only once too."""
        steps, count = short.arm.condition.steps, len(short.seeds)
        self._seconds(short)  # what happens once in a process, such as compiling, is no part of any run
        brief = self._seconds(short)
        if brief > ENOUGH_SECONDS:
            return Pace(0.0, brief / steps / count)
        epochs, lasted = 1, brief
        while lasted < 2 * brief and lasted < ENOUGH_SECONDS and epochs < self.recipe.training.epochs:
            epochs *= LONGER
            lasted = self._seconds(self._short(epochs))
        further = max(lasted - brief, TICK)
        step = further / (epochs - 1) / steps if epochs > 1 else brief / steps
        return Pace(max(brief - step * steps, 0.0) / count, step / count)

    def _seconds(self, cohort: Cohort) -> float:
        began = perf_counter()
        for _ in self.engine.train(cohort, self.device):
            pass
        return perf_counter() - began


_known: RecipeCache[Pace] = RecipeCache(1024)


def cache_folder() -> Path | None:
    """Where measurements are kept: ``$NORMLAB_CACHE``, or a folder of the user's for caches; None for no user's."""
    if named := os.environ.get("NORMLAB_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "normlab"
    try:
        return Path.home() / ".cache" / "normlab"
    except RuntimeError:  # a user without a home folder
        return None
