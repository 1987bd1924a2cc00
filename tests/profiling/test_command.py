"""`normlab profile` as a user types it: whole commands, and every kind of mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from normlab import cli

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

WORD = "a word"
"""
QUICK = ["--repeats", "1"]
SHAPE = ["--shape", "4,32,3,2"]


class Finished:
    """What a command left: exit status and what it said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, " ".join(err.split())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> Finished:
        Path("mymodels.py").write_text(MODELS)
        monkeypatch.delitem(sys.modules, "mymodels", raising=False)
        monkeypatch.setattr(sys, "argv", ["normlab", "profile", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return Finished(status, said.out, said.err)

    return call


def test_layers_are_shown_and_kept(command) -> None:
    done = command(*SHAPE, *QUICK, "--norm", "batch", "--norm", "group:groups=8", "--out", "mine")
    assert done.status == 0
    assert "GroupNorm (groups=8)" in done.out
    assert "torch threads" in done.out
    assert "first call of batch" in done.err
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
        (["--shape", "4,x"], "--shape must be whole numbers"),
        (["--shape", "4,0"], "--shape must be whole numbers of at least 1"),
        (["--shape", "4"], "a shape must have 2 to 5 axes"),
        (["--shape", "99999,99999"], "at most 2^33 elements"),
        ([*SHAPE, "--shape", "4,32"], "the same number of axes"),
        ([*SHAPE, "--norm", "bacth"], "Did you mean 'batch'?"),
        ([*SHAPE, "--norm", "batch", "--norm", "batch"], "a norm must be given once"),
        ([*SHAPE, "--norm", "group:groups=5"], "5 groups do not divide 32 channels"),
        ([*SHAPE, "--norm", "batch", "--layout", "NCL"], "layout NCL needs 3 axes"),
        ([*SHAPE, "--layout", "HWC"], "layout must be a known one"),
        (["--shape", "1,8", "--norm", "batch"], "one element per statistic"),
        ([*SHAPE, "--device", "cuda:7"], "device must be one that this machine has"),
        ([*SHAPE, "--device", "abacus"], "device must be one that this machine has"),
        ([*SHAPE, "--dtype", "bf15"], "Did you mean 'bf16'?"),
        ([*SHAPE, "--memory-format", "sideways"], "memory format must be"),
        (["--shape", "4,32", "--memory-format", "channels_last"], "channels_last needs NCHW or NCDHW"),
        ([*SHAPE, "--sizes", "1,-2"], "--sizes must be numbers of MiB above 0"),
        ([*SHAPE, *SHAPE, "--sizes", "1"], "one shape for --sizes"),
        ([*SHAPE, "--repeats", "-1"], "--repeats must be at least 1"),
        ([*SHAPE, "--repeats", "0"], "--repeats must be at least 1"),
        ([*SHAPE, "--seconds", "-3"], "--seconds must be above 0"),
        ([*SHAPE, "--out", "occupied"], "the output folder must be writable"),
        ([*SHAPE, "--out", "/proc/normlab"], "the output folder must be writable"),
        ([*SHAPE, "--input", "1,2"], "--input is for --model"),
        (["--model", "mymodels", "--input", "1,4"], "--model must name an importable function"),
        (["--model", "nomodels:build", "--input", "1,4"], "No module named 'nomodels'"),
        (["--model", "mymodels:buidl", "--input", "1,4"], "Did you mean 'build'?"),
        (["--model", "mymodels:WORD", "--input", "1,4"], "'mymodels:WORD', a str"),
        (["--model", "mymodels:broken", "--input", "1,4"], "OSError: no weights here"),
        (["--model", "mymodels:number", "--input", "1,4"], "must give a torch.nn.Module"),
        (["--model", "mymodels:bare", "--input", "1,4"], "the model must hold a normalization layer"),
        (["--model", "mymodels:build"], "the model needs inputs"),
        (["--model", "mymodels:build", "--input", "1,5"], "must take the inputs"),
        (["--model", "mymodels:build", "--input", "1,4:few"], "--input must be a shape"),
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
    assert 'batch must run on torch.float16 NCHW tensors on cpu; got "batch_norm" not implemented' in done.err
