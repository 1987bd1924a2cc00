"""What is asked for and what comes back: slots, settings, runs, cohorts, outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

FloatArray = NDArray[np.floating[Any]]

Layout = Literal["NC", "NCL", "NCHW", "NCDHW", "NLC"]
Status = Literal["finished", "diverged", "failed"]
Width = Annotated[int, Field(ge=1, le=1_000_000)]


class Record(BaseModel):
    """Base of the validated, frozen records that a study is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Slot:
    """A place in a model where a norm goes.

    Arguments:
        channels: the number of channels (features) that arrive there.
        layout: the order of the axes, such as ``"NC"``.
        extent: the sizes of the spatial axes, empty for ``"NC"``.
        layer: the name in the model of the linear layer or convolution before the slot, for norms that change its
            weights; empty if the model does not say.
        activation: the name in the model of the activation that belongs to the slot, which a norm with an
            activation of its own takes the place of; empty if the model does not say.
    """

    channels: int
    layout: Layout = "NC"
    extent: tuple[int, ...] = ()
    layer: str = ""
    activation: str = ""


class Setting(Record):
    """Everything but norm, task and seed that a training depends on.

    ``hidden`` is empty when the task's own widths are to be used. Weight decay is never applied to the
    parameters of norms or to biases. With ``label_noise``, that share of the training labels is replaced by another
    class, drawn anew for each seed. ``squared_error`` is the mean over samples and classes of
    (output - one-hot target)^2.
    """

    batch_size: int = Field(64, ge=1)
    epochs: int = Field(50, ge=1, le=1_000_000)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: FiniteFloat = Field(1e-3, gt=0)
    momentum: FiniteFloat = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: FiniteFloat = Field(0.0, ge=0)
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    label_noise: FiniteFloat = Field(0.0, ge=0, lt=1)
    dropout: FiniteFloat = Field(0.0, ge=0, lt=1)
    hidden: tuple[Width, ...] = Field((), max_length=1000, strict=False)
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    placement: Literal["before", "after"] = Field("before", description="norm before or after the activation")
    dtype: Literal["float32", "float64"] = "float32"

    def steps_per_epoch(self, samples: int) -> int:
        """Optimizer updates in one pass over ``samples``; a last batch of a single sample is dropped.

        >>> Setting(batch_size=64).steps_per_epoch(1000)
        16
        >>> Setting(batch_size=37).steps_per_epoch(1000)  # 1000 = 27 * 37 + 1
        27
        """
        full, rest = divmod(samples, self.batch_size)
        return full + (rest > 1 or (rest == 1 and self.batch_size == 1))


class Measure(Record):
    """What is measured in every run.

    Arguments:
        tail: the last share of the steps, in which late fluctuation is measured.
        noise_steps: how many steps of the tail, evenly spread, get the three-source noise split.
    """

    tail: FiniteFloat = Field(0.3, gt=0, le=1)
    noise_steps: int = Field(64, ge=3, le=1_000_000)

    def noise_at(self, steps: int) -> NDArray[np.int64]:
        """The steps (counted from 0) at which the noise split is measured in a run of ``steps``.

        >>> Measure(tail=0.3, noise_steps=4).noise_at(800)
        array([560, 640, 719, 799])
        """
        first = min(steps - 1, int(np.floor(steps * (1 - self.tail))))
        count = min(self.noise_steps, steps - first)
        return np.unique(np.round(np.linspace(first, steps - 1, count)).astype(np.int64))


@dataclass(frozen=True)
class Run:
    """One training: one norm, task, setting and seed of a study."""

    study_seed: int
    task: str
    setting: Setting
    measure: Measure
    norm: str
    seed: int

    @property
    def key(self) -> str:
        """The name of this run: a hash of all that it depends on.

        >>> run = Run(0, "article", Setting(), Measure(), "batch", seed=3)
        >>> run.key == Run(0, "article", Setting(), Measure(), "batch", seed=3).key
        True
        """
        return digest(
            {
                "study_seed": self.study_seed,
                "task": self.task,
                "setting": self.setting.model_dump(mode="json"),
                "measure": self.measure.model_dump(mode="json"),
                "norm": self.norm,
                "seed": self.seed,
            }
        )


@dataclass(frozen=True)
class Cohort:
    """Runs that differ only in the seed, so that an engine may train them together."""

    study_seed: int
    task: str
    setting: Setting
    measure: Measure
    norm: str
    seeds: tuple[int, ...]

    def runs(self) -> Iterator[Run]:
        """The runs, in the order of the seeds."""
        for seed in self.seeds:
            yield Run(self.study_seed, self.task, self.setting, self.measure, self.norm, seed)

    def parts(self, size: int) -> Iterator[Cohort]:
        """The same runs in cohorts of at most ``size`` seeds."""
        for start in range(0, len(self.seeds), size):
            yield replace(self, seeds=self.seeds[start : start + size])


@dataclass(frozen=True)
class Series:
    """A quantity measured along a run: ``values[i]`` belongs to the weights after ``steps[i]`` updates."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Arguments:
        run: the run that this is the outcome of.
        status: ``finished``, ``diverged`` (its loss became non-finite) or ``failed`` (an error stopped it).
        reason: why a run did not finish; empty if it did.
        stopped_at: the step at which a run stopped that did not finish.
        series: the measured quantities by name.
        parameters: trainable parameters, those of the norm included.
        batch_hash: a hash of the batch order, equal for all norms of a pair.
        seconds_per_step: time of one training step, the probes left out.
        environment: engine, device and versions that it was trained with.
    """

    run: Run
    status: Status
    series: Mapping[str, Series]
    parameters: int
    batch_hash: str
    seconds_per_step: float
    environment: Mapping[str, str]
    reason: str = ""
    stopped_at: int | None = None


def digest(content: Any) -> str:
    """A short name for JSON-like content: 24 hexadecimal digits of its BLAKE2b hash.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
