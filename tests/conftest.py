"""Every test draws from the same seed and writes into its own folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, one on each core: more threads only wait for cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Bytecode is kept, also where the environment says otherwise: without it, each process that the tests start compiles
# all of normlab anew, and each worker all of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ.pop("COLUMNS", None)  # tables are as wide as where nothing is known of a terminal

settings.register_profile("normlab", deadline=None, derandomize=True)
settings.load_profile("normlab")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of new folders. To number one, pytest looks through all that are there: 5 ms for the 6000th."""
    here = tmp_path_factory.mktemp("here")
    return (here / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_folder(folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write below the current folder; that is a temporary one."""
    folder = next(folders)
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """More threads than cores for the tests that follow make small models wait: they took 40 times as long once."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    assert torch is None or torch.get_num_threads() == before, "the number of threads must be set back"


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of this process alone, as `torchrun` makes it."""
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Finished:
    """What a command left: exit status and what it said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, " ".join(err.split())


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs a command of normlab in this process."""
    from normlab import cli
    from normlab.cli import entry

    monkeypatch.setattr(entry, "_training_goes_on", lambda: False)  # for which a command would end this process

    def call(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["normlab", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return Finished(status, said.out, said.err)

    return call
