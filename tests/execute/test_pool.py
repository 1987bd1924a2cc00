"""Worker processes leave Ctrl-C to their parent from their first moment on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from normlab.execute.pool import _interrupts_held

BLOCKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def blocked() -> bool:
    """Whether a process that starts now never sees Ctrl-C."""
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises: what is started in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no masks of signals there")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_waits_while_workers_start_and_never_reaches_them() -> None:
    seen: list[bool] = []

    def start() -> None:
        with _interrupts_held():
            signal.raise_signal(signal.SIGINT)
            seen.append(blocked())

    with pytest.raises(KeyboardInterrupt):
        start()
    assert seen == [True]
    assert not blocked()
