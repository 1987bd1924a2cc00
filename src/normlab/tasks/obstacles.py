"""Whether a task can be trained as a training asks for: its samples, its batches and its loss."""

from __future__ import annotations

from normlab.record import Record
from normlab.tasks.spec import Task, load_once
from normlab.training import Training

MOST_SAMPLES = 20_000_000  # that a run sees in all its epochs: their order is kept in memory


def training_obstacle(task: Task, options: Record, training: Training) -> str | None:
    """Why nothing can be trained so, whatever the norm, or None.

    Arguments:
        task: the task.
        options: its options.
        training: how it would be trained.
    """
    return (
        _samples_obstacle(task, training)
        or _loss_obstacle(task, options, training)
        or _blocks_obstacle(task, training)
        or _classes_obstacle(task, training)
    )


def _samples_obstacle(task: Task, training: Training) -> str | None:
    if training.samples > task.samples:
        return (
            f"samples must be at most the {task.samples} training samples of {task.name}; they are {training.samples}"
        )
    samples = training.samples or task.samples
    if training.batch_size > samples:
        of = f"of {task.name}" if not training.samples else f"that are taken of {task.name}"
        return f"batch_size must be at most the {samples} training samples {of}; it is {training.batch_size}"
    if training.epochs * samples > MOST_SAMPLES:
        return (
            f"epochs must be at most {MOST_SAMPLES // samples} with the {samples} training samples of {task.name}, "
            f"whose order is drawn beforehand; they are {training.epochs}"
        )
    return None


def _loss_obstacle(task: Task, options: Record, training: Training) -> str | None:
    if training.label_noise and task.classes < 2:
        return f"label_noise needs classes, which the targets of {task.name} are not"
    if training.label_smoothing and task.loss_of(options).smoothed is None:
        return f"label_smoothing needs a loss that has such a form, which {task.loss_of(options).name} has not"
    return None


def _blocks_obstacle(task: Task, training: Training) -> str | None:
    if not task.blocks:
        return None
    if task.blocks % training.batch_size:
        return (
            f"batch_size must divide the {task.blocks} samples of a block of {task.name}; it is {training.batch_size}"
        )
    if training.samples % task.blocks:
        return f"samples must be whole blocks of {task.blocks} on {task.name}; they are {training.samples}"
    if training.batch_classes:
        return f"batch_classes must be 0 on {task.name}, whose batches are its blocks"
    return None


def _classes_obstacle(task: Task, training: Training) -> str | None:
    classes = training.batch_classes
    if not classes:
        return None
    if not task.classes or load_once(task, 0, 0).training.targets.ndim > 1:
        return f"batch_classes needs one class for each sample, which the targets of {task.name} are not"
    if classes > task.classes:
        return f"batch_classes must be at most the {task.classes} classes of {task.name}; they are {classes}"
    batches = (training.samples or task.samples) // training.batch_size
    if batches < task.classes:
        return f"batch_classes needs as many full batches as there are classes, {task.classes}; there are {batches}"
    return None
