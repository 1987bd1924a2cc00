"""How the tests of commands call them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import normlab.store.directory
from helpers import small_study
from normlab.cli import console


@pytest.fixture
def command(commands):
    """Runs a command of normlab in this process."""
    return commands


def times_of_files() -> dict[Path, int]:
    """Of all below the current folder but the bytecode that Python keeps of a user's module."""
    kept = "__pycache__"
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*") if kept not in path.parts}


@pytest.fixture
def mistake(commands) -> Callable[..., str]:
    """Runs a command that must be refused with one message and leave everything as it was; gives the message."""

    def call(*arguments: str) -> str:
        Path("broken.toml").write_text("name = x\n")
        Path("old.toml").write_text("schema = 0\n")
        Path("true.toml").write_text("schema = true\n")
        Path("folder.toml").mkdir(exist_ok=True)
        Path("latin.toml").write_bytes(b'name = "\xe9"\n')
        Path("claimless.toml").write_text(small_study(claims=["article-z"]).to_toml())
        Path("thesis").mkdir(exist_ok=True)
        Path("thesis/draft.tex").touch()
        normlab.store.directory.create(Path("occupied"))
        Path("first-edition/runs").mkdir(parents=True, exist_ok=True)
        Path("first-edition/manifest.json").write_text('{"schema": 1, "study": "0123"}')
        before = times_of_files()
        done = commands(*arguments)
        assert done.status == 2
        assert "Traceback" not in done.err
        assert len(re.findall(r"(?<!\w)Error:", done.err)) == 1
        assert " runs (" not in done.err, "the mistake is all that is said"
        assert times_of_files() == before
        return done.err

    return call


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets a command print as in a terminal of so many columns."""

    def set_columns(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(console.OUT, "_width", width)

    return set_columns
