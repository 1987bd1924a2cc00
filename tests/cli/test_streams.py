"""Commands whose output is closed, full, a broken pipe or of a small encoding end quietly, all of them alike."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from normlab.cli.console import write_json

COMMANDS = {"--help": 0, "norms": 0, "norms --json": 0, "studies show article": 0, "explain batch": 0, "norm": 2}
FULL = Path("/dev/full")
PYTHON = [sys.executable, "-m", "normlab"]


def started(command: str, **options) -> subprocess.Popen[str]:
    environment = {**os.environ, **options.pop("environment", {})}
    return subprocess.Popen(
        [*PYTHON, *command.split()], text=True, encoding="utf-8", stderr=subprocess.PIPE, env=environment, **options
    )


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_pipe_is_quiet(command: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = started(command, stdout=writer, environment={"PYTHONUNBUFFERED": unbuffered})
    os.close(writer)
    _, err = process.communicate()
    expected = COMMANDS[command]
    assert process.returncode == (expected or 141)
    assert bool(err) == bool(expected)
    assert "Traceback" not in err


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_gets_one_message(command: str) -> None:
    with FULL.open("w") as full:
        process = started(command, stdout=full)
        _, err = process.communicate()
    assert process.returncode == (COMMANDS[command] or 1)
    assert err.count("Error:") == 1
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no shell that closes an output")
@pytest.mark.parametrize("command", ["norms", "norm"])
def test_a_closed_output_is_no_output_and_takes_no_other_file(command: str) -> None:
    """Without care the next file that is opened gets the number of the closed output, and what is printed."""
    line = f"{sys.executable} -m normlab {command} >&-"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == COMMANDS[command]
    assert bool(done.stderr) == bool(COMMANDS[command])
    both = subprocess.run(f"{line} 2>&-", shell=True, capture_output=True, text=True)
    assert (both.returncode, both.stderr) == (COMMANDS[command], "")


@pytest.mark.skipif(sys.platform == "win32", reason="no shell that closes an output")
def test_a_drawing_is_whole_though_the_output_is_closed() -> None:
    line = f"{sys.executable} -m normlab explain batch --shape 2,4 --out a.svg >&- 2>&-"
    assert subprocess.run(line, shell=True).returncode == 0
    assert Path("a.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


@pytest.mark.parametrize("command", ["--help", "norms", "explain evonorm-b0"])
def test_letters_that_an_encoding_lacks_are_replaced(command: str) -> None:
    process = started(command, stdout=subprocess.PIPE, environment={"PYTHONIOENCODING": "ascii", "COLUMNS": "80"})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_exact_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    content = {"formula": "γ (x − μ) / σ + β", "plain": "±"}
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, write_through=True))
    write_json(content)
    assert json.loads(written.getvalue().decode(encoding)) == content


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_a_removed_folder_gets_one_message(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for command, status in (("norms", 2), ("run article", 2), ("--help", 0)):
        gone.mkdir()
        line = f"cd {gone} && rmdir {gone} && {sys.executable} -m normlab {command}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True)
        assert done.returncode == status
        assert done.stderr == (
            "Error: the current folder must exist; got one that was removed. Change to another one.\n" * (status == 2)
        )
