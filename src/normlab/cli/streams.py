"""Standard output and standard error, which may be closed, full, a broken pipe, or lack letters."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class Unwritable(Exception):
    """What is printed cannot be written; no OSError, so that no library takes it for something else.

    Arguments:
        error: what the system said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"what is printed cannot be written ({error.strerror})")
        self.broken_pipe = isinstance(error, BrokenPipeError)


class _Output(io.TextIOWrapper):
    """A stream that tells its own errors from those of other files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise Unwritable(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise Unwritable(error) from error


@contextmanager
def prepared() -> Iterator[None]:
    """Both streams such that whatever is printed can be printed, or ends in `Unwritable`; quiet at the end.

    What is closed leads nowhere: otherwise the next file that is opened would take its place, and get what is
    printed. Letters that an encoding lacks are replaced.
    """
    _fill_closed()
    before = sys.stdout, sys.stderr
    wrapped = [_wrapped(stream) for stream in before]
    sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        for stream in wrapped:
            _finish(stream)
        sys.stdout, sys.stderr = before


def _fill_closed() -> None:
    """Opens the null device for each of the three streams that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _wrapped(stream: TextIO) -> TextIO:
    """The stream with errors of its own; one that is no file, as in a test, as it is."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    return _Output(
        stream.buffer,
        stream.encoding,
        "replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def flush() -> None:
    """Writes out what was printed.

    Raises:
        Unwritable: it cannot be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def complain(message: str) -> None:
    """A line on standard error, if it can still be written."""
    with suppress(Unwritable):
        print(message, file=sys.stderr, flush=True)


def _finish(stream: TextIO) -> None:
    """Writes out what is left, or else sends it nowhere, so that Python does not try and complain later."""
    if not isinstance(stream, _Output):
        return
    try:
        stream.flush()
    except Unwritable:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
    stream.detach()  # it must not close the stream that it stands for
