"""What runs in a table differ in beside the arm: a verdict is about that too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from normlab.judging.decimals import NO_NUMBER
from normlab.judging.read import PREFIXES, RunTable, bare_name, is_unnamed, text_of
from normlab.judging.rows import NAMES, STEPS
from normlab.judging.runs import TAGS, VALUES, Columns, Key, Strata, keys_of, place_of
from normlab.judging.spec import HIGHER, LOWER
from normlab.stats.pairing import Comparison
from normlab.wording.judging import judge_sentence, judge_text, listed

MOST_SETTINGS = 8
FEW = 4  # runs for each value, on average, where a setting took few values
OF_SETTINGS = ("params.", "params_", "config.", "config/", "hparams.", "hparams/")  # how trackers mark settings
_NEVER = {"seed", "seeds", "id", "uuid"}
_MEASURED = {
    *(LOWER | HIGHER | _NEVER),
    *("score", "reward", "metric", "grad", "gradient", "time", "runtime", "duration", "elapsed", "seconds", "memory"),
    *("flops", "gpu", "converged", "success", "solved", "failed", "diverged", "crashed", "parameters"),
}
_SET = {  # and were drawn, so that each run may have its own
    *("lr", "learningrate", "wd", "weightdecay", "decay", "momentum", "beta", "betas", "eps", "epsilon", "clip"),
    *("clipping", "warmup", "dropout", "smoothing", "mixup", "cutmix", "batchsize", "epochs", "optim", "optimizer"),
    *("schedule", "scheduler", "dataset", "model", "arch", "architecture", "depth", "width", "layers", "activation"),
    *("augment", "augmentation", "precision"),
}
_SET_OF_FEW = {  # and were chosen among few, or else are part of the name of a result
    *("batch", "hidden", "dim", "heads", "channels", "units", "kernel", "groups", "patch", "tau", "alpha", "gamma"),
    *("sigma", "temperature", "ema", "noise", "accumulation", "dtype", "placement"),
}
_KEPT = {  # what trackers keep of a run, and words of results
    *("name", "run", "dir", "path", "uri", "url", "host", "hostname", "node", "device", "devices", "cuda", "port"),
    *("pid", "user", "author", "state", "status", "note", "notes", "tag", "tags", "created", "updated", "date"),
    *("timestamp", "start", "started", "end", "ended", "finished", "version", "commit", "git", "branch", "file"),
    *("log", "logs", "output", "checkpoint", "ckpt", "sweep", "job", "trial", "number", "index", "experiment"),
    *("artifact", "command", "worker", "workers", "exit", "code", "train", "val", "valid", "validation", "test"),
    *("eval", "dev", "best", "final", "last", "mean", "std", "epoch", "step", "iteration", "stopped", "count"),
    *("correct", "wins", "rank", "return", "statistics", "agent", "os", "python", "platform", "machine", "cpu"),
    *("cluster", "queue", "partition", "owner", "entity", "project", "group", "comment", "reason", "message", "color"),
}


def differing_settings(
    table: RunTable,
    rows: Sequence[int],
    columns: Columns,
    strata: Strata,
    judged: Sequence[Comparison],
    metrics: set[str],
) -> Iterator[str]:
    """Settings that differ between arms, or between the runs of pairs, as sentences.

    Arguments:
        table: what the runs come from.
        rows: those that are judged.
        columns: what they say.
        strata: the values of the primary metric.
        judged: its comparisons.
        metrics: the columns of metrics.
    """
    others = _others(table, columns, metrics)
    by_arm = {name: _by_arm(table, rows, columns, name) for name in others}
    differing = [name for name, values in by_arm.items() if _goes_with_arms(name, values)]
    if differing:
        yield judge_sentence("differs", columns=listed(differing))
    keys = keys_of(table, rows, columns)
    runs = {
        name: values
        for name in others
        if any(len(values) > 1 for values in by_arm[name].values())
        and (values := _setting(table, rows, keys, name)) is not None
    }
    yield from _within_pairs(runs, bare_name(columns.arm), strata, [item for item in judged if item.is_paired])
    yield from _apart(runs, bare_name(columns.arm), strata, [item for item in judged if not item.is_paired])


def common_settings(table: RunTable, rows: Sequence[int], columns: Columns, metrics: set[str]) -> Iterator[str]:
    """Settings that are the same in all runs, as a sentence."""
    same = []
    for name in _others(table, columns, metrics):
        every = set().union(*_by_arm(table, rows, columns, name).values())
        if len(every) == 1 and every != {""}:
            same.append(f"{name} {next(iter(every))}")
    if same:
        yield judge_sentence("setting", values=listed(same[:MOST_SETTINGS]))


def _others(table: RunTable, columns: Columns, metrics: set[str]) -> list[str]:
    """The columns that nothing is read from."""
    used = {columns.arm, columns.seed, columns.step, *columns.conditions, *metrics}
    ignored = {*TAGS, *VALUES, *STEPS}
    return [
        name
        for name in table.columns
        if name not in used and name.lower() not in ignored and not name.startswith("metrics.")
    ]


def _by_arm(table: RunTable, rows: Sequence[int], columns: Columns, name: str) -> dict[str, set[str]]:
    arms, cells = table.columns[columns.arm], table.columns[name]
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(text_of(arms[row]), set()).add("" if is_unnamed(cells[row]) else text_of(cells[row]))
    return found


def _goes_with_arms(name: str, by_arm: Mapping[str, set[str]]) -> bool:
    """Whether each arm has a value of its own that is more than another name of it.

    It is where arms share one, where the values are numbers, or where the column is named as a setting.
    """
    if any(len(values) > 1 for values in by_arm.values()):
        return False
    values, words = [next(iter(found)) for found in by_arm.values()], _words(name)
    if len(set(values)) == 1:
        return False
    if all(value.replace(".", "").replace("e-", "").isdigit() for value in values):
        return not words & _MEASURED or name.lower().startswith(OF_SETTINGS)
    return len(set(values)) < len(values) or ("" not in values and bool(words & _SET))


def _setting(table: RunTable, rows: Sequence[int], keys: Sequence[Key], name: str) -> dict[Key, Any] | None:
    """The value that each run had of a setting; None if the column is none, or changes within a run.

    Nothing in a table says which columns were set and which measured, so that names must: those of trackers that mark
    settings, else usual ones. A column of text by another name is one if it took few values. Dates, ids and names,
    which differ from run to run, are none.
    """
    cells, marked = table.columns[name], [one for one in table.columns if one.lower().startswith(OF_SETTINGS)]
    if not _may_be_set(name, name in marked):
        return None
    values: dict[Key, Any] = {}
    for row, key in zip(rows, keys, strict=True):
        value = _plain(cells[row])
        if value is not None and values.setdefault(key, value) != value:
            return None
    distinct = set(values.values())
    if _differs_by_nature(list(values.values())):
        return None
    words, is_few = _words(name), len(distinct) * FEW <= len(values)
    if words & _SET:
        return values
    if words & _KEPT - ({"name"} if name in marked else set()) or name.lower() in NAMES:
        return None
    if name in marked:
        return values
    are_texts = all(isinstance(value, str) and value.lower() not in {"true", "false"} for value in distinct)
    return values if is_few and (words & _SET_OF_FEW or (are_texts and not marked)) else None


def _may_be_set(name: str, is_marked: bool) -> bool:
    """Whether a name is none of a result, nor of what trackers add; a prefix of settings outweighs words of results."""
    words = _words(name)
    if is_marked:
        return not words & _NEVER
    return not (words & _MEASURED or "/" in name or name.startswith("_") or name.lower().startswith(PREFIXES))


def _differs_by_nature(values: Sequence[Any]) -> bool:
    """Whether values are dates, numbers that count runs, or texts that most runs have their own of."""
    if any(isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) for value in values):
        return True
    if all(isinstance(value, float) for value in values):
        return len(values) > 1 and _counts_up(values)
    return len(set(values)) > len(values) / 2


def _words(name: str) -> set[str]:
    """The words of a name, with numbers behind them and without, and each two in a row as one.

    >>> sorted(_words("params.maxBatch_size2"))
    ['batch', 'batchsize', 'max', 'maxbatch', 'size', 'size2']
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    found = bare_name(spaced)
    parts = re.findall(r"[a-z]+", found)
    return {*parts, *re.findall(r"[a-z]+\d+", found), *map("".join, pairwise(parts))}


