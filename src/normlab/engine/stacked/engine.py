"""Many replicas of any model at once, on the CPU or a GPU, by ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from statistics import median

from normlab.engine import stacked
from normlab.engine.cache import RecipeCache
from normlab.engine.environment import describe
from normlab.engine.history import History
from normlab.engine.initial_state import InitialState, draw, load_data
from normlab.engine.model import TORCH_TRAINING, obstacle, one_thread
from normlab.engine.spec import Announce, CountSteps, Engine, Features, uncounted
from normlab.engine.trial import in_short
from normlab.machine import physical_memory
from normlab.recipe import Cohort, Recipe, Run
from normlab.study.outcome import Outcome

CACHE_BYTES = 6 * 2**20  # working set of a group's training step on the CPU: the digits CNN was fastest so
MEMORY_SHARE = 0.25  # of the machine's memory that a group may take in an evaluation
TRIED_SAMPLES = 8  # of each part of the data, to see whether a recipe can be trained at all
LEAST, MOST, MOST_ON_GPU = 4, 64, 1024


class Stacked(Engine):
    """Trains a fixed number of replicas along a leading axis of every tensor, on one thread.

    The result of a run depends neither on the runs beside it nor on how many there are: a seed always has the same
    place in a group of the same size, and places without a run are filled with copies. For the sake of that place
    no field of the training differs between replicas: runs of one seed could not be in one group.
    """

    name = "stacked"
    title = "stacked (torch.func; several replicas in every tensor)"
    features = Features(
        training=TORCH_TRAINING,
        needs=frozenset({"losses", "gradients", "model", "closeup"}),
        moments=frozenset({"step", "epoch", "tail", "given steps", "shares"}),
    )

    def supports(self, recipe: Recipe) -> str | None:
        if reason := self.features.obstacle(recipe) or obstacle(recipe):
            return reason
        short = in_short(recipe, 1, TRIED_SAMPLES)
        return _obstacles.get(short, None, lambda: stacked.find_obstacle(short))

    def part_size(self, recipe: Recipe, device: str = "cpu") -> int:
        return lanes(recipe, device)

    def warm_up(self, recipe: Recipe, device: str, announce: Announce) -> None:
        pass

    def train(self, runs: Iterable[Run], device: str, on_steps: CountSteps = uncounted) -> Iterator[Outcome]:
        recipes, every_seed = zip(*runs, strict=True)
        recipe = recipes[0]
        size = lanes(recipe, device)
        for _, seeds in groupby(sorted(every_seed), key=lambda seed: seed // size):
            with one_thread():
                outcomes = _train_group(recipe, list(seeds), size, device, on_steps)
            yield from outcomes

    def bare_training(self, cohort: Cohort) -> Callable[[], None]:
        recipe, size = replace(cohort.recipe, probes=()), lanes(cohort.recipe, "cpu")
        states = [draw(recipe, seed) for seed in cohort.seeds]
        stacked_model = stacked.StackedModel(states[0], "cpu")

        def train() -> None:
            for first in range(0, len(states), size):
                chunk = states[first : first + size]
                full = [*chunk, *[chunk[-1]] * (size - len(chunk))]
                with one_thread():
                    stacked.train_group(stacked_model, full, {place: History() for place in range(size)}, [])

        return train


_obstacles: RecipeCache[str | None] = RecipeCache(256)
_lanes: RecipeCache[int] = RecipeCache(256)
_models: RecipeCache[stacked.StackedModel] = RecipeCache(4)


def lanes(recipe: Recipe, device: str) -> int:
    """How many replicas are trained together: as many as the caches (on a GPU: half its memory) hold, a power of two.

    It depends on the task, norm, training and kind of machine, never on the runs; on a GPU also on other programs
    there, if they leave too little memory.
    """
    return _lanes.get(recipe, device, lambda: _count_lanes(recipe, device))


def _count_lanes(recipe: Recipe, device: str) -> int:
    step = stacked.bytes_per_replica(recipe)
    batches = max(1, recipe.arm.condition.task.samples // recipe.training.batch_size)
    evaluation = step * batches  # the whole training set passes at once
    if not recipe.task.fixed:
        evaluation += load_data(recipe).nbytes
    if device == "cpu":
        fitting = min(max(_power(CACHE_BYTES // step), LEAST), MOST)
        return min(fitting, _power(int(MEMORY_SHARE * physical_memory()) // evaluation))
    import torch

    free, total = torch.cuda.mem_get_info(device)
    fitting = min(_power(total // 2 // evaluation), MOST_ON_GPU)
    while fitting > 1 and fitting * evaluation > free:
        fitting //= 2
    return fitting


def _power(number: int) -> int:
    """The largest power of two that is at most ``number``, or 1.

    >>> _power(0), _power(7), _power(64)
    (1, 4, 64)
    """
    return 1 << max(0, number.bit_length() - 1)


def _train_group(recipe: Recipe, seeds: Sequence[int], size: int, device: str, on_steps: CountSteps) -> list[Outcome]:
    """Trains runs of one group, each in the place that its seed gives it."""
    environment = describe("stacked", device, ("torch", "numpy")) | {"lanes": str(size), "compiled": "no"}
    histories = {seed: History() for seed in seeds}
    states: dict[int, InitialState] = {}
    seconds: list[float] = []
    for seed, history in histories.items():
        try:
            states[seed] = draw(recipe, seed)
        except MemoryError:
            raise
        except Exception as error:  # a task of the user's may raise anything; the others go on
            history.fail(error, 0)
    try:
        _train_states(recipe, states, histories, size, device, seconds, on_steps)
    except Exception as error:  # of a norm or probe of the user's, or memory: the other groups go on
        for seed in states:
            histories[seed] = History(parameters=histories[seed].parameters)
            histories[seed].fail(error, 0)
    typical = median(seconds) / size if seconds else float("nan")
    return [histories[seed].outcome(recipe, seed, states.get(seed), typical, environment) for seed in seeds]


def _train_states(
    recipe: Recipe,
    states: dict[int, InitialState],
    histories: dict[int, History],
    size: int,
    device: str,
    seconds: list[float],
    on_steps: CountSteps,
) -> None:
    if not states:
        return
    filler = next(iter(states.values()))
    places = {seed % size: state for seed, state in states.items()}
    stacked_model = _models.get(recipe, device, lambda: stacked.StackedModel(filler, device))
    full = [places.get(place, filler) for place in range(size)]
    stacked.train_group(stacked_model, full, {seed % size: histories[seed] for seed in states}, seconds, on_steps)
