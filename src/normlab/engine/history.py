"""What becomes of a run while it is trained: its series, its status, and the outcome that it leaves."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from normlab.engine.initial_state import InitialState
from normlab.errors import ExecutionError, InputError, NormlabError, describe_error
from normlab.probes.spec import Probe, Snapshot
from normlab.recipe import Recipe
from normlab.study.outcome import Outcome, Series, Status

TRACE_LINES = 12  # of the traceback of a run that failed


@contextmanager
def named_failure(what: str) -> Iterator[None]:
    """Says what of a user's has failed, where an error of any kind comes from it.

    Arguments:
        what: such as ``probe mine``.

    Raises:
        ExecutionError: it has failed; what is wrong with it is the cause.
    """
    try:
        yield
    except (MemoryError, ExecutionError):  # no fault of it, or named already
        raise
    except InputError as error:
        raise ExecutionError(f"the {what} failed: {error}") from error
    except Exception as error:
        raise ExecutionError(f"the {what} failed: {describe_error(error)}") from error


def _measured(probe: Probe, now: Snapshot) -> dict[str, float]:
    """What a probe measures, once it is seen to be numbers by name."""
    rule = f"the probe {probe.name} must measure numbers by the names of their series"
    with named_failure(f"probe {probe.name}"):
        measured: object = probe.measure(now)
    if not isinstance(measured, Mapping):
        raise InputError(rule, type(measured).__name__, 'Return a dictionary, such as {"my_series": 1.0}.')
    numbers = {}
    for name, value in measured.items():
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):  # text, an array or a tensor of several elements
            raise InputError(rule, f"{value!r} for {name!r}", "Return one number for each series.") from None
    return numbers


@dataclass
class History:
    """What is known of a run so far."""

    values: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    parameters: int = 0
    status: Status = "finished"
    reason: str = ""
    trace: str = ""
    stopped_at: int | None = None

    def measure(self, probes: Iterable[Probe], now: Snapshot, step: int) -> None:
        """Adds what the probes measure."""
        for probe in probes:
            for name, value in _measured(probe, now).items():
                steps, values = self.values.setdefault(name, ([], []))
                if steps and steps[-1] == step:
                    rule = f"each series must come from one probe, once at a step; {probe.name} measures it too"
                    raise InputError(rule, repr(name), "Give the series a name of its own.")
                steps.append(step)
                values.append(value)

    def check(self, name: str, value: float, step: int) -> None:
        """The run has diverged if a loss by which that is known is not finite."""
        if not isfinite(value):
            self.status, self.stopped_at = "diverged", step
            self.reason = f"{name} became {value} at step {step}"

    def fail(self, error: BaseException, step: int) -> None:
        """An error has stopped the run."""
        self.status, self.stopped_at = "failed", step
        self.reason = str(error) if isinstance(error, NormlabError) else f"{type(error).__name__}: {error}"
        source = error.__cause__ if isinstance(error, ExecutionError) and error.__cause__ else error
        lines = "".join(traceback.format_exception(source)).splitlines()
        self.trace = "\n".join(lines[-TRACE_LINES:])

    def outcome(
        self,
        recipe: Recipe,
        seed: int,
        state: InitialState | None,
        seconds_per_step: float,
        environment: Mapping[str, str],
    ) -> Outcome:
        """What the run leaves; ``state`` is None if an error came before there was one."""
        return Outcome(
            arm=recipe.arm,
            seed=seed,
            status=self.status,
            series={
                name: Series(np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64))
                for name, (steps, values) in self.values.items()
            },
            parameters=self.parameters,
            batch_hash=state.batch_hash if state else "",
            weight_hash=state.weight_hash if state else "",
            data_hash=state.data.digest if state else "",
            seconds_per_step=seconds_per_step,
            environment=environment,
            reason=self.reason,
            trace=self.trace,
            stopped_at=self.stopped_at,
        )
