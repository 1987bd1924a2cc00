"""Whether a task's samples can come in the batches that a training asks for."""

from __future__ import annotations

from normlab.tasks.spec import Task, load_once
from normlab.training import Training


def batches_obstacle(task: Task, training: Training) -> str | None:
    """Why the samples of a task cannot come in such batches, or None."""
    return _blocks_obstacle(task, training) or _classes_obstacle(task, training)


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
