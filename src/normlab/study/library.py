"""The built-in studies: TOML files that a user can copy and change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normlab.errors import InputError, nearest
from normlab.reading import path as read_path
from normlab.study.study import Study

FOLDER = Path(__file__).parent
FIRST = ("article", "article-once", "digits", "digits-cnn")  # in lists; the others follow by name


def _names() -> tuple[str, ...]:
    names = {path.stem for path in FOLDER.glob("*.toml")}
    return (*FIRST, *sorted(names.difference(FIRST)))


NAMES = _names()


def text_of(name: str) -> str:
    """The TOML text of a built-in study.

    Raises:
        InputError: there is no such study.
    """
    if name not in NAMES:
        raise InputError("STUDY must be a built-in study", repr(name), nearest(name, NAMES))
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_study(source: str | Path, changes: Mapping[str, Any] | None = None) -> Study:
    """A study by its built-in name or from a TOML file, with changes by dotted path.

    Raises:
        InputError: there is no such study or file, or it cannot be read.
        StudyError: it is not a valid study.

    >>> load_study("article-once", {"training.epochs": 5}).training.epochs
    5
    """
    if str(source) in NAMES:
        return Study.from_toml(text_of(str(source)), f"study {source!r}", changes)
    path = read_path(source)
    if path.suffix != ".toml" and not path.exists():
        known = [*NAMES, "a path to a .toml file"]
        raise InputError(
            "STUDY must be a built-in study or a TOML file", repr(str(source)), nearest(str(source), known)
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    return Study.from_toml(text, str(path), changes)


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError("STUDY must be a readable TOML file", f"{path} ({reason})", "Check the path.")
