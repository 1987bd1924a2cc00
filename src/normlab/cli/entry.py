"""From the start of a command to its exit status, whatever happens in between."""

from __future__ import annotations

import os
import sys
import threading

from normlab import cli
from normlab.cli import streams
from normlab.cli.interrupts import Interrupted, watched
from normlab.cli.streams import Unwritable
from normlab.errors import shortened

THREADS = "normlab-"  # what the names of the threads that train begin with
FAILED = 1
INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell says of a process that SIGINT or SIGPIPE ended


def main() -> None:
    """Runs the command line; a mistake in the input ends with one message and status 2."""
    with watched(), streams.prepared():
        status = _status(sys.argv[1:])
    if status in (INTERRUPTED, BROKEN_PIPE) and _training_goes_on():
        os._exit(status)
    sys.exit(status)


def _status(arguments: list[str]) -> int:
    """The exit status of a command, when what it printed is written."""
    try:
        status = cli.app.run(arguments)
        if not status:
            streams.flush()
        return status
    except Interrupted as interrupted:
        streams.complain(str(interrupted))
        return INTERRUPTED
    except KeyboardInterrupt:
        streams.complain("Interrupted.")
        return INTERRUPTED
    except OSError as error:  # such as a full disk, of which the message says all that there is to say
        streams.complain(f"Error: the system does not allow it: {shortened(str(error))}. What was finished is kept.")
        return FAILED
    except Unwritable as unwritable:
        if unwritable.broken_pipe:
            return BROKEN_PIPE
        streams.complain(f"Error: {unwritable}.")
        return FAILED


def _training_goes_on() -> bool:
    """Whether threads are in the midst of a training, which nothing can stop but the end of the process.

    They have written nothing that is not whole, whenever it comes.
    """
    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())