def _plain(cell: object) -> object:
    """A cell as a number or as text; None where it is empty, as is a setting that other arms do not have."""
    if is_unnamed(cell) or (text := text_of(cell)).lower() in NO_NUMBER | {"nan"}:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _counts_up(values: Sequence[float]) -> bool:
    """Whether numbers are whole and each above the one before, as ids are."""
    return all(value.is_integer() for value in values) and all(before < after for before, after in pairwise(values))


def _within_pairs(
    runs: Mapping[str, Mapping[Key, Any]], arm: str, strata: Strata, paired: Sequence[Comparison]
) -> Iterator[str]:
    total, differ = 0, Counter[str]()
    for item in paired:
        place, arms = place_of(item), strata.at(item)
        for seed in arms[item.a].keys() & arms[item.b].keys():
            total += 1
            for name, values in runs.items():
                a, b = values.get((place, item.a, seed)), values.get((place, item.b, seed))
                differ[name] += a is not None and b is not None and a != b
    named = [name for name in runs if differ[name]]
    if named:
        counts = [judge_text("varied_in", column=name, differ=differ[name], pairs=total) for name in named]
        yield judge_sentence("varied", columns=listed(counts), arm=arm, way=_way(named, runs, arm))


def _apart(
    runs: Mapping[str, Mapping[Key, Any]], arm: str, strata: Strata, apart: Sequence[Comparison]
) -> Iterator[str]:
    named = [name for name, values in runs.items() if any(len(set(_taken(values, strata, item))) > 1 for item in apart)]
    if named:
        yield judge_sentence("varied_apart", columns=listed(named), arm=arm, way=_way(named, runs, arm))


def _taken(values: Mapping[Key, Any], strata: Strata, item: Comparison) -> Iterator[frozenset[tuple[Any, int]]]:
    """How often the runs of each of two arms took each value."""
    place, arms = place_of(item), strata.at(item)
    for arm in (item.a, item.b):
        found = [values[place, arm, seed] for seed in arms[arm] if (place, arm, seed) in values]
        yield from [frozenset(Counter(found).items())] * bool(found)


def _way(named: Sequence[str], runs: Mapping[str, Mapping[Key, Any]], arm: str) -> str:
    """What to do about it: compare within values where there are few, else train anew."""
    few = [name for name in named if len(set(runs[name].values())) * FEW <= len(runs[name])]
    if few == list(named):
        return judge_text("varied_within", column=few[0], arm=arm)
    return judge_text("varied_anew", arm=arm)
