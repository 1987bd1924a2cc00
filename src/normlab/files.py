"""Files that are written whole or not at all, and folders."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from normlab.errors import InputError

UNFINISHED = ".unfinished-"  # what the names of files begin with while they are written


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, flushes and renames it.

    Raises:
        OSError: it cannot be written there.
    """
    temporary = path.parent / f"{UNFINISHED}{uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that a user asked for, whole or not at all.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error) from None


def make_folder(path: Path) -> Path:
    """The folder ``path``, made if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
    return path


def check_writable(folder: Path) -> None:
    """Raises an InputError if no file can be made in a folder that is there."""
    try:
        probe = folder / f"{UNFINISHED}{uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(path: Path, error: OSError) -> InputError:
    """What is said of a place that cannot be written."""
    return InputError("the output folder must be writable", f"{path} ({error.strerror})", "Choose another one.")
