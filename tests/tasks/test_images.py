"""Images and text of one's own, read from small data that the tests make."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normlab.errors import InputError
from normlab.tasks.hub import from_hub, image_dataset, text_dataset
from normlab.tasks.images import cifar10, image_folder
from normlab.tasks.resnet import residual
from normlab.tasks.spec import Task
from normlab.training import Training
from task_training import built, learned_share, training_epochs


def bars(upright: bool, rng: np.random.Generator, size: int = 8) -> np.ndarray:
    """A bright bar on a dark image, upright or lying."""
    image = rng.integers(0, 60, size=(size, size, 3), dtype=np.uint8)
    image[:, rng.integers(1, size - 1)] = 200
    return image if upright else image.transpose(1, 0, 2)


def fill(folder: Path, count: int, seed: int = 0, suffix: str = "png") -> Path:
    rng = np.random.default_rng(seed)
    for name in ("lying", "upright"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(bars(name == "upright", rng)).save(folder / name / f"{number}.{suffix}")
    return folder


def learns(task: Task) -> bool:
    data = task.data(0, 0)
    training = Training(batch_size=16, epochs=10, learning_rate=1e-2)
    epochs = training_epochs(task, built(task, norms="batch"), data, training)
    return any(learned_share(task, model, data.held_out["test"]) > 0.6 for model in epochs)


def test_a_folder_of_images_is_split_by_the_study_seed_and_learned() -> None:
    task = image_folder(fill(Path("bars"), 40), size=(8, 8))
    assert (task.name, task.classes, task.training_samples, task.held_out) == ("bars", 2, 64, ("test",))
    assert task.baseline == {"accuracy": 0.5}
    data = task.data(0, 0)
    assert np.bincount(data.training.targets).tolist() == [32, 32]
    assert np.bincount(data.held_out["test"].targets).tolist() == [8, 8]
    assert np.array_equal(data.training.inputs, task.data(0, 0).training.inputs)
    assert not np.array_equal(data.training.inputs, task.data(1, 0).training.inputs)
    assert learns(task)


def test_images_are_standardized_by_the_training_set_alone() -> None:
    task = image_folder(fill(Path("bars"), 20), size=(8, 8))
    inputs = task.data(0, 0).training.inputs.reshape(-1, 3, 64)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=(0, 2)), 1, rtol=1e-5)
    held_out = task.data(0, 0).held_out["test"].inputs.reshape(-1, 3, 64)
    assert abs(held_out.mean()) > 1e-4


def test_pixels_are_those_of_the_file_channel_by_channel() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 1] = (10, 20, 30)
    image[3, 4] = (200, 0, 100)
    for name in ("one", "two"):
        Path("exact", name).mkdir(parents=True)
    for row, name in enumerate(("one", "one", "two", "two")):
        Image.fromarray(image if name == "one" else image[::-1]).save(Path("exact", name, f"{row}.png"))
    data = image_folder("exact", size=(4, 6), held_out=0.5).data(0, 0)
    assert sorted(data.training.targets) == [0, 1]
    rows = data.training.inputs[np.argsort(data.training.targets)].reshape(2, 3, 4, 6).transpose(0, 2, 3, 1)
    both = np.stack([image, image[::-1]]).astype(np.float64)
    wanted = (both - both.mean(axis=(0, 1, 2))) / both.std(axis=(0, 1, 2))
    np.testing.assert_allclose(rows, wanted, rtol=1e-4, atol=1e-5)


def test_parts_of_a_folder_are_kept_and_other_networks_take_it() -> None:
    fill(Path("parts/train"), 20)
    fill(Path("parts/val"), 3, seed=1)
    fill(Path("parts/test"), 6, seed=2, suffix="BMP")
    task = image_folder("parts", "mine", size=(8, 8), channels=1, network=residual)
    assert task.held_out == ("validation", "test")
    data = task.data(0, 0)
    assert [len(data.training), len(data.held_out["validation"]), len(data.held_out["test"])] == [40, 6, 12]
    assert data.training.inputs.shape == (40, 64)
    assert learns(task)


def empty() -> Path:
    Path("empty").mkdir()
    return Path("empty")


def one_class() -> Path:
    fill(Path("one"), 2)
    for path in Path("one/upright").iterdir():
        path.unlink()
    return Path("one")


def strange_class() -> Path:
    fill(Path("strange/train"), 2)
    fill(Path("strange/test"), 2)
    Path("strange/test/lying").rename("strange/test/leaning")
    return Path("strange")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Path("nowhere"), "path must be a folder of images"),
        (empty, "two or more classes.*no images"),
        (one_class, "images of lying only"),
        (strange_class, "classes of its training part only.*leaning"),
    ],
)
def test_a_folder_without_classes_is_refused(make: Callable[[], Path], message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_folder(make())


@pytest.mark.parametrize("options", [{"channels": 2}, {"held_out": 1.0}, {"held_out": 0}, {"size": (0, 4)}])
def test_odd_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        image_folder(fill(Path("bars"), 2), **options)  # type: ignore[arg-type]


def test_a_file_that_is_no_image_is_named() -> None:
    fill(Path("bars"), 4)
    Path("bars/lying/0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"lying/0\.png"):
        image_folder("bars").data(0, 0)


def test_cifar10_is_read_from_its_binary_form() -> None:
    rng = np.random.default_rng(0)
    folder = Path("cifar-10-batches-bin")
    folder.mkdir()
    records = rng.integers(256, size=(6, 20, 3073), dtype=np.uint8)
    records[..., 0] %= 10
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for name, content in zip(names, records, strict=True):
        content.tofile(folder / name)
    task = cifar10(folder)
    data = task.data(0, 0)
    assert (task.training_samples, len(data.held_out["test"]), task.classes) == (100, 20, 10)
    assert data.training.targets.tolist() == records[:5, :, 0].ravel().tolist()
    pixels = records[:5, :, 1:].reshape(100, 3, 1024).astype(np.float64)
    wanted = (pixels - pixels.mean(axis=(0, 2), keepdims=True)) / pixels.std(axis=(0, 2), keepdims=True)
    np.testing.assert_allclose(data.training.inputs.reshape(100, 3, 1024), wanted, atol=1e-4)
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"test_batch\.bin"):
        cifar10(folder)


class Table(dict[str, list[object]]):
    """Rows in named columns, as a dataset of the hub has them."""

    def __len__(self) -> int:
        return len(next(iter(self.values())))


def image_table(count: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    classes = [number % 2 for number in range(count)]
    return Table(img=[Image.fromarray(bars(bool(label), rng)) for label in classes], label=list(classes))


def test_images_of_a_dataset_are_learned() -> None:
    parts = {"train": image_table(60, 0), "test": image_table(20, 1)}
    task = image_dataset("bars", parts, image="img", size=(8, 8))
    assert (task.training_samples, task.held_out, task.classes) == (60, ("test",), 2)
    assert task.data(0, 0).held_out["test"].targets.tolist() == [0, 1] * 10
    assert learns(task)


def test_arrays_and_grey_images_are_taken_too() -> None:
    grey = [bars(bool(number % 2), np.random.default_rng(number))[..., 0] for number in range(8)]
    table = Table(image=list(grey), label=[0, 1] * 4)
    data = image_dataset("grey", {"train": table, "test": table}, size=(8, 8), channels=1).data(0, 0)
    wanted = np.stack(grey).reshape(8, 64).astype(np.float64)
    np.testing.assert_allclose(data.training.inputs, (wanted - wanted.mean()) / wanted.std(), rtol=1e-4, atol=1e-5)


def test_text_of_a_dataset_is_cut_into_windows() -> None:
    table = Table(text=["abcabc" * 20, "abc" * 30])
    task = text_dataset("letters", {"train": table, "test": table}, length=8, samples=200, test_samples=50)
    data = task.data(0, 0)
    assert data.training.inputs.shape == (200, 8)
    assert np.array_equal(data.training.inputs[:, 1:], data.training.targets[:, :-1])
    assert set(np.unique(data.training.inputs)) == {65, 66, 67, 95}
    assert task.baseline == {"bits": pytest.approx(np.log2(3), abs=0.1)}
    training = Training(batch_size=16, epochs=5, learning_rate=1e-2)
    *_, model = training_epochs(task, built(task, norms="layer"), data, training)
    assert learned_share(task, model, data.held_out["test"]) > 0.8


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": Table(text=["a" * 99])}, "another to test on"),
        ({"test": Table(text=["a" * 99])}, "part train"),
        ({"train": Table(text=["a" * 99]), "test": Table(words=["a" * 99])}, "column text.*test without it"),
        ({"train": Table(text=["a" * 99]), "test": Table(text=["a" * 9])}, "64 characters"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(parts: dict[str, Table], message: str) -> None:
    with pytest.raises(InputError, match=message):
        text_dataset("letters", parts)


@pytest.mark.parametrize("labels", [["a", "b"], [-1, 0], [0.5, 1.0]])
def test_classes_must_be_numbered(labels: list[object]) -> None:
    table = Table(image=[np.zeros((4, 4, 3), np.uint8)] * 2, label=labels)
    with pytest.raises(InputError, match="column label must hold classes"):
        image_dataset("odd", {"train": table, "test": table})


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install normlab\[datasets\]"):
        from_hub("uoft-cs/cifar10")


def test_with_the_package_arguments_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, object]]] = []

    class Datasets:
        @staticmethod
        def load_dataset(name: str, **arguments: object) -> dict[str, Table]:
            calls.append((name, arguments))
            return {"train": Table(text=["a" * 99]), "test": Table(text=["a" * 99])}

    monkeypatch.setitem(sys.modules, "datasets", Datasets)  # type: ignore[arg-type]
    assert text_dataset("letters", from_hub("some/text", revision="main")).held_out == ("test",)
    assert calls == [("some/text", {"revision": "main"})]
