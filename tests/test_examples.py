"""The examples run as they stand."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from normlab import cli, load

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "compare.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "final_loss" in said
    assert Path("curves.png").stat().st_size > 10_000


def test_own_norm_beside_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLES / "own_norm.py", "own_norm.py")
    norms = ["--norm", "batch", "--norm", "own_norm:CENTRED"]
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        sys,
        "argv",
        ["normlab", "run", "article", *norms, "--seeds", "2", "--epochs", "1", "--workers", "1", "--out", "o"],
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert [group.norm for group in load("o").evidence.groups] == ["batch", "own_norm:CENTRED"]
    assert {outcome.status for outcome in load("o").outcomes} == {"finished"}


def test_profile_model(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "profile_model.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "ResNet: 9 norms" in said
    assert "Transformer: 5 norms" in said
    assert Path("resnet/profile.png").stat().st_size > 10_000


def test_models_of_the_example_from_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EXAMPLES / "profile_model.py", "profile_model.py")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        sys,
        "argv",
        ["normlab", "profile", "--model", "profile_model:transformer", "--input", "2,8,64", "--repeats", "1"],
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert "layers.1.norm2" in capsys.readouterr().out


def test_own_claim_beside_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(EXAMPLES / "own_claim.py", "own_claim.py")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        sys, "argv", ["normlab", "claims", "run", "own_claim:SMALL_BATCHES", "--seeds", "2", "--engine", "fused"]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    (finding,) = load("results/small-batches").evidence.findings
    assert [part.verdict for part in finding.parts] == ["inconclusive", "inconclusive"]
    assert "small-batches inconclusive" in capsys.readouterr().out


def test_every_example_is_tested_here() -> None:
    names = {"compare", "own_claim", "own_norm", "own_task", "profile_model"}  # own_task: tests/tasks
    assert {path.stem for path in EXAMPLES.glob("*.py")} == names
