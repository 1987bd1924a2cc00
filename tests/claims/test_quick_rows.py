"""The quick rows of the ledger, trained again with other seeds: the verdicts are those that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import normlab
from normlab.claims.catalog import CLAIMS, claim_studies
from normlab.guidance.ledger import shipped_ledger

QUICK = [claim.id for claim in CLAIMS if claim.quick]
OTHER_SEED = 20_261  # of the study: other data, weights and batches than those of the ledger, which has 0


def test_there_are_quick_rows_of_several_themes() -> None:
    assert len({claim.theme for claim in CLAIMS if claim.quick}) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("claim", QUICK)
def test_other_seeds_give_the_same_verdict(claim: str, tmp_path: Path) -> None:
    (study,) = claim_studies([claim])
    results = normlab.run(study, tmp_path / claim, changes={"seed": OTHER_SEED})
    (row,) = (row for row in shipped_ledger().rows if row.id == claim)
    assert {finding.verdict for finding in results.evidence.findings} == set(row.verdict.split(", "))
