"""Datasets of the Hugging Face hub, or any object with columns: images to classify, text to continue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError
from normlab.seeding import stream
from normlab.tasks.characters import SYMBOLS, encoded, windows
from normlab.tasks.cnn import convolutional
from normlab.tasks.data import Data
from normlab.tasks.images import LabelledImages, Network, image_data, image_task, pixels
from normlab.tasks.losses import ACCURACY, BITS
from normlab.tasks.spec import Task
from normlab.tasks.transformer import transformer

TRAINING = "train"


class Columns(Protocol):
    """One part of a dataset: rows in named columns, as a ``datasets.Dataset`` has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, name: str, /) -> Iterable[Any]: ...


Parts = Mapping[str, Columns]
"""The parts of a dataset by name, one of which is ``train``, as in a ``datasets.DatasetDict``."""


def from_hub(name: str, **arguments: Any) -> Parts:
    """A dataset of the Hugging Face hub, which is downloaded on first use; needs ``pip install normlab[datasets]``.

    Arguments:
        name: such as ``"uoft-cs/cifar10"``.
        arguments: further ones for ``datasets.load_dataset``, such as the configuration or the revision.

    Raises:
        InputError: the package ``datasets`` is not installed.
    """
    try:
        import datasets
    except ImportError:
        rule = "datasets of the hub need the package datasets"
        raise InputError(rule, "none installed", "Install it with `pip install normlab[datasets]`.") from None
    parts: Parts = datasets.load_dataset(name, **arguments)
    return parts


def image_dataset(
    name: str,
    parts: Parts,
    *,
    image: str = "image",
    label: str = "label",
    size: tuple[int, int] = (32, 32),
    channels: int = 3,
    network: Network = convolutional,
) -> Task:
    """The task of classifying the images of a dataset.

    ``image_dataset("cifar10", from_hub("uoft-cs/cifar10"), image="img")``, say.

    Arguments:
        name: of the task.
        parts: the parts of the dataset; those beside ``train`` are held out.
        image: the column of images, as pictures of Pillow or arrays of height, width and colour.
        label: the column of classes, counted from 0.
        size, channels, network: as for `normlab.tasks.images.image_folder`.

    Raises:
        InputError: there is no ``train``, nothing beside it, or a column is missing.
    """
    held_out = _held_out(parts, (image, label))
    classes = _classes(parts[TRAINING], label)

    def data(study_seed: int, seed: int) -> Data:
        labelled = {
            part: LabelledImages(
                np.stack([pixels(each, size, channels) for each in columns[image]]), _classes(columns, label)
            )
            for part, columns in parts.items()
        }
        return image_data({"training": labelled.pop(TRAINING), **labelled})

    return image_task(
        name,
        f"Images of {name} ({len(classes):,} to train on, {len(np.bincount(classes))} classes)",
        data,
        (channels, *size),
        classes,
        len(classes),
        held_out,
        network,
    )


def text_dataset(
    name: str, parts: Parts, *, text: str = "text", length: int = 64, samples: int = 4096, test_samples: int = 512
) -> Task:
    """The task of naming the next character of a dataset's text, by a causal transformer.

    Characters are those of printable ASCII, the end of a line, and one for all others. Each seed of a study has windows
    of its own.

    Arguments:
        name: of the task.
        parts: the parts of the dataset; those beside ``train`` are held out.
        text: the column of texts, which are joined by the end of a line.
        length: characters of a window.
        samples: windows to train on.
        test_samples: windows of each part that is held out.

    Raises:
        InputError: there is no ``train``, nothing beside it, a column is missing, or a text is shorter than a window.
    """
    held_out = _held_out(parts, (text,))
    texts = {part: encoded("\n".join(columns[text])) for part, columns in parts.items()}
    for part, content in texts.items():
        if len(content) <= length:
            rule = f"every part must have more than the {length} characters of a window"
            raise InputError(rule, f"{len(content)} in {part}", "Choose a smaller length.")

    def data(study_seed: int, seed: int) -> Data:
        drawn = {
            part: windows(
                content,
                samples if part == TRAINING else test_samples,
                length,
                stream(study_seed, f"{part} draw", name, seed),
            )
            for part, content in texts.items()
        }
        return Data(drawn.pop(TRAINING), drawn)

    return transformer(
        name,
        f"Next character of {name} ({samples:,} windows of {length})",
        data=data,
        symbols=SYMBOLS,
        length=length,
        causal=True,
        training_samples=samples,
        held_out=held_out,
        scores=(BITS, ACCURACY),
        fixed=False,
        baseline={"bits": _entropy(texts[TRAINING])},
    )


def _held_out(parts: Parts, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the parts beside the training part, once all are known to have the columns."""
    if TRAINING not in parts or len(parts) < 2:
        given = ", ".join(parts) or "none"
        raise InputError("a dataset must have a part train and another to test on", given, "Split it first.")
    for part, content in parts.items():
        for column in columns:
            try:
                content[column]
            except (KeyError, ValueError):
                rule, advice = f"every part of the dataset must have the column {column}", "Name its columns."
                raise InputError(rule, f"{part} without it", advice) from None
    return tuple(part for part in parts if part != TRAINING)


def _classes(columns: Columns, label: str) -> NDArray[np.int64]:
    classes = np.asarray(list(columns[label]))
    if not len(classes) or classes.dtype.kind not in "iu" or classes.min() < 0:
        raise InputError(f"the column {label} must hold classes counted from 0", str(classes[:3]), "Number them.")
    return classes.astype(np.int64)


def _entropy(text: NDArray[np.int64]) -> float:
    """Bits for each character by the frequencies of the characters alone."""
    shares = np.bincount(text) / len(text)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())
