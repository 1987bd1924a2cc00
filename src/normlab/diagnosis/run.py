"""Runs the rules on a model, which stays as it was."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.diagnosis.arguments import make_case
from normlab.diagnosis.baseline import fingerprints, read_baseline
from normlab.diagnosis.case import SEED, Case
from normlab.diagnosis.catalog import RULES
from normlab.diagnosis.measuring import batch_norms, groups_fitting
from normlab.diagnosis.result import Diagnosis
from normlab.diagnosis.spec import SEVERITIES, CannotTell, Evidence, Finding, Rule, Severity
from normlab.errors import InputError, describe_error, nearest, shortened
from normlab.recognition.inputs import samples_in
from normlab.recognition.state import kept, random_states_kept
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Codes = str | Sequence[str]


def doctor(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any = (),
    *,
    batch_size: int | None = None,
    loader: Any = None,
    optimizer: Any = None,
    grad_accumulation: int = 1,
    ddp: bool = False,
    fsdp: bool = False,
    amp: str | torch.dtype | None = None,
    checkpoint: Any = None,
    select: Codes = (),
    ignore: Codes = (),
    baseline: str | Path | None = None,
) -> Diagnosis:
    """Looks for mistakes with normalization in a model, each proven by figures that are measured on it.

    The model, its modes, gradients and buffers, and all random states are afterwards as they were. What is not
    given is not guessed: rules that need it are listed as not checked.

    Arguments:
        model: a module, a function that makes one or (model, inputs), or ``package.module:object`` of these.
        inputs: what it is called with: tensors, a mapping of names, or shapes as text such as ``"8,3,224,224"``
            (``"8,128:1000"`` for tokens). By default those of its function, else the first batch of `loader`.
        batch_size: samples of a training step on one device; by default the loader's.
        loader: the loader of training batches, a function that makes it, or ``package.module:object``.
        optimizer: the optimizer, a function of the model that makes it, or ``package.module:object`` of that.
        grad_accumulation: batches whose gradients are summed before a step.
        ddp: whether it is trained with DistributedDataParallel.
        fsdp: whether it is trained with fully sharded parameters.
        amp: the type of mixed precision, ``"bf16"`` or ``"fp16"``.
        checkpoint: a saved state: a mapping, or a file of safetensors or `torch.save`.
        select: codes, or beginnings of codes such as ``"NL1"``, of the rules to run; all by default.
        ignore: codes or beginnings of codes of the rules to leave out.
        baseline: a file of known findings, which are counted and not shown.

    Raises:
        InputError: an argument cannot be used, or the model does not run on the inputs for another reason than
            what is found.

    >>> from torch import nn
    >>> diagnosis = doctor(nn.Sequential(nn.Linear(8, 4), nn.GroupNorm(4, 4)), "16,8")
    >>> diagnosis.worst, diagnosis.of("NL101")[0].where
    ('error', '1')
    """
    rules = _rules(select, ignore)
    known = read_baseline(Path(baseline)) if baseline else frozenset()
    with _quiet():
        case = make_case(model, inputs, batch_size, loader, optimizer, grad_accumulation, ddp, fsdp, amp, checkpoint)
        return replace(_diagnosis(case, rules, known), source=_source(case.model, model))


def assert_healthy(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any = (),
    *,
    severity: Severity = "error",
    ignore: Codes = (),
    **training: Any,
) -> None:
    """Fails where the doctor finds something: a line for a test of your own model.

    Arguments:
        model: as for `normlab.doctor`.
        inputs: as for `normlab.doctor`.
        severity: the least that counts, ``"error"``, ``"warning"`` or ``"note"``.
        ignore: codes or beginnings of codes that do not count.
        training: what else `normlab.doctor` takes, such as `batch_size`.

    Raises:
        AssertionError: it found something; the message says what, where and what to do.
        InputError: an argument cannot be used.

    >>> from torch import nn
    >>> assert_healthy(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), "16,8")
    """
    if severity not in SEVERITIES:
        raise InputError("`severity` must be known", repr(severity), nearest(str(severity), SEVERITIES))
    diagnosis = doctor(model, inputs, ignore=ignore, **training)
    if diagnosis.at_least(severity):
        raise AssertionError(diagnosis.text())


def _rules(select: Codes, ignore: Codes) -> tuple[Rule, ...]:
    """The rules that are asked for, in the order of their codes.

    Raises:
        InputError: there are none of a code or beginning.
    """
    wanted, unwanted = (_beginnings(codes, name) for codes, name in ((select, "select"), (ignore, "ignore")))
    return tuple(
        rule
        for rule in RULES
        if (not wanted or rule.code.startswith(wanted)) and not (unwanted and rule.code.startswith(unwanted))
    )


def _beginnings(codes: Codes, argument: str) -> tuple[str, ...]:
    parts = codes.split(",") if isinstance(codes, str) else codes
    read = tuple(str(code).strip().upper() for code in parts if str(code).strip())
    for code in read:
        if not any(rule.code.startswith(code) for rule in RULES):
            rule = f"`{argument}` must name rules by a code, or by how codes begin"
            raise InputError(rule, repr(code), nearest(code, [rule.code for rule in RULES]))
    return read


def _diagnosis(case: Case, rules: Iterable[Rule], known: frozenset[str]) -> Diagnosis:
    seen: list[tuple[Rule, Evidence]] = []
    checked: list[str] = []
    unchecked: dict[str, tuple[str, ...]] = {}
    crashed: dict[str, str] = {}
    for rule in rules:
        if missing := tuple(case.words(need) for need in rule.needs if not case.knows(need)):
            unchecked[rule.code] = missing
            continue
        found: list[Evidence] = []
        try:
            with kept(case.model):
                found.extend(rule.check(case))
            checked.append(rule.code)
        except CannotTell as reason:
            unchecked[rule.code] = (str(reason),)
        except Exception as error:
            crashed[rule.code] = shortened(describe_error(error))
            continue
        seen += [(rule, evidence) for evidence in found]
    groups = groups_fitting(case.norms, case.uses) if seen else None
    findings = [rule.finding(evidence, groups) for rule, evidence in seen]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))  # stable: else by code and layer
    _refuse_unrunnable(case, findings)
    _refuse_infinite(case)
    marks = fingerprints(findings)
    new = tuple(finding for finding, mark in zip(findings, marks, strict=True) if mark not in known)
    name = type(case.model).__name__
    hidden = len(findings) - len(new)
    return Diagnosis(name, len(case.norms), new, hidden, tuple(checked), unchecked, crashed)


def _refuse_unrunnable(case: Case, findings: Iterable[Finding]) -> None:
    """A model that runs in neither mode, or does not train on one sample, and no rule says why: the inputs are wrong.

    Raises:
        InputError: they are.
    """
    training = case.training if case.knows("inputs") else None
    if training is None or training.error is None or any(finding.severity == "error" for finding in findings):
        return
    if case.evaluation.error:
        rule, given = "the model must run on its inputs", reading.described(case.evaluation.error)
        raise InputError(rule, given, "Give other `inputs`, or mend the model.")
    stopped = next((norm for norm in batch_norms(case) if training.stopped and norm.name == training.stopped[0]), None)
    if stopped is not None and samples_in(case.inputs) == 1:
        rule, given = "the model must train on its inputs", f"{describe_error(training.error)} in {stopped.name!r}"
        raise InputError(rule, given, "Give `inputs` of more samples, or `batch_size=1` where it is trained on one.")


def _refuse_infinite(case: Case) -> None:
    """Inputs that are not finite, and come through to a norm, on which nothing can be measured.

    Raises:
        InputError: they are such.
    """
    if not case.knows("inputs") or all(_is_finite(tensor) for tensor in tensors_of(case.inputs)):
        return
    reached = [name for name, calls in case.evaluation.calls.items() if not _is_finite(calls[0].before)]
    if reached:
        rule = "`inputs` must be finite numbers, or become such before a norm"
        raise InputError(rule, f"others, which come through to {reached[0]!r}", "Look at the data.")


def _is_finite(tensor: Tensor) -> bool:
    import torch

    return not tensor.is_floating_point() or tensor.layout is not torch.strided or bool(tensor.isfinite().all())


def _source(model: nn.Module, given: Any) -> tuple[str, int] | None:
    """The file of the user's that makes a model, relative to the current folder, and the line; None without one.

    Arguments:
        model: the model, whose class comes first.
        given: what the doctor was given: the model, what makes it, or a reference to one of these.
    """
    places: list[Any] = [type(model), given]
    if isinstance(given, str):
        places = [type(model), reading.imported(given, "`model`", object), sys.modules.get(given.partition(":")[0])]
    for place in places:
        try:
            file, (_, line) = inspect.getsourcefile(place), inspect.getsourcelines(place)
            path = Path(file or "").resolve().relative_to(Path.cwd())
        except (OSError, TypeError, ValueError):
            continue
        if "site-packages" not in path.parts:  # of an environment in the folder
            return path.as_posix(), max(line, 1)
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Random states are kept, what the model prints goes to standard error, and what it warns of is not for now."""
    import torch

    with random_states_kept(), warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        torch.manual_seed(SEED)  # of inputs that are drawn: what is found today is found tomorrow
        yield
