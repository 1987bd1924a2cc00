"""Images of one's own: a folder of image files, or CIFAR-10 in its binary form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError
from normlab.seeding import stream
from normlab.tasks.cnn import convolutional
from normlab.tasks.data import Data, Part
from normlab.tasks.spec import Task
from normlab.tasks.splits import random_split

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
TRAINING = ("train", "training")
HELD_OUT = {"val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
CIFAR_RECORD = 1 + 3 * 32 * 32  # a byte for the class, then planes of red, green and blue

Files = tuple[tuple[Path, int], ...]
"""Images by their paths, each with the number of its class."""

Images = NDArray[np.uint8]
"""Samples, channels, height, width; 0 to 255."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes, counted from 0."""

    images: Images
    classes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> LabelledImages:
        """Some of them."""
        return LabelledImages(self.images[rows], self.classes[rows])


Network = Callable[..., Task]
"""Makes a task of images, as `normlab.tasks.cnn.convolutional` and `normlab.tasks.resnet.residual` do."""


def image_folder(
    path: str | Path,
    name: str = "",
    *,
    size: tuple[int, int] = (32, 32),
    channels: int = 3,
    held_out: float = 0.2,
    network: Network = convolutional,
) -> Task:
    """The task of classifying the images of a folder that has a folder for each class.

    The class folders stand in ``path`` itself, where a share of each class is held out as ``test``, drawn anew for each
    seed, or in ``path/train`` with ``path/test`` (and ``path/validation``) beside it. Images are cut to the middle,
    scaled to ``size``, and get mean 0 and standard deviation 1 in each channel over the training set. Runs are not told
    apart by what the files hold: give a folder that has changed another name.

    Arguments:
        path: the folder.
        name: of the task; the folder's own name if empty.
        size: height and width.
        channels: 3 for colours, 1 for grey.
        held_out: share of each class to test on, where the folder has no parts of its own.
        network: makes the task's model; `normlab.tasks.resnet.residual` for a residual network.

    Raises:
        InputError: there is no such folder, or it does not have images of at least two classes.
    """
    folder = Path(path).resolve()
    if channels not in (1, 3):
        raise InputError("channels must be 1 or 3", channels, "Take 3 for colours, 1 for grey.")
    if not 0 < held_out < 1:
        raise InputError("held_out must be a share between 0 and 1", held_out, "Try 0.2.")
    if min(size) < 1:
        raise InputError("size must be a height and a width of at least 1", size, "Try (32, 32).")
    name = name or folder.name
    split = _parts_of(folder)
    classes = _class_names(split.get("training", folder))
    files = {part: _files(where, classes) for part, where in (split or {"training": folder}).items()}
    labels = np.array([label for _, label in files["training"]])
    sizes = (len(labels), 0) if split else _share(len(labels), held_out)

    @lru_cache(maxsize=1)
    def read() -> dict[str, LabelledImages]:
        return {part: read_images(listed, size, channels) for part, listed in files.items()}

    def data(study_seed: int, seed: int) -> Data:
        parts = read()
        if not split:
            training, test = random_split(stream(study_seed, "split", name, seed), sizes, labels)
            parts = {"training": parts["training"].take(training), "test": parts["training"].take(test)}
        return image_data(parts)

    return image_task(
        name,
        f"Images of {name} ({sizes[0]:,} to train on, {len(classes)} classes)",
        data,
        (channels, *size),
        labels,
        sizes[0],
        tuple(files)[1:] or ("test",),
        network,
        fixed=bool(split),
    )


