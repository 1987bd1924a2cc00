"""The view over a sweep in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from made_results import LABELS, made_results
from normlab.stats.comparisons import comparisons, options_of
from normlab.stats.overview import overview
from normlab.study.study import Study
from normlab.wording.overview import overview_sentence

GN = "group:groups=5"
ON_DIGITS = "On “digits” (new data for each seed), in test loss, over"


def sentence(study: Study, levels: Any) -> str:
    results = made_results(study, lambda *place: {"test_loss": levels(*place)}, {})
    compared = comparisons(study, results, np.random.default_rng(0))
    view = overview(study, results, compared, options_of(study), np.random.default_rng(0))
    return overview_sentence(view, {norm: LABELS.get(norm, norm) for norm in study.norms})


def study(**fields: Any) -> Study:
    return Study(name="mine", norms=["batch", "layer"], tasks=["digits"], seeds=16, **fields)


def better_in_large_batches(norm: str, task: str, at: Mapping[str, Any]) -> float:
    return 0.05 if (norm == "batch") == (at["training.batch_size"] > 32) else 0.1


def test_where_which_norm_is_best_and_where_that_flips() -> None:
    swept = study(sweep={"training.batch_size": [8, 16, 64, 256]})
    assert sentence(swept, better_in_large_batches) == (
        f"{ON_DIGITS} batch size 8, 16, 64 and 256: LayerNorm is best at batch size 8 to 16; BatchNorm is "
        "best at batch size 64 to 256; LayerNorm and BatchNorm change places between batch size 16 and 64."
    )


def test_a_slight_win_is_said_as_one() -> None:
    swept = study(sweep={"training.batch_size": [8, 64]})

    def barely(norm: str, task: str, at: Mapping[str, Any]) -> Any:
        noise = np.random.default_rng(len(norm)).standard_normal(16)
        return 0.1 * np.exp(0.09 * (norm == "layer") + 0.03 * noise)

    assert sentence(swept, barely) == (
        f"{ON_DIGITS} batch size 8 and 64: BatchNorm is best, perhaps by less than matters, at all of them."
    )


def test_stretches_are_of_neighbours_only() -> None:
    swept = study(sweep={"training.batch_size": [8, 16, 64, 256]})

    def equal_in_the_middle(norm: str, task: str, at: Mapping[str, Any]) -> float:
        return 0.05 if norm == "batch" or at["training.batch_size"] in (16, 64) else 0.1

    assert sentence(swept, equal_in_the_middle) == (
        f"{ON_DIGITS} batch size 8, 16, 64 and 256: BatchNorm is best at batch size 8 and 256; BatchNorm and LayerNorm "
        "do equally well at batch size 16 to 64."
    )


def test_one_answer_for_every_condition_needs_no_places() -> None:
    swept = study(sweep={"training.batch_size": [16, 64, 256]})
    assert sentence(swept, lambda norm, *_: 0.05 if norm == "batch" else 0.1) == (
        f"{ON_DIGITS} batch size 16, 64 and 256: BatchNorm is best at all of them."
    )
    two = study(sweep={"training.batch_size": [8, 64], "training.epochs": [10, 20]})
    assert sentence(two, lambda *_: 0.1) == (
        f"{ON_DIGITS} batch size 8 and 64, epochs 10 and 20: BatchNorm and LayerNorm do equally well at all of them."
    )


def test_several_fields_are_counted() -> None:
    swept = study(sweep={"training.batch_size": [8, 64], "training.epochs": [10, 20, 30]})
    text = sentence(swept, better_in_large_batches)
    assert text == (
        f"{ON_DIGITS} batch size 8 and 64, epochs 10, 20 and 30: LayerNorm is best in 3 of the 3 conditions with batch "
        "size 8; BatchNorm is best in 3 of the 3 conditions with batch size 64; LayerNorm and BatchNorm change places "
        "between "
        "batch size 8 and 64 (epochs 10), LayerNorm and BatchNorm change places between batch size 8 and 64 (epochs "
        "20), and 1 more."
    )


def test_what_holds_throughout_is_said() -> None:
    swept = Study(
        name="mine",
        norms=["batch", "layer", GN],
        tasks=["digits"],
        seeds=16,
        sweep={"training.batch_size": [8, 16, 64, 256]},
    )

    def group_is_as_good(norm: str, task: str, at: Mapping[str, Any]) -> float:
        return 0.05 if norm == GN else better_in_large_batches(norm, task, at)

    assert sentence(swept, group_is_as_good).endswith(
        "Group:groups=5 is beaten in none of the 4 conditions, BatchNorm in 2 and LayerNorm in 2."
    )

    def one_each(norm: str, task: str, at: Mapping[str, Any]) -> float:
        place = [8, 16, 64].index(min(at["training.batch_size"], 64))
        return 0.05 if swept.norms.index(norm) == place else 0.1

    assert sentence(swept, one_each).endswith(
        f"No norm holds throughout: of the 4 conditions, another norm beats {GN} in 2, BatchNorm in 3 and LayerNorm in "
        "3."
    )


def test_one_condition_needs_no_view() -> None:
    assert sentence(study(), lambda *place: 0.1) == ""


def test_tasks_are_a_field_too() -> None:
    several = Study(name="mine", norms=["batch", "layer"], tasks=["digits", "article"], seeds=16)
    text = sentence(several, lambda norm, task, at: 0.05 if (norm == "batch") == (task == "digits") else 0.1)
    assert text == (
        "On “digits” (new data for each seed) and “article” (new data for each seed), in test loss, over task digits "
        "and article: BatchNorm is best at task digits; LayerNorm is best at task article."
    )


def test_fixed_data_are_said() -> None:
    swept = study(sweep={"training.batch_size": [16, 64]}, fixed_data=True)
    text = sentence(swept, lambda norm, *_: 0.05 if norm == "batch" else 0.1)
    assert text == (
        "On “digits” (the same data for all seeds), in test loss, over batch size 16 and 64: BatchNorm is best at all "
        "of them."
    )
