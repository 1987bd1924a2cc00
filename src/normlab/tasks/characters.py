"""The next character of Python source: text of the standard library, by a causal transformer."""

from __future__ import annotations

import sysconfig
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError
from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.losses import ACCURACY, BITS
from normlab.tasks.spec import Task
from normlab.tasks.transformer import transformer

TRAINING = ("argparse.py", "bisect.py", "calendar.py", "configparser.py", "dataclasses.py", "difflib.py")
TEST = ("heapq.py", "shlex.py", "statistics.py", "textwrap.py")
SYMBOLS = 97  # 95 printable characters of ASCII, the end of a line, and one for all others
LENGTH, TEST_SAMPLES = 32, 512


def encoded(text: str) -> NDArray[np.int64]:
    """Numbers of characters: printable ASCII from the space on, then the end of a line, then all others.

    >>> encoded("a b\\né").tolist()
    [65, 0, 66, 95, 96]
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    printable = (codes >= 32) & (codes < 127)
    return np.where(printable, codes - 32, np.where(codes == 10, 95, 96))


@lru_cache(maxsize=2)
def source_of(names: tuple[str, ...]) -> NDArray[np.int64]:
    """The text of modules of the standard library, one after the other."""
    folder = Path(sysconfig.get_path("stdlib"))
    try:
        return encoded("\n".join((folder / name).read_text(encoding="utf-8") for name in names))
    except OSError as error:
        rule = "the task characters needs the source of Python's standard library"
        raise InputError(rule, f"no readable {error.filename}", "Use a Python that comes with it.") from None


def windows(text: NDArray[np.int64], count: int, length: int, rng: np.random.Generator) -> Part:
    """Pieces of a text at random places; each place's target is the character that follows.

    >>> part = windows(np.arange(9), 2, 3, np.random.default_rng(0))
    >>> part.inputs.tolist(), part.targets.tolist()
    ([[5, 6, 7], [3, 4, 5]], [[6, 7, 8], [4, 5, 6]])
    """
    starts = rng.integers(len(text) - length, size=count)
    pieces = text[starts[:, None] + np.arange(length + 1)]
    return Part(pieces[:, :-1].copy(), pieces[:, 1:].copy())


def characters(name: str, samples: int, size: str, bits: float) -> Task:
    """The task of naming the next character, from windows of six modules to train on and of four others to test on.

    All of them are part of every CPython from 3.11 on. Their text, and so the data, differs a little between Python
    versions; on one version they depend on the seeds alone. Each seed of a study has windows of its own.

    Arguments:
        name: of the task.
        samples: windows to train on.
        size: what the title says of them.
        bits: of a character by the frequencies of the characters alone.
    """

    def data(study_seed: int, seed: int) -> Data:
        training, test = (stream(study_seed, f"{part} draw", name, seed) for part in ("training", "test"))
        return Data(
            windows(source_of(TRAINING), samples, LENGTH, training),
            {"test": windows(source_of(TEST), TEST_SAMPLES, LENGTH, test)},
        )

    return transformer(
        name,
        f"Next character of Python source ({size} of {LENGTH}; text of the running Python's own library)",
        data=data,
        symbols=SYMBOLS,
        length=LENGTH,
        causal=True,
        training_samples=samples,
        scores=(BITS, ACCURACY),
        fixed=False,
        baseline={"bits": bits},
    )


CHARACTERS = characters("characters", 1024, "1,024 windows", 4.7)
CHARACTERS_LARGE = characters("characters-large", 5000, "5,000 windows", 4.6)
