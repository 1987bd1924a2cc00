"""How a run is trained, as plain data: batch, optimizer, schedule, clipping, what is trainable, label noise."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from normlab.errors import InputError
from normlab.record import Record

Optimizer = Literal["adam", "adamw", "sgd", "muon"]
Schedule = Literal["constant", "cosine", "step"]
Trainable = Literal["all", "norms", "all-but-norms"]


class Training(Record):
    """How a run is trained. Engines list the fields and values that they can do; defaults all of them can.

    A step is a batch. An update changes the parameters: every step, or every ``accumulation`` steps. Gradients are
    averaged, then clipped (by value, adaptively, by norm, in this order), then the optimizer makes its update.

    Arguments:
        samples: training samples that are used, the first so many in the order of the task, which is random; 0 for
            all of them.
        batch_size: samples in a batch; the last, smaller batch of an epoch is kept unless it holds one sample.
        batch_classes: classes in a batch, so that its samples are not drawn independently; 0 for batches of shuffled
            samples. See `normlab.engine.batch_order.classes_apart`.
        epochs: passes over the training data.
        optimizer: ``adam``, ``adamw``, ``sgd``, or ``muon`` (K. Jordan et al., 2024: for weight matrices and flattened
            kernels of hidden layers, with momentum 0.95 and updates scaled to the size of AdamW's by J. Liu et al.,
            2025, arXiv:2502.16982; AdamW for the output layer, embeddings, norms and biases).
        learning_rate: of the optimizer, at the height of the schedule.
        momentum, nesterov: of ``sgd``.
        weight_decay: of weight matrices and kernels; never of norms or biases. ``adamw`` and ``muon`` shrink weights
            (I. Loshchilov and F. Hutter, 2017, arXiv:1711.05101), ``adam`` and ``sgd`` add to gradients.
        schedule: ``constant``; ``cosine`` falls from the end of the warm-up to 0 behind the last update
            (I. Loshchilov and F. Hutter, 2016, arXiv:1608.03983); ``step`` multiplies the rate by ``decay`` at each
            of ``decay_at``.
        warmup: updates of linear warm-up, counted in the schedule's length; the last of them is at full height.
        decay: factor of the ``step`` schedule.
        decay_at: shares of all updates at which it applies.
        clip_norm: largest Euclidean norm of the whole gradient, or none.
        clip_value: largest absolute value of a gradient's element, or none.
        clip_adaptive: largest ratio of gradient to weight, unit by unit, the output layer left out (A. Brock et al.,
            2021, arXiv:2102.06171), or none.
        trainable: ``all``, ``norms`` (only what norms learn), or ``all-but-norms``; the rest stays as it was drawn.
        accumulation: batches whose gradients are averaged for one update, weighted by their samples; each is
            normalized by itself. What is left at the end of an epoch makes an update too.
        label_noise: share of training labels replaced by another class, drawn anew for each seed.
        label_smoothing: weight of the uniform distribution in the targets of training losses (C. Szegedy et al.,
            2015, arXiv:1512.00567); measured losses are without it.
        dtype: of parameters and data.

    >>> Training(batch_size=64).steps_per_epoch(1000), Training(batch_size=37).steps_per_epoch(1000)
    (16, 27)
    """

    samples: int = Field(0, ge=0)
    batch_size: int = Field(64, ge=1)
    batch_classes: int = Field(0, ge=0)
    epochs: int = Field(50, ge=1, le=1_000_000)
    optimizer: Optimizer = "adam"
    learning_rate: FiniteFloat = Field(1e-3, gt=0)
    momentum: FiniteFloat = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: FiniteFloat = Field(0.0, ge=0)
    schedule: Schedule = "constant"
    warmup: int = Field(0, ge=0)
    decay: FiniteFloat = Field(0.1, gt=0, lt=1)
    decay_at: tuple[FiniteFloat, ...] = Field((0.5, 0.75), max_length=100, strict=False)
    clip_norm: FiniteFloat | None = Field(None, gt=0)
    clip_value: FiniteFloat | None = Field(None, gt=0)
    clip_adaptive: FiniteFloat | None = Field(None, gt=0)
    trainable: Trainable = "all"
    accumulation: int = Field(1, ge=1)
    label_noise: FiniteFloat = Field(0.0, ge=0, lt=1)
    label_smoothing: FiniteFloat = Field(0.0, ge=0, lt=1)
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            given = f"momentum {self.momentum:g} with {self.optimizer}"
            raise InputError("momentum is for sgd", given, "Leave one of them out.")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs momentum", "momentum 0", "Set momentum=0.9, or leave nesterov out.")
        if self.batch_classes == 1:
            rule = "batch_classes must be 0, for shuffled batches, or at least 2"
            raise InputError(rule, 1, "Try 2: no whole number of batches holds exactly one class.")
        if any(not 0 < share < 1 for share in self.decay_at):
            raise InputError("decay_at must hold shares between 0 and 1", list(self.decay_at), "Try [0.5, 0.75].")
        return self

    def steps_per_epoch(self, samples: int) -> int:
        """Batches in one pass over ``samples``; a last batch of a single sample is dropped."""
        full, rest = divmod(samples, self.batch_size)
        return full + (rest > 1 or (rest == 1 and self.batch_size == 1))

    def steps(self, samples: int) -> int:
        """Batches in the whole training."""
        return self.epochs * self.steps_per_epoch(samples)

    def updates(self, samples: int) -> int:
        """Updates in the whole training, which schedules are measured in.

        >>> Training(batch_size=64, epochs=2, accumulation=5).updates(1000)
        8
        """
        return self.epochs * -(-self.steps_per_epoch(samples) // self.accumulation)
