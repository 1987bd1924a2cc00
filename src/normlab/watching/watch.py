"""A guard for training loops: sees what goes wrong with normalization while a model trains."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from normlab.diagnosis.catalog import BY_CODE
from normlab.diagnosis.measuring import groups_fitting
from normlab.diagnosis.spec import SEVERITIES, Evidence, Finding
from normlab.errors import InputError, NormlabError, describe_error
from normlab.recognition.known import require_python
from normlab.tables import as_html, plural
from normlab.watching.judge import Moment
from normlab.watching.layers import Layers
from normlab.watching.picture import draw
from normlab.watching.signals import Counts, Signals
from normlab.watching.spec import History
from normlab.watching.text import finding_lines, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn
    from torch.optim import Optimizer

SCHEMA = 1
EVERY = 50
OnFinding = Callable[[Finding], object]


class UnhealthyError(NormlabError):
    """A strict watch found an error; the message says what, where and what to do."""

    exit_status = 1


def watch(
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    every: int = EVERY,
    grad_accumulation: int = 1,
    on_finding: OnFinding | None = None,
    strict: bool = False,
) -> Watch:
    """Watches the normalization layers of a model while it trains: ``with normlab.watch(model, optimizer) as w: ...``.

    It sees running statistics that are not those of the batches (NL301), batches so small that evaluation mode would
    change a layer's output (NL501), dead norms (NL502), running statistics that are not finite or beyond float16
    (NL305), frozen layers that moved (NL304), statistics updated twice a batch by activation checkpointing (NL303), by
    several calls in one pass (NL407), by passes in training mode without gradients (NL503), by further passes (NL505),
    and in steps that mixed precision skipped (NL504).

    The loop stays as it is: forward passes, backward passes and steps are counted by hooks. Every ``every``-th step,
    and at the steps 1, 2, 4, 8, ... before, a sample is taken: batch statistics in the layers, and one transfer of
    buffers, gamma and beta; never a forward pass. When the block ends, all hooks are gone. Copies and pickles of the
    model that are made within it hold hooks that do nothing.

    Arguments:
        model: the model, also one in DistributedDataParallel. Where parts of it are called in its place, as by a
            training step or in a container, each call of a part from outside is a forward pass. Of a compiled model,
            buffers, gamma and beta are watched alone.
        optimizer: its optimizer; without one, call ``w.step()`` after each step of the training.
        every: steps from one sample to the next.
        grad_accumulation: the number of batches whose gradients are summed before a step.
        on_finding: called with each new finding; by default errors and warnings are given as Python warnings.
        strict: whether a finding of severity "error" raises at the end of its step, and a fault of the watch itself
            too. Otherwise neither does; after a fault of its own the watch is silent, and says so.

    Raises:
        InputError: an argument cannot be used.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    >>> with watch(model, optimizer, on_finding=lambda finding: print(finding.code, finding.message)) as w:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(64, 4)).square().mean().backward()
    ...         optimizer.step()
    ...         with torch.no_grad():
    ...             loss = model(torch.randn(16, 4)).square().mean()  # a validation without model.eval()
    NL503 1 forward pass in training mode without gradients, beside 2 with them, updated the statistics of 1 layer
    >>> [(finding.code, finding.figures["passes"]) for finding in w.findings]
    [('NL503', 4.0)]
    """
    from torch import nn
    from torch.optim import Optimizer

    if not isinstance(model, nn.Module):
        raise InputError("`model` must be a torch.nn.Module", type(model).__name__, "Give the model that is trained.")
    require_python(model)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        advice = "Leave `optimizer` out, and call w.step() after each step."
        raise InputError("`optimizer` must be a torch.optim.Optimizer", type(optimizer).__name__, advice)
    for name, value in (("every", every), ("grad_accumulation", grad_accumulation)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"`{name}` must be a whole number of at least 1", value, f"Try `{name}=1`.")
    if on_finding is not None and not callable(on_finding):
        raise InputError("`on_finding` must be a function of a finding", on_finding, "Try `on_finding=print`.")
    return Watch(model, optimizer, every, grad_accumulation, on_finding, strict)


class Watch:
    """What `watch` gives: a context that listens to a training loop, and afterwards holds what it found.

    Attributes:
        notes: what could not be watched, and why.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        every: int,
        grad_accumulation: int,
        on_finding: OnFinding | None,
        strict: bool,
    ) -> None:
        self._every, self._grad_accumulation = every, grad_accumulation
        self._on_finding, self._strict = on_finding, strict
        self.notes: list[str] = []
        self._findings: dict[tuple[str, str], Finding] = {}
        self._news: list[Finding] = []
        self._state = "new"
        self._model_name = type(model).__name__
        self._counts_itself = optimizer is not None
        groups = optimizer.param_groups if optimizer is not None else ()
        learned = [parameter for group in groups for parameter in group["params"]]
        self._steps_others = bool(learned) and _are_others(learned, model)
        self._layers = Layers(model, learned, lambda: self._signals.mode, self._guarded)
        self._signals = Signals(model, optimizer, grad_accumulation, self._step_ended, self._guarded)
        self._groups = groups_fitting([layer.found for layer in self._layers], {})
        self._since, self._heard_from = Counts(), Counts()

    def __enter__(self) -> Self:
        """Begins to listen.

        Raises:
            InputError: it was used before.
        """
        if self._state != "new":
            raise InputError("a watch is for one `with`", "one that was used before", "Call normlab.watch again.")
        self._state = "listening"
        self._guarded(self._begin)()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:  # the loop's own error is what is to be seen
            self._strict, self._on_finding = False, _say_nothing
        try:
            self._guarded(functools.partial(self._sample, last=True))()
        finally:
            self._layers.stop_listening()
            self._signals.remove()
            failed, self._state = self._state == "failed", "over"
        if kind is None and not failed:
            self._say_unseen()

    def step(self, *, skipped: bool = False) -> None:
        """Says that a step of the training ended; for loops without an optimizer of torch.

        Arguments:
            skipped: whether the weights were left as they were, as gradients were not finite.

        Raises:
            InputError: the watch was given an optimizer, whose steps it counts itself.
        """
        if self._counts_itself:
            advice = "Leave one of them out."
            raise InputError("a watch with an `optimizer` counts its steps itself", "a call of w.step()", advice)
        self._guarded(self._signals.step)(skipped)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the worst first, one of each kind for a layer.

        Among their figures are ``first_step`` and ``last_step``. Those of the loop have an empty ``where``.
        """
        return tuple(sorted(self._findings.values(), key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def history(self) -> Mapping[str, History]:
        """The figures of each layer over the steps, by the layer's name."""
        return {layer.name: layer.history for layer in self._layers}

    def text(self) -> str:
        """What was found, for people."""
        return summary(self._model_name, self.findings, len(self._layers), self._signals.counts.steps, self.notes)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html([self.text()])

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON; the names stay stable within a schema."""
        return {
            "schema": SCHEMA,
            "kind": "watch",
            "model": self._model_name,
            "layers": len(self._layers),
            **self._signals.counts.as_dict(),
            "findings": [finding.as_dict() for finding in self.findings],
            "history": {name: [sample.as_dict() for sample in samples] for name, samples in self.history.items()},
            "notes": list(self.notes),
        }

    def plot(self) -> Figure:
        """Draws gap and drift of each layer over the steps.

        Raises:
            InputError: no layer that normalizes by batches was measured.
        """
        return draw(self._model_name, self.history)

    def _guarded(self, act: Callable[..., None]) -> Callable[..., None]:
        """The same function, whose errors do not reach the training; afterwards new findings are told."""

        def guarded(*arguments: Any) -> None:
            if self._state != "listening":
                return
            try:
                act(*arguments)
            except Exception as error:
                self._state = "failed"  # hooks of the optimizer stay until the end: it is going through them now
                self._layers.stop_listening()
                if self._strict:
                    raise
                steps = self._signals.counts.steps
                self.notes.append(f"the watch ended at step {steps} by a fault of its own: {describe_error(error)}")
                warnings.warn(self.notes[-1], RuntimeWarning, stacklevel=2)
            if self._news:
                self._tell()

        return guarded

    def _begin(self) -> None:
        if not len(self._layers):
            self.notes.append("the model holds no normalization layer")
        if self._layers.compiled:
            self.notes.append("the model is compiled: buffers, gamma and beta are watched alone")
        if self._steps_others:
            self._say("the optimizer holds no parameter of the model: make it from the model that is trained")
        self._layers.begin()
        self._signals.begin(self._layers.holders(), [layer.gamma for layer in self._layers])
        self._layers.listen()

    def _step_ended(self) -> None:
        step = self._signals.counts.steps
        if self._is_due(step):
            self._sample()
        if self._is_due(step + 1) and self._signals.counts.passes:  # else a compiled function calls the model
            self._heard_from = self._signals.counts.copy()
            self._layers.listen()

    def _is_due(self, step: int) -> bool:
        return step % self._every == 0 or (step < self._every and step & (step - 1) == 0)

    def _sample(self, last: bool = False) -> None:
        self._layers.stop_listening()
        self._signals.settle()
        total = self._signals.counts.copy()
        heard = total.since(self._heard_from)
        moment = Moment(total.since(self._since), total, self._grad_accumulation, heard, last)
        self._since = total
        for code, evidence in self._layers.sample(moment):
            self._add(code, evidence, total.steps)

    def _say_unseen(self) -> None:
        """Says where a loop came to its end and no step was seen, so that nothing was looked at."""
        counts = self._signals.counts
        if counts.passes and not counts.steps and not counts.skipped:
            why = "the optimizer made none" if self._counts_itself else "give the optimizer, or call w.step()"
            self._say(f"no step was seen in {plural(counts.passes, 'forward pass')}: {why}")
        if counts.steps and len(self._layers) and self._signals.mode is None and not self._layers.compiled:
            why = "watch the model that is called; inside a compiled function buffers, gamma and beta are seen alone"
            self.notes.append(f"no forward pass was seen in {plural(counts.steps, 'step')}: {why}")

    def _say(self, note: str) -> None:
        """Keeps a note, and warns of it."""
        self.notes.append(note)
        warnings.warn(f"normlab.watch: {note}", RuntimeWarning, stacklevel=4)

    def _add(self, code: str, evidence: Evidence, step: int) -> None:
        """Keeps a finding, and whether it is news: of a layer that had none of this kind, or worse than before."""
        finding = BY_CODE[code].finding(evidence, self._groups)
        known = self._findings.get((code, evidence.where))
        first = known.figures["first_step"] if known else step
        figures = {**finding.figures, "first_step": float(first), "last_step": float(step)}
        finding = self._findings[code, evidence.where] = replace(finding, figures=figures)
        if known is None or SEVERITIES.index(finding.severity) < SEVERITIES.index(known.severity):
            self._news.append(finding)

    def _tell(self) -> None:
        """Tells new findings, and ends a strict training that is broken."""
        news, self._news = self._news, []
        if self._on_finding is not None:
            for finding in news:
                self._on_finding(finding)
        else:
            for lines in finding_lines(finding for finding in news if finding.severity != "note"):
                warnings.warn("\n".join(lines), UserWarning, stacklevel=3)
        errors = [finding for finding in news if finding.severity == "error"]
        if self._strict and errors:
            raise UnhealthyError("\n".join("\n".join(lines) for lines in finding_lines(errors)))


def _say_nothing(finding: Finding) -> None:
    pass


def _are_others(learned: Iterable[Tensor], model: nn.Module) -> bool:
    """Whether none of the parameters that learn are the model's, of which some should."""
    ours = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    return bool(ours) and not any(id(parameter) in ours for parameter in learned)
