"""The program itself: quick help, unknown commands, completion, and what a command loads."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    heavy = ["torch", "matplotlib", "plotly", "scipy", "sklearn", "numba", "polars", "pydantic"]
    code = (
        "import sys; sys.argv = ['normlab', '--help']\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Commands" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["norms"], ["studies"], ["explain", "batch", "group", "--compare", "--out", "a.png"]]
)
def test_looking_things_up_does_not_load_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['normlab', *{arguments}]\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "rum"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)
