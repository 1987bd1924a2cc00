"""Many replicas of a perceptron at once on the CPU, by a compiled kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter

from normlab.engine import fused
from normlab.engine.cache import RecipeCache
from normlab.engine.environment import describe
from normlab.engine.fused.kinds import OPTIMIZERS
from normlab.engine.fused.perceptron import Perceptron, data_obstacle, read
from normlab.engine.history import History
from normlab.engine.initial_state import InitialState, draw, load_data
from normlab.engine.spec import ANY, Announce, CountSteps, Engine, Features, uncounted
from normlab.errors import InputError
from normlab.probes.batch import GRADIENT_NORM, TRAINING_LOSS
from normlab.probes.canonical import CANONICAL_LOSS
from normlab.probes.held_out import HELD_OUT
from normlab.probes.noise import NOISE
from normlab.recipe import Cohort, Recipe, Run
from normlab.study.outcome import Outcome

MOST_REPLICAS = 32  # in a part: small enough that 64 seeds keep two cores busy
MOST_WORK = 1e9  # of a replica, in samples times parameters of a part: about ten seconds of work, one group at least
TIMED_STEPS = 16  # of each group of replicas


class Fused(Engine):
    """Trains as many replicas at once as a vector register holds, each start to finish within the caches."""

    name = "fused"
    title = "fused (compiled; several replicas in every instruction)"
    features = Features(
        training={
            "samples": ANY,
            "batch_size": ANY,
            "batch_classes": ANY,
            "epochs": ANY,
            "optimizer": frozenset(OPTIMIZERS),
            "learning_rate": ANY,
            "momentum": ANY,
            "nesterov": ANY,
            "weight_decay": ANY,
            "label_noise": ANY,
            "dtype": ANY,
        },
        probes=(TRAINING_LOSS, GRADIENT_NORM, CANONICAL_LOSS, HELD_OUT, NOISE),
        per_replica=frozenset({"learning_rate", "weight_decay"}),
    )
    parallel = "threads"
    gpu = False
    preferred = True

    def supports(self, recipe: Recipe) -> str | None:
        if obstacle := self.features.obstacle(recipe):
            return obstacle
        network = read(recipe)
        return network if isinstance(network, str) else None

    def part_size(self, recipe: Recipe, device: str = "cpu") -> int:
        """The longer the training, the smaller the parts, so that little is lost when the work is interrupted."""
        size = fused.group_size(recipe.training.dtype)
        work = float(recipe.training.epochs) * recipe.arm.condition.task.samples * _network(recipe).weights
        return size * max(1, min(MOST_REPLICAS // size, int(MOST_WORK / work)))

    def warm_up(self, recipe: Recipe, device: str, announce: Announce) -> None:
        announce("Loading the compiled kernel; the first time on a machine it is compiled, which takes up to a minute.")
        fused.train_group(fused.shortened(_program(recipe), 1), [draw(recipe, 0)])

    def train(self, runs: Iterable[Run], device: str, on_steps: CountSteps = uncounted) -> Iterator[Outcome]:
        environment = describe(self.name, device, ("numba", "numpy"))
        runs = list(runs)
        size = fused.group_size(runs[0].recipe.training.dtype)
        for first in range(0, len(runs), size):
            yield from _train_group(runs[first : first + size], environment, on_steps)

    def bare_training(self, cohort: Cohort) -> Callable[[], None]:
        program = _program(cohort.recipe)
        program = fused.shortened(program, cohort.arm.condition.steps)
        states = [draw(cohort.recipe, seed) for seed in cohort.seeds]
        size = fused.group_size(cohort.recipe.training.dtype)

        def train() -> None:
            for first in range(0, len(states), size):
                fused.train_group(program, states[first : first + size])

        return train


_programs: RecipeCache[fused.Program] = RecipeCache(16)


def _network(recipe: Recipe) -> Perceptron:
    network = read(recipe)
    assert isinstance(network, Perceptron), network
    return network


def _program(recipe: Recipe) -> fused.Program:
    return _programs.get(recipe, None, lambda: fused.make_program(recipe, _network(recipe), load_data(recipe)))


def _train_group(runs: Sequence[Run], environment: dict[str, str], on_steps: CountSteps) -> Iterator[Outcome]:
    """Trains runs side by side; one whose initial state cannot be drawn has failed, and the others go on."""
    states: list[InitialState] = []
    for recipe, seed in runs:
        try:
            states.append(_drawn(recipe, seed))
        except MemoryError:
            raise
        except Exception as error:  # a task of the user's may raise anything
            history = History()
            history.fail(error, 0)
            yield history.outcome(recipe, seed, None, float("nan"), environment)
    if not states:
        return
    program = _program(states[0].recipe)
    seconds = _seconds_per_step(program, states)
    trained, _ = fused.train_group(program, states, on_steps)
    for state, result in zip(states, trained, strict=True):
        yield _outcome(state, result, program.layout.parameters, seconds, environment)


def _drawn(recipe: Recipe, seed: int) -> InitialState:
    """What a run starts from, its data seen to be such that the kernel stays within its memory."""
    state = draw(recipe, seed)
    if not recipe.task.fixed and (reason := data_obstacle(state.data, _network(recipe))):
        raise InputError("engine fused must be able to take the data of every seed", reason, "Try sequential.")
    return state


def _seconds_per_step(program: fused.Program, states: list[InitialState]) -> float:
    """Seconds per step and replica of the first steps, without measurements and without compiling the kernel."""
    fused.train_group(fused.shortened(program, 1), states)  # this compiles it, or loads what was compiled earlier
    steps = min(TIMED_STEPS, len(program.course.noise_at))
    short = fused.shortened(program, steps)
    began = perf_counter()
    fused.train_group(short, states)
    return (perf_counter() - began) / steps / fused.group_size(program.dtype)


def _outcome(
    state: InitialState, trained: fused.Trained, parameters: int, seconds: float, environment: dict[str, str]
) -> Outcome:
    reason = f"{trained.stopped_by} became {trained.value} at step {trained.stopped_at}" if trained.stopped_by else ""
    return Outcome(
        arm=state.recipe.arm,
        seed=state.seed,
        status="diverged" if reason else "finished",
        series=trained.series,
        parameters=parameters,
        batch_hash=state.batch_hash,
        weight_hash=state.weight_hash,
        data_hash=state.data.digest,
        seconds_per_step=seconds,
        environment=environment,
        reason=reason,
        stopped_at=trained.stopped_at,
    )
