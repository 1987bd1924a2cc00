"""Advice follows the comparisons and does not say more than they do."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.advice import Advice, advise
from normlab.plan import Plan
from normlab.stats.arm_results import ArmResults, arm_results
from normlab.stats.comparisons import comparisons
from normlab.study.outcome import Outcome, Series
from normlab.training import Training
from normlab.wording.advice import answer_sentence, evidence_sentences, limit_sentences
from synthetic import article_plan, diverged, failed, falling, made_outcome, made_results

NORMS = ("batch", "layer", "rms")
PLACE = (
    "“Sum of ten uniform numbers above five (1,000 points)” (new data for each seed), trained for 50 epochs (800 "
    "steps) with Adam at batch size 64 and learning rate 0.001"
)


def advice_of(plan: Plan, results: tuple[ArmResults, ...]) -> tuple[Advice, ...]:
    compared = comparisons(plan.study, results, np.random.default_rng(0))
    return advise(plan.study, results, compared, np.random.default_rng(0))


def advice(finals: dict[str, object], seeds: int = 30) -> Advice:
    plan = article_plan(seeds, tuple(finals))
    (only,) = advice_of(plan, made_results(plan, finals))
    return only


def around(centre: float, seed: int, seeds: int = 30, spread: float = 0.02) -> np.ndarray:
    return centre * np.exp(spread * np.random.default_rng(seed).standard_normal(seeds))


def converged(final: float) -> np.ndarray:
    """A loss that reaches its end at once and stays there."""
    return falling(final, shape=500.0)


def settled(finals: dict[str, float], **changes: object) -> tuple[Plan, list[Outcome]]:
    """Outcomes of 20 seeds that have converged."""
    plan = article_plan(20, tuple(finals), **changes)
    outcomes = []
    for arm in plan.arms:
        values = around(finals[arm.norm], len(arm.norm), 20)
        outcomes += [made_outcome(arm, seed, converged(final)) for seed, final in enumerate(values)]
    return plan, outcomes


def replaced(outcomes: list[Outcome], norm: str, **series: float) -> list[Outcome]:
    """The same with series of one norm that end at other values."""
    changed = []
    for outcome in outcomes:
        if outcome.arm.norm == norm:
            rows = {
                name: Series(outcome.series["test_loss"].steps, np.full(51, value * (1 + outcome.seed / 1000)))
                for name, value in series.items()
            }
            outcome = made_outcome(outcome.arm, outcome.seed, converged(0.05), series={**outcome.series, **rows})
        changed.append(outcome)
    return changed


def test_use_is_said_where_nothing_speaks_against_it() -> None:
    plan, outcomes = settled({"batch": 0.1, "layer": 0.05, "rms": 0.2})
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert (only.kind, only.norms, only.conflicts) == ("use", ("LayerNorm",), ())
    sentence = answer_sentence(only)
    assert sentence.startswith(f"Use LayerNorm for {PLACE}: its deployed test loss (median 0.")
    assert "is better than that of every other norm, of which BatchNorm comes next with 0." in sentence
    assert sentence.endswith("no other learning rate was tried.")
    assert len(evidence_sentences(only)) == 2
    assert all(line.endswith(": LayerNorm better.") for line in evidence_sentences(only))


def test_the_evidence_is_in_one_unit_whatever_the_sizes() -> None:
    """One of the two differences alone would be said in percent: beside one of three times both are factors."""
    plan, outcomes = settled({"batch": 0.15, "layer": 0.05, "rms": 0.06})
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    effects = [line.partition(" (")[0] for line in evidence_sentences(only)]
    assert len(effects) == 2
    assert all(" times " in text and "%" not in text for text in effects)
    intervals = [line.partition("interval ")[2].partition(",")[0] for line in evidence_sentences(only)]
    assert all(text.endswith(" times") for text in intervals)
    plan, outcomes = settled({"batch": 0.07, "layer": 0.05, "rms": 0.06})
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert not any(" times" in line for line in evidence_sentences(only))


def test_a_norm_that_leads_before_anything_converged_is_not_recommended() -> None:
    only = advice({"batch": around(0.1, 0), "layer": around(0.05, 1), "rms": around(0.2, 2)})
    assert (only.kind, only.norms) == ("leads", ("LayerNorm",))
    sentence = answer_sentence(only)
    assert sentence.startswith(f"LayerNorm leads on {PLACE}: its deployed test loss")
    assert (
        "; but none of the norms had converged (doubling the steps would still lower the deployed test loss by about"
        in sentence
    )
    assert not any("onverged" in line for line in limit_sentences(only)), "the answer has said it"
    alone = advice({"layer": around(0.05, 1)})
    assert "onverged" not in answer_sentence(alone)
    assert any(line.startswith("Not converged: ") and "(LayerNorm)" in line for line in limit_sentences(alone))


def test_other_rates_that_were_tried_are_no_limit() -> None:
    plan, outcomes = settled({"batch": 0.1, "layer": 0.05}, sweep={"training.learning_rate": [1e-3, 1e-2]})
    first, second = advice_of(plan, arm_results(plan, outcomes))
    assert "no other learning rate" not in answer_sentence(first)
    assert "learning rate 0.01: its" in answer_sentence(second)


@pytest.mark.parametrize(
    ("series", "title"),
    [
        ({"test_accuracy": 0.5}, "test accuracy"),
        ({"canonical_loss": 0.3}, "final loss"),
        ({"test_loss": 0.4, "test_loss_running": 0.05}, "test loss"),
        ({"test_accuracy_running": 0.5}, "deployed test accuracy"),
    ],
)
def test_a_metric_that_disagrees_is_in_the_sentence(series: dict[str, float], title: str) -> None:
    """LayerNorm has the lower test loss, and BatchNorm is better in something else that matters."""
    plan, outcomes = settled({"batch": 0.1, "layer": 0.05})
    (only,) = advice_of(plan, arm_results(plan, replaced(outcomes, "layer", **series)))
    assert (only.kind, only.norms) == ("leads", ("LayerNorm",))
    assert (title, "BatchNorm") in [(item.metric.title, item.norm) for item in only.conflicts]
    assert "; but BatchNorm is better than LayerNorm in " in answer_sentence(only)
    assert title in answer_sentence(only)


def test_running_statistics_that_are_as_good_are_no_conflict() -> None:
    plan, outcomes = settled({"batch": 0.1, "layer": 0.05})
    (only,) = advice_of(plan, arm_results(plan, replaced(outcomes, "layer", test_loss_running=0.1)))
    assert (only.kind, only.conflicts) == ("use", ())


def test_equals_are_named_together() -> None:
    only = advice({"batch": around(0.05, 0), "layer": around(0.05, 1), "rms": around(0.2, 2)})
    assert (only.kind, set(only.norms)) == ("tied", {"BatchNorm", "LayerNorm"})
    assert "they are equivalent in deployed test loss, and better than RMSNorm" in answer_sentence(only)
    everything = advice({name: around(0.05, number) for number, name in enumerate(NORMS)})
    assert everything.kind == "tied"
    assert "they are equivalent in deployed test loss; but" in answer_sentence(everything)


def test_too_few_seeds_recommend_nothing() -> None:
    only = advice({"batch": around(0.1, 0, 3), "layer": around(0.05, 1, 3)}, seeds=3)
    assert only.kind == "undecided"
    sentence = answer_sentence(only)
    assert sentence.startswith(f"No norm can be recommended over another for {PLACE}: the evidence does not decide")
    assert only.seeds_needed is None, "so few say nothing of how many are needed"


def test_seeds_that_decide_what_is_clear_are_not_hidden_behind_those_of_a_near_tie() -> None:
    finals = {"batch": around(0.1, 0, 6, 0.3), "layer": around(0.05, 1, 6, 0.3), "rms": around(0.06, 2, 6, 0.3)}
    only = advice(finals, seeds=6)
    needed = [item.seeds_needed for item in only.evidence]
    assert (max(needed), len(needed)) == (only.seeds_needed, 3)
    apart = f"(about {min(needed)} seeds would decide the clearest of them, about {max(needed)} seeds the closest)"
    assert apart in answer_sentence(only)


def test_one_that_is_not_beaten_is_not_the_best_unless_it_beats_the_others() -> None:
    """B is surely worse than A, C could be anything: C stays in the answer."""
    wide = 0.06 * np.exp(1.5 * np.random.default_rng(3).standard_normal(30))
    only = advice({"batch": around(0.05, 0), "layer": around(0.1, 1), "rms": wide})
    assert only.kind == "undecided"
    assert set(only.norms) == {"BatchNorm", "RMSNorm"}
    assert "LayerNorm falls behind in deployed test loss, but between" in answer_sentence(only)


@pytest.mark.parametrize("count", [1, 3])
def test_a_run_that_diverges_forbids_to_use(count: int) -> None:
    plan, outcomes = settled({"batch": 0.2, "layer": 0.05})
    outcomes = [
        diverged(outcome.arm, outcome.seed) if outcome.arm.norm == "layer" and outcome.seed < count else outcome
        for outcome in outcomes
    ]
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert only.kind != "use"
    assert f"{count} run" in answer_sentence(only)
    assert " of LayerNorm diverged" in answer_sentence(only)


def test_what_is_better_perhaps_by_less_than_matters_is_not_recommended() -> None:
    plan, outcomes = settled({"batch": 0.109, "layer": 0.1})
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert [item.verdict for item in only.evidence] in (["b slightly better"], ["equivalent"])
    assert only.kind in {"leads", "tied"}


def test_a_model_that_is_deployed_with_poor_running_statistics_is_not_recommended() -> None:
    """The case of a momentum of .001: the best population statistics, and running ones that are worth nothing."""
    plan, outcomes = settled({"batch": 0.1, "batch:momentum=0.001": 0.05})
    poor = {"test_loss_running": 0.7, "test_accuracy_running": 0.507}
    (only,) = advice_of(plan, arm_results(plan, replaced(outcomes, "batch:momentum=0.001", **poor)))
    assert only.metric.name == "test_loss_deployed"
    assert only.norms == ("BatchNorm",)
    assert "in test loss" in answer_sentence(only), "what the population version says is in the sentence"


def test_a_norm_that_mostly_diverges_loses_and_is_told() -> None:
    broken = around(0.01, 0)
    broken[:27] = np.nan
    only = advice({"batch": broken, "layer": around(0.05, 1)})
    assert only.norms == ("LayerNorm",)
    assert "27 of 30 runs of BatchNorm diverged; they count as worst." in limit_sentences(only)


@pytest.mark.parametrize("ending", [failed, diverged])
def test_where_nothing_finished_there_is_no_answer_but_the_errors(ending: object) -> None:
    plan = article_plan(3, NORMS)
    outcomes = [ending(arm, seed) for arm in plan.arms for seed in range(3)]  # type: ignore[operator]
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert (only.kind, only.norms, only.evidence) == ("nothing finished", (), ())
    sentence = answer_sentence(only)
    assert sentence.startswith(f"There is no answer for {PLACE}, because no run finished: ")
    assert "equivalent" not in sentence
    if ending is failed:
        assert sentence.endswith(
            "9 runs of BatchNorm, LayerNorm and RMSNorm failed: RuntimeError: the third call was too much."
        )
    else:
        assert "3 runs of LayerNorm diverged" in sentence


def test_without_any_run_it_says_so() -> None:
    plan = article_plan(3, NORMS)
    (only,) = advice_of(plan, arm_results(plan, []))
    assert (only.kind, only.norms) == ("no runs", ())
    assert answer_sentence(only) == f"There is no answer for {PLACE}, because nothing has been trained yet."


def test_a_single_norm_is_not_compared() -> None:
    assert answer_sentence(advice({"batch": around(0.1, 0)})).endswith("so there is nothing to compare.")
    plan, outcomes = settled({"batch": 0.1, "layer": 0.05})
    outcomes = [failed(item.arm, item.seed) if item.arm.norm == "layer" else item for item in outcomes]
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert (only.kind, only.norms) == ("one norm", ("BatchNorm",))
    assert "20 of 20 runs of LayerNorm failed and are left out." in limit_sentences(only)
    assert "nothing to compare; 20 runs of LayerNorm failed: RuntimeError: the third call" in answer_sentence(only)


def test_a_sweep_gives_an_answer_for_each_condition_and_names_what_else_varies() -> None:
    plan, outcomes = settled(
        {"batch": 0.1, "layer": 0.05}, sweep={"model.dropout": [0.0, 0.5]}, training=Training(epochs=50)
    )
    answers = advice_of(plan, arm_results(plan, outcomes))
    assert ["dropout 0:" in answer_sentence(item, ["model.dropout"]) for item in answers] == [True, False]
    assert "dropout 0.5:" in answer_sentence(answers[1], ["model.dropout"])


@pytest.mark.parametrize(("accuracy", "kind"), [(0.5, "nothing learned"), (0.54, "nothing learned"), (0.56, "tied")])
def test_norms_that_learned_nothing_are_not_called_equivalent(accuracy: float, kind: str) -> None:
    """The losses agree, and so would those of models that answer without a look at their input."""
    plan, outcomes = settled({"batch": 0.69, "layer": 0.69})
    for norm in ("batch", "layer"):
        outcomes = replaced(outcomes, norm, test_accuracy=accuracy / 1.0095, test_loss=0.69)
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert only.kind == kind
    assert only.norms == (() if kind == "nothing learned" else ("BatchNorm", "LayerNorm"))
    assert [reach.nothing for reach in only.reaches] == [0.5, 0.5]
    if kind == "nothing learned":
        said = f"the median test accuracy is {accuracy:g}, where an answer without a look at the input has 0.5"
        assert answer_sentence(only).startswith(f"Nothing is known of the norms for {PLACE}, because none of them ")
        assert said in answer_sentence(only)
        assert only.evidence == ()


def test_a_norm_that_alone_learned_nothing_is_named() -> None:
    plan, outcomes = settled({"batch": 0.05, "layer": 0.69})
    outcomes = replaced(outcomes, "layer", test_accuracy=0.49, test_loss=0.69)
    outcomes = replaced(outcomes, "batch", test_accuracy=0.9, test_loss=0.05)
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert (only.kind, only.norms) == ("use", ("BatchNorm",))
    said = "the median test accuracy is 0.495, where an answer without a look at the input has 0.5"
    assert f"LayerNorm has not clearly learned anything ({said})" in answer_sentence(only)


def test_without_a_baseline_runs_are_held_against_their_start() -> None:
    plan, outcomes = settled({"batch": 1.0, "layer": 1.0})
    for outcome in outcomes:
        del outcome.series["test_accuracy"]
    (only,) = advice_of(plan, arm_results(plan, outcomes))
    assert only.kind == "nothing learned"
    assert "where it was 1 before the first step" in answer_sentence(only)


def test_losses_below_zero_are_compared_by_their_difference_and_never_called_equivalent() -> None:
    """Their logarithms would all be the same."""
    plan, outcomes = settled({"batch": 0.1, "layer": 0.1, "rms": 0.1})
    for norm, loss in {"batch": -2.0, "layer": -1.0, "rms": -1.0}.items():
        outcomes = replaced(outcomes, norm, test_accuracy=0.9, test_loss=loss)
    results = arm_results(plan, outcomes)
    items = {(item.a, item.b): item for item in advice_of(plan, results)[0].evidence}
    assert items["batch", "layer"].verdict == "a better"
    assert items["batch", "layer"].scale == "difference"
    assert items["batch", "layer"].difference == pytest.approx(-1.0, rel=0.02)
    (only,) = advice_of(plan, results)
    assert only.norms == ("BatchNorm",)
    compared = comparisons(plan.study, results, np.random.default_rng(0))
    same = next(item for item in compared if (item.a, item.b, item.metric) == ("layer", "rms", "test_loss_deployed"))
    assert same.verdict != "equivalent"
