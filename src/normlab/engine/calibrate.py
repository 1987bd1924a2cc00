"""How fast an engine trains runs on this machine, measured once and kept for later commands."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from normlab.engine.cache import RecipeCache
from normlab.engine.environment import describe
from normlab.engine.spec import Announce, Engine
from normlab.engine.trial import in_short
from normlab.plan import Cohort, Recipe
from normlab.record import digest

TRIALS = 2  # the first one warms up
MOST_STEPS = 40  # of a run in a trial
ENOUGH_SECONDS = 5.0  # a first trial that took as long says enough


@dataclass(frozen=True)
class Trial:
    """A short training by an engine, to see how fast it is.

    Arguments:
        engine: the engine.
        recipe: what it trains.
        runs: how many runs there are to train together, as far as the engine can.
        device: where they are trained.
    """

    engine: Engine
    recipe: Recipe
    runs: int
    device: str

    @property
    def short(self) -> Cohort:
        """What is trained."""
        count = min(self.runs, self.engine.part_size(self.recipe, self.device))
        return Cohort(in_short(self.recipe, MOST_STEPS), tuple(range(count)))

    @property
    def steps(self) -> int:
        """What it costs at the most, in steps of a run."""
        short = self.short
        return TRIALS * len(short.seeds) * short.arm.condition.steps

    def seconds_per_step(self, announce: Announce) -> float:
        """Seconds per step and replica, with everything that is measured.

        Kept in a file by engine, machine and versions, and by what is trained.
        """
        short = self.short
        further = self.engine.name, self.device, len(short.seeds)
        return _known.get(short.recipe, further, lambda: self._kept_or_measured(short, announce))

    def _kept_or_measured(self, short: Cohort, announce: Announce) -> float:
        environment = describe(self.engine.name, self.device, ("torch", "numpy"))
        folder, key = cache_folder(), digest([environment, short.arm.key, len(short.seeds)])
        path = folder / "calibration" / f"{key}.json" if folder else None
        if path is not None:
            try:
                return float(json.loads(path.read_text(encoding="utf-8"))["seconds_per_step"])
            except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or not by this version
                pass
        task = short.arm.condition.task.reference
        announce(f"Timing {self.engine.name} on a few steps of {short.arm.label} on {task}.")
        self.engine.warm_up(short.recipe, self.device, announce)
        seconds = self._measure(short)
        if path is not None:
            with suppress(OSError):  # without a folder for caches it is measured anew by the next command
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"seconds_per_step": seconds}), encoding="utf-8")
        return seconds

    def _measure(self, short: Cohort) -> float:
        fastest = float("inf")
        for _ in range(TRIALS):
            began = perf_counter()
            for _ in self.engine.train(short, self.device):
                pass
            fastest = min(fastest, perf_counter() - began)
            if fastest > ENOUGH_SECONDS:
                break
        return fastest / short.arm.condition.steps / len(short.seeds)


_known: RecipeCache[float] = RecipeCache(1024)


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
