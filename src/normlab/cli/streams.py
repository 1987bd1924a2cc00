"""Standard output and standard error, which may be closed, full, a broken pipe, or lack letters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare() -> None:
    """Makes both streams such that whatever is printed can be printed.

    What is closed leads nowhere: otherwise the next file that is opened would take its place, and get what is
    printed. Letters that an encoding lacks are replaced.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = _to(1)
    if sys.stderr is None:
        sys.stderr = _to(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _to(descriptor: int) -> TextIO:
    return open(descriptor, "w", encoding="utf-8", closefd=False)


def flush() -> None:
    """Writes out what was printed.

    Raises:
        OSError: it cannot be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def broken() -> bool:
    """Whether something that was printed cannot be written."""
    return any(_unwritable(stream) for stream in (sys.stdout, sys.stderr))


def _unwritable(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    return False


def complain(message: str) -> None:
    """A line on standard error, if it can still be written."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def finish() -> bool:
    """Whether something was left that cannot be written; it leads nowhere from now on, so that Python is quiet."""
    lost = False
    for stream in (sys.stdout, sys.stderr):
        if _unwritable(stream):
            lost = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):  # a stream that is no file of the system has no descriptor
                os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return lost
