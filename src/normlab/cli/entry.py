"""From the start of a command to its exit status, whatever happens in between."""

from __future__ import annotations

import errno
import os
import sys
import threading

from normlab import cli
from normlab.cli import streams
from normlab.cli.interrupts import Interrupted, watched

THREADS = "normlab-"  # what the names of the threads that train begin with
INTERRUPTED, BROKEN_PIPE, FAILED = 130, 141, 1  # as a shell says of a process that SIGINT or SIGPIPE ended


def main() -> None:
    """Runs the command line; a mistake in the input ends with one message and status 2."""
    streams.prepare()
    with watched():
        status = _status(sys.argv[1:])
        if streams.finish() and not status:
            status = BROKEN_PIPE
        if status in (INTERRUPTED, BROKEN_PIPE) and _training_goes_on():
            os._exit(status)
    sys.exit(status)


def _status(arguments: list[str]) -> int:
    """The exit status of a command, of which the output may still be on its way."""
    try:
        status = cli.app.run(arguments)
        streams.flush()
        return status
    except Interrupted as interrupted:
        streams.complain(str(interrupted))
        return INTERRUPTED
    except KeyboardInterrupt:
        streams.complain("Interrupted.")
        return INTERRUPTED
    except OSError as error:
        if not streams.broken():
            raise
        if error.errno == errno.EPIPE:
            return BROKEN_PIPE
        streams.complain(f"Error: standard output cannot be written ({error.strerror}).")
        return FAILED


def _training_goes_on() -> bool:
    """Whether threads are in the midst of a training, which nothing can stop but the end of the process.

    They have written nothing that is not whole, whenever it comes.
    """
    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())
