"""What the evidence says of a question: never more than the precedents near it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import log

import pytest

from normlab.cli.guidance import remarks
from normlab.errors import InputError
from normlab.guidance.costs import Costs, Fit, slot_on
from normlab.guidance.ledger import Ledger, LedgerRow
from normlab.guidance.next_study import next_study
from normlab.guidance.precedent import Pair, Precedent, find_kind
from normlab.guidance.query import Query, answer
from normlab.reading import read_size
from normlab.wording.guidance import answer_text, flips, guidance_sentences, reasons, untested

BATCH, GROUP, LAYER = "batch", "group:groups=8", "layer"
LABELS = {BATCH: "BatchNorm", GROUP: "GroupNorm (groups=8)", LAYER: "LayerNorm"}
EMPTY = Ledger(())


def precedent(batch_size: int, best: tuple[str, ...] = (), answer: str = "use", **changes: object) -> Precedent:
    """Norms in a small CNN, of which ``best`` beat all others, or are equivalent and beat the others."""
    others = [norm for norm in LABELS if norm not in best]
    pairs = [Pair(a, b, "a better", -log(2), -log(3), -log(1.5), True, 0.9, 20) for a in best for b in others]
    pairs += [Pair(a, b, "equivalent", 0.01, -0.02, 0.04, True, 0.5, 20) for a, b in itertools.pairwise(best)]
    if not best:
        pairs = [Pair(BATCH, GROUP, "undecided", 0.1, -0.2, 0.4, True, 0.4, 20)]
    made = Precedent(
        kind="cnn",
        task="digits-cnn",
        title="Digits",
        fixed=False,
        samples=1077,
        batch_size=batch_size,
        epochs=10,
        steps=100,
        optimizer="adam",
        learning_rate=1e-3,
        tuned=(),
        others={},
        metric="test_loss_deployed",
        metric_title="test loss",
        answer=answer if best else "undecided",  # type: ignore[arg-type]
        best=best or tuple(LABELS),
        labels=LABELS,
        medians=dict.fromkeys(LABELS, 0.1),
        seeds=20,
        pairs=tuple(pairs),
        limits=(),
        origin="made",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_norm_that_is_best_near_the_batch_is_the_answer() -> None:
    small, large = precedent(2, (GROUP,)), precedent(128, (BATCH,))
    found = answer(Query("cnn", 2), [large, small], EMPTY)
    assert found.sureness == "decided"
    assert [choice.norm for choice in found.best] == [GROUP]
    assert found.near == (small,)
    assert "GroupNorm (groups=8)" in answer_text(found)
    assert list(flips(found))
    assert "BatchNorm" in next(flips(found))
    assert "factor" not in next(reasons(found))
    assert "90%" in next(reasons(found))


def test_norms_between_which_nothing_matters_are_named_together() -> None:
    found = answer(Query("cnn", 8), [precedent(8, (BATCH, GROUP), "tied")], EMPTY)
    assert [choice.norm for choice in found.best] == [BATCH, GROUP]
    assert "no difference that matters" in answer_text(found)


def test_undecided_comparisons_rank_nobody() -> None:
    found = answer(Query("cnn", 8), [precedent(8)], EMPTY)
    assert found.sureness == "undecided"
    assert found.best == ()
    assert all(choice.first == choice.beaten == 0 for choice in found.choices)
    assert answer_text(found).startswith("No norm can be recommended")


def test_conditions_that_disagree_name_nobody() -> None:
    found = answer(Query("cnn", 8), [precedent(8, (BATCH,)), precedent(8, (GROUP,), epochs=40)], EMPTY)
    assert (found.sureness, found.best) == ("mixed", ())
    assert "2 decide, and name BatchNorm (1) and GroupNorm (groups=8) (1)" in answer_text(found)


def test_a_condition_that_does_not_decide_makes_the_answer_less_sure() -> None:
    found = answer(Query("cnn", 8), [precedent(8, (BATCH,)), precedent(8, epochs=40)], EMPTY)
    assert (found.sureness, [choice.norm for choice in found.best]) == ("mixed", [BATCH])


def test_the_same_report_counts_once() -> None:
    found = answer(Query("cnn", 8), [precedent(8, (BATCH,)), precedent(8, (BATCH,), origin="a copy")], EMPTY)
    assert len(found.near) == 1


def test_evidence_at_other_batches_alone_is_said_to_be_far() -> None:
    found = answer(Query("cnn", 2), [precedent(64, (BATCH,)), precedent(256, (BATCH,))], EMPTY)
    assert found.sureness == "far"
    assert [item.batch_size for item in found.near] == [64]
    assert "nobody knows" in answer_text(found)
    assert any("64" in sentence for sentence in untested(found))


@pytest.mark.parametrize("near", [[precedent(64)], [precedent(64, (BATCH,)), precedent(64, (GROUP,), epochs=40)]])
def test_far_from_all_batches_an_open_answer_names_nobody(near: list[Precedent]) -> None:
    found = answer(Query("cnn", 2), near, EMPTY)
    assert (found.sureness, found.best) == ("far", ())
    assert "nobody knows" in answer_text(found)
    assert answer_text(found).endswith("no norm is best throughout.")


def test_far_from_all_batches_conditions_that_do_not_decide_are_counted() -> None:
    found = answer(Query("cnn", 2), [precedent(64, (BATCH,)), precedent(64, epochs=40)], EMPTY)
    assert "BatchNorm is best in 1 of 2 conditions, and beaten in none" in answer_text(found)


def test_of_norms_that_are_asked_about_none_need_be_among_the_best() -> None:
    found = answer(Query("cnn", 8, (LAYER,)), [precedent(8, (BATCH,))], EMPTY)
    assert found.best == ()
    assert answer_text(found).startswith("None of the norms that are asked about")


def test_other_kinds_of_models_say_nothing() -> None:
    found = answer(Query("transformer", 8), [precedent(8, (BATCH,))], EMPTY)
    assert found.sureness == "nothing"
    assert "reversal" not in next_study(found)
    assert "modular-sum" in next_study(found)


def test_what_was_tried_with_one_value_is_said_and_varied_next() -> None:
    found = answer(Query("cnn", 8), [precedent(8, (BATCH,))], EMPTY)
    assert found.untested == ("task", "epochs", "learning_rate", "optimizer")
    assert "--tune learning_rate" in next_study(found)
    assert "training.epochs=10,40" in next_study(found)
    tuned = answer(Query("cnn", 8), [precedent(8, (BATCH,), tuned=("training.learning_rate",))], EMPTY)
    assert "learning_rate" not in tuned.untested


def test_the_usual_guidance_is_said_to_hold_fail_or_be_unknown() -> None:
    def row(claim: str, verdict: str) -> LedgerRow:
        return LedgerRow(claim, "batch size", f"statement of {claim}", "somebody", "", "", verdict)

    ledger = Ledger((row("article-e", "contradicted"), row("ln-rnn", "supported"), row("cnn-ranking", "inconclusive")))
    sentences = list(guidance_sentences(answer(Query("cnn"), [], ledger)))
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "Does not hold here",
        "Holds here",
        "Nobody knows yet",
    ]


def test_a_precedent_and_a_ledger_survive_their_text() -> None:
    item = precedent(2, (GROUP,), medians={BATCH: float("inf"), GROUP: 0.1})
    again = Ledger.from_json(Ledger((), (item,)).to_json()).precedents[0]
    assert again.medians == {BATCH: None, GROUP: 0.1}
    assert again.pairs == item.pairs
    assert again.best == item.best
    with pytest.raises(InputError, match="ledger"):
        Ledger.from_json('{"schema": 0}')


def test_the_seeds_of_a_reason_are_those_of_the_comparison_that_it_tells() -> None:
    stopped = precedent(2, (GROUP,))
    told = replace(stopped, seeds=64)  # others went on, as where seeds are added until it is decided
    assert next(reasons(answer(Query("cnn", 2), [told], EMPTY))) == next(
        reasons(answer(Query("cnn", 2), [stopped], EMPTY))
    )


@pytest.mark.parametrize("size", [0, -2])
def test_a_batch_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        Query("cnn", size)


@pytest.mark.parametrize("shape", ["1,x", "0,4", "8"])
def test_a_shape_that_is_none_is_refused_where_nothing_is_known_too(shape: str) -> None:
    with pytest.raises(InputError):
        slot_on(Query("cnn", 2), shape)


def test_what_was_tuned_stands_in_the_place_of_a_rate() -> None:
    tuned = precedent(2, (GROUP,), tuned=("training.learning_rate",))
    found = answer(Query("cnn", 2), [tuned], EMPTY)
    assert "own best" in next(reasons(found))
    assert "learning_rate" not in found.untested


def test_kinds_and_sizes_are_read_or_refused() -> None:
    assert find_kind("LSTM") == "recurrent"
    with pytest.raises(InputError, match="cnn"):
        find_kind("cnnn")
    for size in (0, -2):
        with pytest.raises(InputError, match="batch_size"):
            Query("cnn", size)
    assert read_size("1.5KiB") == 1536
    for text in ("0MB", "lots", "3 XB", ""):
        with pytest.raises(InputError, match="memory"):
            read_size(text)


def test_memory_rules_out_what_keeps_more() -> None:
    costs = Costs("8,4", (Fit("a", kept_bytes=100), Fit("b", kept_bytes=300), Fit("c")))
    assert [fit.fits for fit in costs.within(200).fits] == [True, False, True]
    assert costs.within(None) == costs


def test_a_norm_that_was_not_measured_says_why() -> None:
    costs = Costs("8,4", (Fit("a", kept_bytes=100), Fit("b", skipped="it has no such form.")), ("the machine is busy",))
    assert list(remarks(costs)) == ["the machine is busy", "B was not measured on 8,4: it has no such form."]
    assert list(remarks(None)) == []
