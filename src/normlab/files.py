"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from normlab.errors import InputError

_UNFINISHED = ".unfinished-"


def write_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, flushes it and renames it, so that it is either whole or not there.

    Arguments:
        path: the file; one that is there already is replaced.
        content: its bytes.

    Raises:
        InputError: it cannot be written there.
    """
    temporary = path.with_name(f"{_UNFINISHED}{uuid4().hex}")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            "the output folder must be writable", f"{path} ({error.strerror})", "Choose another."
        ) from None
