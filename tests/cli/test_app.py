"""The program itself: quick help, unknown commands, completion, long names, and what a command loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normlab.cli import app, entry

HEAVY = ["torch", "matplotlib", "plotly", "scipy", "sklearn", "numba", "numpy", "polars", "pydantic"]
BY_TYPER = {"pydantic"}  # which it reads values with
LONG = 50_000 * "n"


def loaded(arguments: list[str], environment: dict[str, str] | None = None) -> tuple[set[str], str]:
    """The heavy modules that a command loads, and what it prints."""
    code = (
        f"import sys; sys.argv = ['normlab', *{arguments}]\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stderr.split()), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_is_quick_because_it_loads_nothing_heavy(arguments: list[str]) -> None:
    modules, said = loaded(arguments)
    assert modules <= (BY_TYPER if arguments != ["--help"] else set())
    assert ("Usage" in said) == ("--help" in arguments)


def test_a_shell_completes_commands_and_flags_quickly() -> None:
    words = {"_NORMLAB_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "normlab expl"}
    modules, said = loaded([], words)
    assert (modules <= BY_TYPER, said) == (True, "explain\n")
    flags = {**words, "COMP_CWORD": "2", "COMP_WORDS": "normlab run --see"}
    assert loaded([], flags)[1] == "--seeds\n"


@pytest.mark.parametrize(
    "arguments", [["norms"], ["studies"], ["explain", "batch", "group", "--compare", "--out", "a.png"]]
)
def test_looking_things_up_does_not_load_torch(arguments: list[str]) -> None:
    assert "torch" not in loaded(arguments)[0]


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "normlab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "normlab must be followed by one of its commands; got 'rum'. Did you mean 'run'?"),
        (["frobnicate"], "got 'frobnicate'. Choose from run, compare, report, show,"),
        (
            ["studies", "shwo"],
            "normlab studies must be followed by one of its commands; got 'shwo'. Did you mean 'show'?",
        ),
        (["run"], "Missing argument 'STUDY'. See normlab run --help."),
        (["run", "article-once", "again"], "unexpected extra argument(s) (again). See normlab run --help."),
        (["--seeds", "3"], "No such option: --seeds"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [LONG],
        [f"--{LONG}"],
        ["run", LONG],
        ["run", f"{LONG}.toml"],
        ["run", "article-once", f"--{LONG}"],
        ["run", "article-once", "--norm", LONG],
        ["run", "article-once", "--norm", f"{LONG}:A"],
        ["run", "article-once", "--task", LONG],
        ["run", "article-once", "--seeds", LONG],
        ["run", "article-once", "--seeds", "9" * 5000],
        ["run", "article-once", "--lr", LONG],
        ["run", "article-once", "--set", f"{LONG}=3"],
        ["run", "article-once", "--set", f"seeds={'9' * 5000}"],
        ["run", "article-once", "--set", f"sweep={5000 * '['}"],
        ["run", "article-once", "--set", f"title={5000 * '['}{5000 * ']'}"],
        ["run", "article-once", "--engine", LONG],
        ["run", "article-once", "--device", LONG],
        ["run", "article-once", "--out", LONG],
        ["report", LONG],
        ["show", LONG],
        ["norms", "--layout", LONG],
        ["norms", "--invariance", LONG],
        ["explain", LONG],
        ["explain", "batch", "--shape", LONG],
        ["explain", "batch", "--out", f"{LONG}.png"],
        ["check", LONG],
        ["check", f"{LONG}:A"],
        ["check", "layer", "--layout", LONG],
        ["profile", "--shape", LONG],
        ["profile", "--shape", "4,4", "--out", LONG],
        ["studies", LONG],
        ["studies", "show", LONG],
    ],
    ids=lambda arguments: " ".join(word[:12] for word in arguments),
)
def test_what_is_too_long_is_shortened_and_control_characters_are_escaped(mistake, arguments: list[str]) -> None:
    coloured = [argument.replace("nnn", "n\x1b[31m\n", 1) for argument in arguments]
    for words in (arguments, coloured):
        err = mistake(*words)
        echoed = max(err.split("n" * 10)[1:], key=len, default="")
        assert len(err) < 1000, echoed
        assert "\x1b[31m" not in err


def test_what_the_system_refuses_is_a_message(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: list[str]) -> int:
        raise OSError(28, "No space left on device", "runs/a.parquet")

    monkeypatch.setattr(app, "run", full)
    done = command("run", "article-once")
    assert (done.status, done.out) == (entry.FAILED, "")
    assert "No space left on device: 'runs/a.parquet'. What was finished is kept." in done.err