def cifar10(folder: str | Path, *, network: Network = convolutional) -> Task:
    """CIFAR-10 (A. Krizhevsky, 2009, Learning multiple layers of features from tiny images) in its binary form.

    Arguments:
        folder: ``cifar-10-batches-bin``, with the files ``data_batch_1.bin`` to ``data_batch_5.bin`` and
            ``test_batch.bin``; from https://www.cs.toronto.edu/~kriz/cifar.html.
        network: as for `image_folder`.

    Raises:
        InputError: a file is not there or is of another form.
    """
    parts = {"training": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    paths = {part: tuple(Path(folder).resolve() / file for file in files) for part, files in parts.items()}
    for path in (path for files in paths.values() for path in files):
        if not path.is_file() or path.stat().st_size % CIFAR_RECORD:
            rule = f"the folder must hold CIFAR-10 in its binary form, with {path.name}"
            raise InputError(rule, str(folder), "Unpack cifar-10-binary.tar.gz and give the folder inside.")
    samples = sum(path.stat().st_size for path in paths["training"]) // CIFAR_RECORD
    return image_task(
        "cifar10",
        f"CIFAR-10 ({samples:,} images of 32x32)",
        lambda study_seed, seed: image_data({part: _read_cifar(files) for part, files in paths.items()}),
        (3, 32, 32),
        np.arange(10),
        samples,
        ("test",),
        network,
    )


def image_task(
    name: str,
    title: str,
    data: Callable[[int, int], Data],
    image: tuple[int, int, int],
    classes: NDArray[np.int64],
    training_samples: int,
    held_out: tuple[str, ...],
    network: Network,
    *,
    fixed: bool = True,
) -> Task:
    """A task of images, whose baseline is the share of the largest class.

    Arguments:
        name, title, data, training_samples, held_out, fixed: as for `Task`.
        image: channels, height and width.
        classes: each class as often as it has samples.
        network: makes the task's model.
    """
    counts = np.bincount(classes)
    return network(
        name,
        title,
        data=data,
        image=image,
        classes=len(counts),
        training_samples=training_samples,
        held_out=held_out,
        fixed=fixed,
        baseline={"accuracy": float(counts.max() / counts.sum())},
    )


def image_data(parts: Mapping[str, LabelledImages]) -> Data:
    """Flat images in each part, with mean 0 and standard deviation 1 in each channel over the training set."""
    training = parts["training"].images.astype(np.float32)
    mean, spread = (moment(training, axis=(0, 2, 3), keepdims=True) for moment in (np.mean, np.std))
    spread = np.where(spread > 0, spread, 1.0)

    def part(labelled: LabelledImages) -> Part:
        scaled = (labelled.images.astype(np.float32) - mean) / spread
        return Part(scaled.astype(np.float32).reshape(len(scaled), -1), labelled.classes)

    ready = {name: part(labelled) for name, labelled in parts.items()}
    return Data(ready.pop("training"), ready)


def pixels(image: Any, size: tuple[int, int], channels: int) -> Images:
    """A picture of Pillow's, or an array, as channels, height, width: cut to the middle and scaled."""
    from PIL import Image, ImageOps

    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    scaled = ImageOps.fit(picture.convert("RGB" if channels == 3 else "L"), (size[1], size[0]))
    return np.asarray(scaled).reshape(*size, channels).transpose(2, 0, 1)


def read_images(files: Files, size: tuple[int, int], channels: int) -> LabelledImages:
    """The images of files, each with its class."""
    from PIL import Image, UnidentifiedImageError

    images = np.empty((len(files), channels, *size), np.uint8)
    for row, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                images[row] = pixels(image, size, channels)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            rule = "every file of an image folder with the name of an image must be one"
            raise InputError(rule, f"{path} ({error})", "Remove or replace it.") from None
    return LabelledImages(images, np.array([label for _, label in files], dtype=np.int64))


def _read_cifar(paths: tuple[Path, ...]) -> LabelledImages:
    records = np.concatenate([np.fromfile(path, dtype=np.uint8).reshape(-1, CIFAR_RECORD) for path in paths])
    return LabelledImages(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64))


def _parts_of(folder: Path) -> dict[str, Path]:
    """The folders of the parts by their names; empty where the folder holds the classes themselves."""
    if not folder.is_dir():
        raise InputError("path must be a folder of images", str(folder), "Check the path.")
    folders = {path.name: path for path in _folders(folder)}
    training = next((folders[name] for name in TRAINING if name in folders), None)
    held_out = {HELD_OUT[name]: path for name, path in folders.items() if name in HELD_OUT}
    if training is None or not held_out:
        return {}
    return {"training": training, **dict(sorted(held_out.items(), reverse=True))}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _folders(folder) if _images_in(path))
    if len(names) < 2:
        given = f"{folder} with {f'images of {names[0]} only' if names else 'no images in such folders'}"
        raise InputError("an image folder must have a folder of images for each of two or more classes", given, _FORM)
    return names


_FORM = "Put them as FOLDER/CLASS/IMAGE.png, or as FOLDER/train/CLASS/IMAGE.png and FOLDER/test/CLASS/IMAGE.png."


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _files(folder: Path, classes: tuple[str, ...]) -> Files:
    """The images of the classes below a folder, each with the number of its class."""
    if strange := [path.name for path in _folders(folder) if path.name not in classes and _images_in(path)]:
        rule = "a part of an image folder must have the classes of its training part only"
        raise InputError(rule, str(folder / strange[0]), "Remove it, or add training images.")
    present = [(number, folder / name) for number, name in enumerate(classes) if (folder / name).is_dir()]
    files = tuple((path, number) for number, where in present for path in _images_in(where))
    if not files:
        raise InputError("a part of an image folder must hold images", f"{folder} without any", _FORM)
    return files


def _share(samples: int, held_out: float) -> tuple[int, int]:
    """How many samples to train and to test on; at least one each."""
    test = min(max(1, round(held_out * samples)), samples - 1)
    return samples - test, test
