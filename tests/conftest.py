"""Every test draws from the same seed and writes into its own folder."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, one on each core: more threads only wait for cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.pop("COLUMNS", None)  # tables are as wide as where nothing is known of a terminal

settings.register_profile("normlab", deadline=None, derandomize=True)
settings.load_profile("normlab")


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write below the current folder; that is a temporary one."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
