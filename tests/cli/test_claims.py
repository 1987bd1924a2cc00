"""`normlab claims`: the list, one claim, and the studies that test claims."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import normlab
from normlab.claims.catalog import CLAIMS
from normlab.claims.spec import Claim, Comparative
from normlab.study.study import Study

USERS = """
from normlab.claims.spec import Claim, Comparative

QUICK = Claim(
    id="quick",
    statement="BN learns faster than LN in three epochs",
    source="folklore",
    study={"norms": ["batch", "layer"], "tasks": ["article"], "seeds": 3, "training": {"epochs": 3}},
    hypotheses=(Comparative("final_loss", "batch", "below", "layer"),),
)
"""


def test_claims_are_listed_for_readers_and_programs(commands) -> None:
    listed = commands("claims")
    assert listed.status == 0
    assert all(claim.id in listed.out for claim in CLAIMS)
    content = json.loads(commands("claims", "--json").out)
    assert [entry["id"] for entry in content["claims"]] == [claim.id for claim in CLAIMS]
    assert content["claims"][0]["hypotheses"][0]["metric"] == "early_drop"


def test_a_claim_is_shown_with_a_study_to_copy(commands) -> None:
    shown = commands("claims", "show", "article-b-batch").out
    assert "fluctuation of sampling of batch falls as batch size grows from 16 to 512." in shown
    study = Study.from_toml(shown[shown.index("name = ") :])
    assert study == next(claim for claim in CLAIMS if claim.id == "article-b-batch").to_study()
    entry = json.loads(commands("claims", "show", "article-b-batch", "--json").out)
    assert Study(**entry["study"]) == study


@pytest.mark.parametrize("arguments", [("show", "artcle-b"), ("run", "article-a", "artcle-b")])
def test_an_unknown_claim_gets_one_message_and_nothing_is_written(commands, arguments: tuple[str, ...]) -> None:
    done = commands("claims", *arguments)
    assert done.status == 2
    assert "Did you mean 'article-b'?" in done.err
    assert not list(Path().iterdir())


def test_a_dry_run_names_every_study_and_trains_nothing(commands) -> None:
    done = commands("claims", "run", "article-a", "article-d", "--seeds", "2", "--engine", "sequential", "--dry-run")
    assert done.status == 0
    assert "article-a-and-1-more: 6 runs" in done.out
    assert not Path("results").exists()


def test_a_users_claim_is_tested_and_its_folder_needs_no_code_of_the_users(commands) -> None:
    Path("users_quick_claim.py").write_text(USERS)
    done = commands(
        "claims", "run", "users_quick_claim:QUICK", "--engine", "sequential", "--workers", "1", "--out", "here"
    )
    assert done.status == 0
    assert re.search(r"quick (supported|contradicted|inconclusive)", done.out)
    Path("users_quick_claim.py").unlink()
    (finding,) = normlab.load("here/quick").evidence.findings
    assert finding.claim.statement == "BN learns faster than LN in three epochs"
    assert finding.parts[0].verdict == finding.verdict != "not testable here"


def test_all_claims_are_tested_with_their_times_and_a_second_time_nothing_is_trained(commands, monkeypatch) -> None:
    study = {"norms": ["batch", "layer"], "tasks": ["article"], "seeds": 2, "training": {"epochs": 1}}
    first = Claim("first", "As I say", "folklore", study, (Comparative("final_loss", "batch", "below", "layer"),))
    second = replace(first, id="second", study={**study, "training": {"epochs": 2}})
    open_one = replace(first, id="third", hypotheses=(), not_testable="it needs a machine of its own")
    for module in ("normlab.cli.claim_list", "normlab.claims.catalog"):
        monkeypatch.setattr(f"{module}.CLAIMS", (first, second, open_one))
    how = ("--engine", "sequential", "--workers", "1", "--out", "here")
    done = commands("claims", "run", "--all", *how)
    assert done.status == 0
    assert sorted(path.name for path in Path("here").iterdir()) == ["first", "second"]
    assert re.search(r"in all.*claims.*time", done.out, re.DOTALL)
    again = commands("claims", "run", "--all", *how)
    assert "of which 4 are there" in again.err
    assert "Not testable here: it needs a machine of its own." in commands("claims", "show", "third").out


def test_all_and_ids_are_not_given_together(commands) -> None:
    for arguments in (("--all", "article-a"), ()):
        done = commands("claims", "run", *arguments)
        assert done.status == 2
        assert "ids of claims, or --all" in done.err
