"""Ctrl-C at any moment ends with what is kept and status 130."""

from __future__ import annotations

import subprocess
import sys

import pytest

from normlab.cli.interrupts import Interrupted, explained

CTRL_C = "__import__('signal').raise_signal(__import__('signal').SIGINT)"
# Where an interrupt passes through code that was made from text, as in a dataclass, Python itself would end by the
# signal later.
MADE_CODE = f"def press(*_, **__): exec({CTRL_C!r})\n"
IMPORTING = """
class Pressing:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            press()
sys.meta_path.insert(0, Pressing())
"""
RUN = ["run", "article-once", "--seeds", "2", "--epochs", "1", "--out", "mine"]
BEFORE = "Interrupted before anything was trained; nothing was written.\n"


def interrupted(arguments: list[str], when: str) -> tuple[int, str]:
    code = (
        f"import sys\nfrom normlab import cli\n{MADE_CODE}{when}\nsys.argv = ['normlab', *{arguments!r}]\ncli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", ["typer", "rich.console", "pydantic", "numpy", "normlab.plan"])
def test_during_imports(module: str) -> None:
    status, err = interrupted(RUN, IMPORTING.format(module=module))
    assert status == 130
    assert err in ("Interrupted.\n", BEFORE)


def test_during_planning() -> None:
    status, err = interrupted(RUN, "import normlab.job\nnormlab.job.resolve = press")
    assert (status, err) == (130, BEFORE)


def test_while_the_report_is_written() -> None:
    status, err = interrupted(RUN, "import normlab.results\nnormlab.results.write_report = press")
    assert status == 130
    assert "Interrupted. 8 of 8 runs are finished and kept in mine." in err
    assert "Traceback" not in err
    again, err = interrupted(["report", "mine"], "import normlab.results\nnormlab.results.write_report = press")
    assert (again, err) == (130, "Interrupted.\n")


def test_an_error_that_an_interrupt_leads_to_is_no_error_of_its_own() -> None:
    failing = "def failing(*_, **__):\n    try: press()\n    except BaseException: raise OSError('a worker died')\n"
    status, err = interrupted(RUN, f"{failing}import normlab.job\nnormlab.job.resolve = failing")
    assert (status, err) == (130, BEFORE)


def test_what_is_kept_is_said_and_other_errors_pass() -> None:
    with pytest.raises(Interrupted, match="all of it"), explained(lambda: "all of it"):
        raise KeyboardInterrupt
    with pytest.raises(Interrupted, match="the first"), explained(lambda: "the second"), explained(lambda: "the first"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), explained(lambda: "all of it"):
        raise ZeroDivisionError


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_a_second_one_ends_the_process_while_what_is_kept_is_looked_at() -> None:
    when = "import normlab.job\nnormlab.job.resolve = press\ncli.training.load = lambda _: press() or print('went on')"
    assert interrupted(RUN, when)[0] == 130
