"""Ctrl-C: the first asks the work to end and to say what is kept, the next one ends the process at once."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STATUS = 130


class Interrupted(Exception):
    """The user asked to end; the message says what is kept."""


class CtrlC(KeyboardInterrupt):
    """Ctrl-C, as a class of its own: where a KeyboardInterrupt itself passes through code that a library makes from
    text, Python ends by the signal later, whatever status is asked for."""


class _State:
    """What has been asked so far."""

    requested = False  # Ctrl-C was pressed
    ending = False  # the work has ended for it, and what is kept is being looked at


_state = _State()


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.ending:
        os._exit(STATUS)
    _state.requested = True
    raise CtrlC


@contextmanager
def watched() -> Iterator[None]:
    """Ctrl-C is an interrupt while this lasts, also where it was ignored before or changed by a library."""
    _state.requested = _state.ending = False
    usual = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    watch = main and usual is signal.default_int_handler  # who ignores it in the background goes on ignoring it
    if watch:
        signal.signal(signal.SIGINT, _handle)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # when all is said, the status stays as it is
    try:
        yield
    finally:
        if watch:
            signal.signal(signal.SIGINT, usual)


def before_training() -> str:
    """What is kept where nothing was trained yet."""
    return "Interrupted before anything was trained; nothing was written."


@contextmanager
def explained(message: Callable[[], str]) -> Iterator[None]:
    """Turns an interrupt, and whatever error it leads to, into one that says what is kept.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt) and not _state.requested:
            raise
        _state.ending = True
        raise Interrupted(message()) from None
