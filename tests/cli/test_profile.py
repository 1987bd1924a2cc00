"""`normlab profile` as a user types it: whole commands, and every kind of mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from normlab.cli.console import known_width
from normlab.cli.progress import Log

MODELS = """
from torch import nn

def build():
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU())

def broken():
    raise OSError("no weights here")

def number():
    return 3

def bare():
    return nn.Linear(4, 4)

def images():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.BatchNorm2d(8))

def frozen():
    return build().requires_grad_(False)

class Own(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.layer(x)

class Odd(Own):
    def forward(self, x):
        raise KeyError("weird")

def unseen(channels):
    return nn.GroupNorm(1, channels)

WORD = "a word"
"""
QUICK = ["--repeats", "1"]
SHAPE = ["--shape", "4,32,3,2"]


@pytest.fixture
def command(commands, monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: str):
        Path("mymodels.py").write_text(MODELS)
        monkeypatch.delitem(sys.modules, "mymodels", raising=False)
        return commands("profile", *arguments)

    return call


def test_layers_are_shown_and_kept(command) -> None:
    done = command(*SHAPE, *QUICK, "--norm", "batch", "--norm", "group:groups=8", "--out", "mine")
    assert done.status == 0
    assert "GroupNorm (groups=8)" in done.out
    assert "torch thread" in done.out
    assert "first call 1 of 2: batch" in done.err
    kept = json.loads(Path("mine/profile.json").read_text())
    assert (kept["schema"], kept["kind"], kept["layout"]) == (1, "layers", "NCHW")
    assert {"forward", "backward", "both", "ratio", "floor", "bandwidth_share", "memory"} <= set(
        kept["cases"][0]["costs"][0]
    )
    assert Path("mine/profile.png").stat().st_size > 10_000


def test_json_is_all_that_is_printed(command) -> None:
    done = command("--shape", "1,8", *QUICK, "--norm", "batch", "--sizes", "0.01,0.02", "--json")
    found = json.loads(done.out)
    assert [case["shape"][1] for case in found["cases"]] == [8, 8]
    assert found["cases"][1]["bytes"] == 655 * 8 * 4


def test_a_model_is_shown_and_kept(command) -> None:
    done = command("--model", "mymodels:build", "--input", "16,4", "--norm", "rms", *QUICK, "--out", "mine")
    assert done.status == 0
    assert "LayerNorm" in done.out
    assert "All as rms" in done.out
    kept = json.loads(Path("mine/profile.json").read_text())
    assert (kept["kind"], kept["model"]) == ("model", "mymodels:build")
    assert [norm["name"] for norm in kept["norms"]] == ["1"]
    assert Path("mine/profile.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs either --shape or --model; got neither"),
        ([*SHAPE, "--model", "mymodels:build"], "needs either --shape or --model; got both"),
        (["--shape", ""], "--shape must be whole numbers with commas between them; got ''. Try --shape 32,64,56,56."),
        (["--shape", "4,x"], "must be whole numbers with commas between them"),
        (["--shape", "4,0"], "must be at least 1; got '4,0'"),
        (["--shape", "4"], "a shape must have 2 to 5 sizes"),
        (["--shape", "99999,99999"], "at most 2^33 elements"),
        ([*SHAPE, "--shape", "4,32"], "the same number of axes"),
        ([*SHAPE, "--norm", "bacth"], "Did you mean 'batch'?"),
        ([*SHAPE, "--norm", "batch", "--norm", "batch"], "a norm must be given once"),
        ([*SHAPE, "--norm", "group:groups=5"], "5 groups do not divide 32 channels"),
        ([*SHAPE, "--norm", "batch", "--layout", "NCL"], "a shape must have 3 sizes for layout NCL"),
        ([*SHAPE, "--layout", "HWC"], "must be a known order of axes"),
        (["--shape", "1,8", "--norm", "batch"], "one element per statistic"),
        ([*SHAPE, "--device", "cuda:7"], "must be one that this machine has"),
        ([*SHAPE, "--device", "abacus"], "must be one that this machine has"),
        ([*SHAPE, "--dtype", "bf15"], "Did you mean 'bf16'?"),
        ([*SHAPE, "--memory-format", "sideways"], "must be contiguous or channels_last"),
        (["--shape", "4,32", "--memory-format", "channels_last"], "needs NCHW or NCDHW input"),
        ([*SHAPE, "--sizes", "1,-2"], "must be numbers of MiB above 0"),
        ([*SHAPE, *SHAPE, "--sizes", "1"], "must go with a single shape"),
        (
            [*SHAPE, "--norm", "mymodels:Odd"],
            "mymodels:Odd must run on torch.float32 NCHW tensors on cpu; got KeyError",
        ),
        (["--shape", "4,32", "--norm", "mymodels:Own"], "got ValueError: expected 4D input"),
        ([*SHAPE, "--norm", "mymodels:Own:eps=1"], "a module's class takes no options"),
        ([*SHAPE, "--norm", "mymodels:WORD"], "'mymodels:WORD', a str"),
        ([*SHAPE, "--repeats", "x"], "Invalid value for '--repeats': must be a whole number"),
        ([*SHAPE, "--seconds", "x"], "Invalid value for '--seconds': must be a number"),
        ([*SHAPE, "--seconds", "0"], "Leave it out for 5."),
        (["--model", "mymodels:build", "--input", "1,4", "--seconds", "0"], "Leave it out for 20."),
        (
            ["--model", "mymodels:build", "--input", "1,4", "--memory-format", "bogus"],
            "must be contiguous or channels_last",
        ),
        (
            ["--model", "mymodels:build", "--input", "1,4", "--memory-format", "channels_last"],
            "4 or 5 axes; got (1, 4)",
        ),
        (
            ["--model", "mymodels:images", "--input", "2,3,4,4", "--norm", "layer"],
            "some norm of the model; got layer for 4 norms (1, 2, 3, ...): layer has no form for NCHW input",
        ),
        ([*SHAPE, "--repeats", "-1"], "must be a whole number of at least 1"),
        ([*SHAPE, "--repeats", "0"], "must be a whole number of at least 1"),
        ([*SHAPE, "--seconds", "-3"], "must be above 0 and at most a day"),
        ([*SHAPE, "--out", "occupied"], "the output folder must be writable"),
        ([*SHAPE, "--out", "/proc/normlab"], "the output folder must be writable"),
        ([*SHAPE, "--input", "1,2"], "--input is for --model"),
        (["--model", "mymodels", "--input", "1,4"], "must name an importable function"),
        (["--model", "nomodels:build", "--input", "1,4"], "No module named 'nomodels'"),
        (["--model", "mymodels:buidl", "--input", "1,4"], "Did you mean 'build'?"),
        (["--model", "mymodels:WORD", "--input", "1,4"], "'mymodels:WORD', a str"),
        (["--model", "mymodels:broken", "--input", "1,4"], "OSError: no weights here"),
        (["--model", "mymodels:number", "--input", "1,4"], "must give a torch.nn.Module"),
        (["--model", "mymodels:bare", "--input", "1,4"], "the model must hold a normalization layer"),
        (["--model", "mymodels:build"], "the model needs inputs"),
        (["--model", "mymodels:build", "--input", "1,5"], "must take the inputs"),
        (
            ["--model", "mymodels:build", "--input", "1,4:few"],
            "must be a shape, or a shape and the number of different tokens",
        ),
        (["--model", "mymodels:build", "--input", "1,4", "--compile"], "--compile is for --shape"),
        (["--model", "mymodels:build", "--input", "1,4", "--layout", "NC"], "--layout is for --shape"),
        (["--model", "mymodels:build", "--input", "1,4", "--norm", "bacth"], "Did you mean 'batch'?"),
        ([*SHAPE, "--shap", "3"], "--shap"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(command, arguments: list[str], message: str) -> None:
    Path("occupied").touch()
    Path("mymodels.py").write_text(MODELS)
    done = command(*arguments)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert {path.name for path in Path().iterdir()} <= {"occupied", "mymodels.py", "__pycache__"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "256,64,32,32", "--norm", "batch"], "got 256,64,32,32, which needs about 384 MiB where cpu has"),
        ([*SHAPE, "--norm", "batch", "--sizes", "0.1,20"], "the tensors of a shape must fit into memory"),
        (
            ["--model", "mymodels:images", "--input", "10000,3,40,40"],
            "an input must fit into memory; got 10000,3,40,40",
        ),
    ],
)
def test_what_memory_does_not_hold_is_refused(
    command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("normlab.recognition.free_memory.free_bytes", lambda _: 100 * 2**20)
    done = command(*arguments, *QUICK, "--out", "new")
    assert done.status == 2
    assert message in done.err
    assert not Path("new").exists()


def test_a_mistake_leaves_no_folder_behind(command) -> None:
    assert command(*SHAPE, "--norm", "bacth", "--out", "new").status == 2
    assert not Path("new").exists()


def test_a_type_that_a_norm_cannot_run_on_is_said(command, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("\"batch_norm\" not implemented for 'Half'\nand more")

    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", refuse)
    done = command(*SHAPE, "--norm", "batch", "--dtype", "fp16", *QUICK)
    assert done.status == 2
    said = 'batch must run on torch.float16 NCHW tensors on cpu; got RuntimeError: "batch_norm" not implemented'
    assert said in done.err
    assert "and more" not in done.err


def test_a_module_s_class_or_function_is_a_norm(command) -> None:
    done = command(*SHAPE, *QUICK, "--norm", "mymodels:Own", "--norm", "mymodels:unseen", "--json")
    (case,) = json.loads(done.out)["cases"]
    assert [(cost["norm"], cost["label"], cost["parameters"]) for cost in case["costs"]] == [
        ("mymodels:Own", "Own", 64),
        ("mymodels:unseen", "unseen", 64),
    ]
    assert (
        "All as mymodels:Own"
        in command("--model", "mymodels:images", "--input", "2,3,4,4", *QUICK, "--norm", "mymodels:Own").out
    )


def test_what_fits_nowhere_is_said_once_beside_what_fits(command) -> None:
    odd = ("--norm", "mymodels:Odd", "--norm", "layer", "--norm", "rms")
    done = command("--model", "mymodels:images", "--input", "2,3,4,4", *QUICK, *odd)
    assert done.status == 0
    assert "Not mymodels:Odd for 4 norms (1, 2, 3, ...): KeyError: 'weird'." in done.out
    assert done.out.count("Not layer for") == 1
    assert "All as rms" in done.out


def test_the_type_and_the_order_in_memory_of_a_model_are_said(command) -> None:
    images = ("--model", "mymodels:images", "--input", "2,3,4,4", *QUICK)
    assert "training mode, float32, cpu" in command(*images).out
    assert (
        "training mode, bfloat16, channels_last, cpu"
        in command(*images, "--dtype", "bf16", "--memory-format", "channels_last").out
    )


def test_a_frozen_model_has_a_forward_pass_alone(command) -> None:
    done = command("--model", "mymodels:frozen", "--input", "16,4", *QUICK, "--norm", "rms", "--out", "mine")
    assert done.status == 0
    assert "forward alone: nothing requires a gradient" in done.out
    assert "backward" not in done.out
    assert "no gradient reaches" not in done.out
    assert "All as rms" in done.out
    assert json.loads(Path("mine/profile.json").read_text())["backward"] is False


WIDE_NAMES = (*SHAPE, *QUICK, "--norm", "standardized-group", "--norm", "batch", "--norm", "none")


def test_tables_keep_to_the_width_that_is_asked(command, columns) -> None:
    columns(80)
    done = command(*WIDE_NAMES)
    assert done.status == 0, done.err
    assert_whole_within(done.out, 80)


def test_tables_are_wide_when_piped() -> None:
    """A width of 0 is none."""
    line = [sys.executable, "-m", "normlab", "profile", *WIDE_NAMES]
    environment = os.environ | {"COLUMNS": "0"}
    said = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout
    assert_whole_within(said, 140)


def assert_whole_within(said: str, widest: int) -> None:
    """Nothing is cut off."""
    rows = [row for row in said.splitlines() if row.startswith(("┃", "│"))]
    assert rows
    assert max(map(len, rows)) <= widest
    assert len({len(row) for row in rows}) == 1
    assert "…" not in said
    assert ("parameters" in said) == (widest == 140)
    letters = "".join("".join(row.strip("│").split("│")[0].split()) for row in rows)
    assert "WeightStandardization+GroupNorm" in letters, "a long figure may fold it anywhere"


@pytest.mark.parametrize(("columns", "known"), [(None, False), ("", False), ("0", False), ("80", True)])
def test_columns_of_nothing_are_no_width(monkeypatch: pytest.MonkeyPatch, columns: str | None, known: bool) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert known_width() == known


def test_a_log_gets_the_first_of_each_part_and_its_tenths() -> None:
    log = Log()
    said = [number for number in range(1, 101) if log.takes(f"round {number} of 100", now=float(number))]
    assert said == list(range(1, 101, 10))
    assert log.takes("warming up 1 of 30: batch", now=100.0)
    assert not log.takes("warming up 29 of 30: batch", now=100.9)
    assert log.takes("warming up 30 of 30: batch", now=101.1)
    assert log.takes("the first step", now=101.1)
    assert not log.takes("the first step", now=109.0)
