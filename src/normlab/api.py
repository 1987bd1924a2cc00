"""Everything that commands do, from Python: running studies, growing folders, asking what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from normlab import reading
from normlab.comparison.study import comparison_study
from normlab.engine.choose import AUTO
from normlab.errors import InputError
from normlab.execute.rounds import train_in_rounds
from normlab.execute.run import Means, Progress, choose_engines, execute, warm_up
from normlab.guidance.ledger import Ledger, read_ledger, shipped_ledger
from normlab.guidance.precedent import find_kind, precedents
from normlab.guidance.query import Guidance, Query, answer
from normlab.job import Job, beside_study, prepare
from normlab.norms.assignment import parse_assignment
from normlab.norms.spec import NormSpec
from normlab.plan import Plan
from normlab.recipe import Cohort
from normlab.report.ledger import LedgerFolder, make_ledger
from normlab.results import Results, load, results_in
from normlab.store import directory
from normlab.store.merge import Merged
from normlab.store.merge import merge as merge_folders
from normlab.study.study import Study
from normlab.telling.teller import Teller


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    engine: str = AUTO,
    workers: int = 1,
    device: str = "cpu",
    quiet: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Results:
    """Trains a study and gives its results; runs that ``out`` holds already are not trained again.

    Arguments:
        study: a study, the name of a built-in one, or a TOML file.
        out: the folder to keep the runs in, which may hold runs of other studies; without it they live in the
            results alone.
        changes: values by dotted path that replace those of the study, such as ``{"training.epochs": 5}``.
        engine: name of an engine, or ``auto``.
        workers: processes or threads to train in. In a script the call must then stand under
            ``if __name__ == "__main__":``.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        quiet: say nothing on the error stream: not how much is about to be trained, by which engines, for how long and
            what that can decide, nor what is left out and why, nor how far the work has come.
        on_progress: called after every finished part of the work, and a few times a second in between.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        ExecutionError: a worker died; what was finished is kept in ``out``.

    >>> study = Study(name="quick", norms=["batch", "layer"], tasks=["article"], seeds=2)
    >>> run(study, changes={"training.epochs": 2}).metrics().select("norm", "seed", "status").rows()[0]
    ('batch', 0, 'finished')
    """
    with Teller(quiet) as teller:
        means = Means(engine, workers, device, teller.wait)
        return _run(study, out, changes, means, teller, on_progress)


def compare(
    build: Any,
    data: Any = None,
    norms: Sequence[str | NormSpec] = (),
    out: str | Path | None = None,
    *,
    loss: Any = None,
    step: Callable[[Any, Any], Any] | str | None = None,
    where: Any = None,
    name: str = "",
    memory: str | int | None = None,
    budget: str | float | None = None,
    checkpoints: str | Path | None = None,
    engine: str = AUTO,
    workers: int = 1,
    device: str = "cpu",
    quiet: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **fields: Any,
) -> Results:
    """Compares norms in the user's own model, on the user's own data: a study whose task is that model.

    The norms that the model has are the first that is compared, as ``own``, unless they are among ``norms`` anyway. For
    every run the model is made anew, its norms are replaced, and everything else starts from the same weights and sees
    the same batches. Samples are split anew for each seed, a fifth of them to test on and a fifth to tune on.

    Arguments:
        build: a function without arguments that makes the model, or (model, data, loss); such a triple or a model
            itself, whose weights all seeds then start from; or ``package.module:build``.
        data: arrays or tensors (X, y), a Dataset or DataLoader, a dictionary of arrays by the names of the model's
            arguments with targets as ``labels``, or ``{"train": ..., "test": ...}`` of these, which are not split; a
            function that gives one of them, or ``package.module:data``.
        norms: what to compare, as text or entries.
        out: the folder to keep the runs in; without it they live in the results alone.
        loss: a function of outputs and targets, or ``package.module:loss``. By default it is found: the model's own
            where it gives one, the cross-entropy of classes, the squared error of numbers.
        step: a function of the model and a batch, in the form that the data have, that gives the loss, or its name.
        where: which of the model's norms are compared, as for `normlab.swap`; the others stay as they are.
        name: of the model; that of its class if empty.
        memory: bytes that a run may need, as a number or text such as ``"8GB"``: each norm gets the largest batch that
            fits, at most ``batch_size`` where that is given, and sees as many samples as the others.
        budget: seconds for all runs together, as a number or text such as ``"20min"``: each run gets the same share,
            and each norm as many epochs as fit into it.
        checkpoints: the folder to keep the weights in that each run ends with, as ``NORM-SEED.safetensors``.
        engine, device, quiet, on_progress: as for `run`.
        workers: processes to train in; one where ``build``, ``data``, ``loss`` or ``step`` are objects, not texts that
            another process can look up.
        fields: of the study, its training and its policy by name: ``seeds=10, epochs=5, learning_rate=1e-2``,
            ``until_decided=True``, ``tune={"learning_rate": []}``.

    Raises:
        InputError: something that was given cannot be used; nothing was started.

    >>> import numpy as np
    >>> from torch import nn
    >>> def build():
    ...     return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> results = compare(build, (x, (x[:, 0] > 0).astype(int)), ["layer", "none"], seeds=2, epochs=1, batch_size=12)
    >>> results.metrics()["norm"].unique(maintain_order=True).to_list()
    ['@own', 'layer', 'none']
    """
    with Teller(quiet) as teller:
        means = Means(engine, workers, device, teller.wait)
        study = comparison_study(
            build, data, norms, loss=loss, step=step, where=where, name=name, memory=memory, budget=budget,
            checkpoints=None if checkpoints is None else reading.path(checkpoints),
            out=None if out is None else reading.path(out), means=means, fields=fields,
        )  # fmt: skip
        teller.remark(study)
        return _run(study, out, None, means, teller, on_progress)


def _run(
    study: Study | str | Path,
    out: str | Path | None,
    changes: Mapping[str, Any] | None,
    means: Means,
    teller: Teller,
    on_progress: Callable[[Progress], None],
) -> Results:
    """Trains a study in a folder, which is a temporary one where none is given."""

    def told(progress: Progress) -> None:
        teller.update(progress)
        on_progress(progress)

    with beside_study(study):
        job = prepare(study, out, changes=changes, **vars(means))
        if out is not None:
            store = directory.create(reading.path(out))
            teller.begin(job, means.workers, store.path)
            return _train(job, store, means, told)
        teller.begin(job, means.workers, None)
        with TemporaryDirectory(prefix="normlab-", ignore_cleanup_errors=True) as folder:
            results = _train(job, directory.create(Path(folder)), means, told)
    return Results(results.plan, results.outcomes, results.tested)


def _train(job: Job, store: directory.Store, means: Means, on_progress: Callable[[Progress], None]) -> Results:
    """Round after round, each with the engines of the runs that are new in it."""
    claims = [claim.as_dict() for claim in job.claims]
    choices = dict(job.choices)
    progress: Progress | None = None

    def train_round(plan: Plan, cohorts: tuple[Cohort, ...]) -> None:
        nonlocal progress
        store.keep_plan(plan, claims)
        new = [cohort for cohort in cohorts if cohort.recipe not in choices]
        more, without = choose_engines(new, means, store.engines() if new else {})
        choices.update(more)
        able = [cohort for cohort in cohorts if cohort.arm not in without]
        with store.timed():
            warm_up(cohorts, choices, means)
            progress = execute(
                plan, store, choices, cohorts=able, since=progress, on_progress=on_progress,
                workers=means.workers, processes=job.processes, device=means.device,
            )  # fmt: skip

    store.keep_plan(job.wanted, claims)
    plan = train_in_rounds(job.plan, store, job.strategies, train_round)
    if progress is None:
        execute(plan, store, choices, on_progress=on_progress)  # which says that all is done
    store.keep_plan(plan, claims)
    return results_in(store, plan, job.claims)


def advise(
    kind: str,
    batch_size: int | None = None,
    *,
    folders: Sequence[str | Path] = (),
    norms: Sequence[str] = (),
    ledger: str | Path | None = None,
) -> Guidance:
    """What is known of a question: which norm for that kind of model, and how sure that is.

    Arguments:
        kind: ``cnn``, ``recurrent``, ``transformer`` or ``perceptron``.
        batch_size: samples in a batch; any if None.
        folders: results of one's own that count beside the ledger.
        norms: only these are asked about; all if empty.
        ledger: a ``ledger.json`` in the place of the one that is built in.

    Raises:
        InputError: there is no such kind, batch size, folder or ledger.

    >>> advise("cnn", batch_size=2).sureness in {"decided", "mixed", "undecided", "far", "nothing"}
    True
    """
    query = Query(find_kind(kind), batch_size, tuple(str(parse_assignment(norm)) for norm in norms))
    known = shipped_ledger() if ledger is None else read_ledger(reading.path(ledger))
    own = (item for path in folders for item in precedents(load(path).evidence, str(path)))
    return answer(query, (*own, *known.precedents), known)


def ledger(folder: str | Path) -> Ledger:
    """The ledger of the results of claims, as ``normlab claims run`` keeps them: a folder for each study.

    Arguments:
        folder: in which these folders are, or one of them.

    Raises:
        InputError: there are no results in it.
    """
    place = reading.path(folder)
    manifests = (*place.glob(directory.MANIFEST), *sorted(place.glob(f"*/{directory.MANIFEST}")))
    if not manifests:
        rule = "DIR must hold results of claims, a folder for each study"
        raise InputError(rule, str(place), "Try normlab claims run --all first.")
    folders = []
    for manifest in manifests:
        seconds, day = directory.load(manifest.parent).times()
        folders.append(LedgerFolder(load(manifest.parent).evidence, seconds / 60 if seconds else None, day))
    return make_ledger(folders, version("normlab"))


def merge(sources: Sequence[str | Path], target: str | Path) -> Merged:
    """Brings folders together that were filled on several machines; see `normlab.store.merge.merge`.

    Raises:
        InputError: a source is no such folder, or the target cannot be written.
    """
    return merge_folders([reading.path(source) for source in sources], reading.path(target))
