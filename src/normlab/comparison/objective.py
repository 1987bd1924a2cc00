"""What a user's model minimizes: found from the data, from the model's own outputs, or given as a function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.comparison.form import Form
from normlab.comparison.losses import (
    AXIS_ACCURACY,
    AXIS_CROSS_ENTROPY,
    BINARY_ACCURACY,
    BINARY_CROSS_ENTROPY,
    MODEL_LOSS,
    kept_accuracy,
)
from normlab.comparison.table import Table
from normlab.comparison.wrappers import lightning_step, logits_of, loss_of_model, main_output, stepping, tensors
from normlab.errors import InputError
from normlab.norms.batches import TARGETS, known, sizes_of
from normlab.recognition.state import kept
from normlab.recognition.trace import call
from normlab.tasks.data import Array
from normlab.tasks.losses import ACCURACY, CROSS_ENTROPY, R2, SQUARED_ERROR, Loss, Score
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Step = Callable[[Any, Any], Any]
TRIED = 8  # samples that pass through the model, to see what it gives and where its norms stand
_UNLEARNED = "Leave out .detach(), .item(), torch.no_grad() and argmax, and let some of the model's weights learn."
_STEP = "Give `step`, a function of the model and a batch that gives the loss."


@dataclass(frozen=True, eq=False)
class Objective:
    """What is minimized.

    Arguments:
        title: what it is, for readers.
        form: how the model is called for it.
        loss: of outputs and targets.
        scores: measured beside it.
        classes: how many there are; 0 where targets are none.
        output_shape: of the model's outputs for a sample; empty where it gives its loss itself.
    """

    title: str
    form: Form
    loss: Loss
    scores: tuple[Score, ...] = ()
    classes: int = 0
    output_shape: tuple[int, ...] = ()


def find_objective(model: nn.Module, table: Table, loss: Any = None, step: Step | None = None) -> Objective:
    """What a model minimizes on data.

    Arguments:
        model: one of the user's models.
        table: the training data.
        loss: a function of outputs and targets, or None to find one.
        step: a function of the model and a batch that gives the loss; then nothing else is looked at.

    Raises:
        InputError: model and data do not fit together, or there is no loss that fits.
    """
    if step is not None and loss is not None:
        raise InputError("what is minimized must be said once", "`loss` and `step`", "Leave one of them out.")
    if step is None and loss is None and callable(getattr(model, "training_step", None)):
        if not getattr(model, "automatic_optimization", True):
            rule = "`training_step` must leave the optimization to its caller"
            raise InputError(rule, "automatic_optimization = False", f"A comparison minimizes one loss. {_STEP}")
        return _stepped("training_step", lightning_step, model, table)
    if step is not None:
        return _stepped("step", step, model, table)
    targets = _target_column(table)
    own = _own_loss(model, table, targets) if loss is None and table.form == "named" else None
    objective = own or _of_outputs(model, table, targets, loss)
    _require_gradient(objective.form, model, table)
    return objective


def _require_gradient(form: Form, model: nn.Module, table: Table) -> None:
    """Refuses a model that nothing can be learned with, before all of its runs fail."""
    import torch

    with kept(model), torch.enable_grad():
        outputs = main_output(call(form.wrap(model).train(), form.inputs_of(table.take(slice(TRIED)), model)))
    if outputs is None or not outputs.requires_grad:
        given = "outputs without one" if form.targets else "a loss without one"
        raise InputError("what the model gives must have a gradient in training", given, _UNLEARNED)


def _target_column(table: Table) -> str:
    if table.form == "pair":
        return "1"
    found = [name for name in TARGETS if name in table.columns] if table.form == "named" else []
    if not found:
        several = "an array alone" if len(table.columns) == 1 else f"{len(table.columns)} arrays"
        given = f"columns {', '.join(table.columns)}" if table.form == "named" else several
        rule = f"a batch must be (inputs, targets), or a dictionary with one of {', '.join(TARGETS)}"
        raise InputError(rule, given, _STEP)
    return found[0]


def _stepped(name: str, step: Step, model: nn.Module, table: Table) -> Objective:
    """The loss that a function of model and batch gives; all columns are inputs.

    It is tried as it is called later: for training, and for held-out data, where there are no gradients.
    """
    import torch

    def wrap(model: nn.Module) -> nn.Module:
        return stepping(model, step, table)

    columns = tensors(table.take(slice(TRIED)).columns, model)
    rule = f"`{name}` must give the loss of a batch"
    batch = sizes_of(tensors_of(table.batch(columns)))
    advice = f"Mend it: beside the model it gets a batch in the form of the data, with {batch}."
    with kept(model), torch.enable_grad():
        loss = reading.called(lambda: wrap(model).train()(**columns), rule, advice=advice)
    if not loss.requires_grad:
        raise InputError(f"the loss of `{name}` must have a gradient", "a number without one", _UNLEARNED)
    with kept(model), torch.no_grad():
        rule = f"{rule} without gradients too, as on held-out data"
        advice = "Leave .backward() to the comparison, and compute other gradients under torch.enable_grad()."
        reading.called(lambda: wrap(model).eval()(**columns), rule, advice=advice)
    title = "the loss of step" if name == "step" else "the loss of its training_step"
    return Objective(title, Form(wrap, tuple(table.columns), single=False), MODEL_LOSS)


def _own_loss(model: nn.Module, table: Table, targets: str) -> Objective | None:
    """The loss that a model computes itself when it gets the targets, as those of transformers do; None if it does not.

    Where that is the cross-entropy of its logits on a few samples, the logits are taken, so that accuracy is known.
    """
    import torch

    few = table.take(slice(TRIED))
    columns = known(few.columns, model)
    outputs = _outputs_of(model, tensors(columns, model), optional=True)
    loss, logits = getattr(outputs, "loss", None), getattr(outputs, "logits", None)
    if loss is None or loss.numel() != 1:
        return None
    labels, least = few.columns[targets], table.columns[targets].min()  # below 0 is what its loss may leave out
    if logits is not None and labels.dtype.kind in "iu" and logits.shape[:-1] == labels.shape and least >= 0:
        expected = CROSS_ENTROPY.compute(logits, torch.from_numpy(labels).long())
        if torch.allclose(expected, loss, rtol=1e-4, atol=1e-6):
            form = Form(logits_of, _beside(columns, targets), targets, single=False)
            return _classifying(form, logits)
    return Objective("its own loss", Form(loss_of_model, tuple(columns), single=False), MODEL_LOSS)


def _beside(columns: Iterable[str], targets: str) -> tuple[str, ...]:
    return tuple(name for name in columns if name != targets)


def _of_outputs(model: nn.Module, table: Table, targets: str, loss: Any) -> Objective:
    """A loss of the model's outputs and the targets."""
    few = table.take(slice(TRIED))
    single = table.form != "named"
    inputs = _beside(table.columns if single else known(table.columns, model), targets)
    arrays = tensors({name: few.columns[name] for name in inputs}, model)
    raw = _outputs_of(model, arrays[inputs[0]] if single else arrays)
    outputs = main_output(raw)
    if outputs is None:
        rule = "the model must give a tensor, or logits beside others"
        raise InputError(rule, f"a {type(raw).__name__}", _STEP)
    form = Form(_as_it_is if raw is outputs else logits_of, inputs, targets, single)
    labels = few.columns[targets]
    if loss is not None:
        return _with_loss(loss, form, table, outputs, labels)
    if labels.dtype.kind == "f":
        if outputs.numel() != labels.size:
            rule = "the model must give as many numbers as there are targets, which are no classes"
            raise InputError(rule, f"outputs {tuple(outputs.shape)} for targets {labels.shape}", "Give `loss`.")
        title = "the mean squared error, as targets are floating-point numbers"
        return Objective(title, form, SQUARED_ERROR, (R2,), output_shape=tuple(outputs.shape[1:]))
    return _of_classes(form, table, outputs, labels)


def _as_it_is(model: nn.Module) -> nn.Module:
    return model


def _of_classes(form: Form, table: Table, outputs: Tensor, labels: Array) -> Objective:
    """Cross-entropy over the axis of the outputs that fits the targets, the last one if two do."""
    least, most = (int(value) for value in (table.columns[form.targets].min(), table.columns[form.targets].max()))
    if least < 0:
        rule = "targets that are whole numbers must be classes counted from 0"
        raise InputError(rule, f"{least} among them", "Give `loss`, which says what they mean.")
    shape = tuple(outputs.shape)
    if shape[:-1] == labels.shape and most < shape[-1]:
        return _classifying(form, outputs)
    if len(shape) > 1 and (shape[0], *shape[2:]) == labels.shape and most < shape[1]:
        title = "the cross-entropy over the second axis, as targets are classes"
        return _classifying(form, outputs, title, AXIS_CROSS_ENTROPY, AXIS_ACCURACY, classes=shape[1])
    if outputs.numel() == labels.size and most <= 1:
        title = "the binary cross-entropy, as targets are 0 and 1 and the model gives one number for each"
        return _classifying(form, outputs, title, BINARY_CROSS_ENTROPY, BINARY_ACCURACY, classes=2)
    rule = "outputs must fit the targets: a number for each class, counted from 0"
    given = f"outputs {shape} for targets {labels.shape} from 0 to {most}"
    raise InputError(rule, given, "Give `loss`, a function of outputs and targets.")


def _classifying(
    form: Form,
    outputs: Tensor,
    title: str = "the cross-entropy, as targets are classes",
    loss: Loss = CROSS_ENTROPY,
    score: Score = ACCURACY,
    *,
    classes: int = 0,
) -> Objective:
    """With classes along the last axis of the outputs, unless their number is given."""
    shape = tuple(outputs.shape)
    return Objective(title, form, loss, (score,), classes or shape[-1], shape[1:])


def _with_loss(loss: Any, form: Form, table: Table, outputs: Tensor, labels: Array) -> Objective:
    """The user's own loss; accuracy is measured where targets are classes and outputs have a number for each."""
    import torch

    if not callable(loss):
        rule = "`loss` must be a function of outputs and targets, or a module such as nn.CrossEntropyLoss()"
        raise InputError(rule, f"a {type(loss).__name__}", _STEP)
    targets = tensors({"targets": labels})["targets"]
    targets = targets.to(outputs.dtype) if targets.is_floating_point() else targets
    outputs = outputs.detach().requires_grad_(outputs.is_floating_point())
    try:
        value = loss(outputs, targets)
    except Exception as error:  # whatever the user's code raises
        given = (
            f"outputs {tuple(outputs.shape)} and targets {labels.dtype} of {labels.shape} ({reading.described(error)})"
        )
        advice = "Mend it, or the data: whole numbers come as int64, and what is to come as floats must be floats."
        raise InputError("`loss` must take the outputs and the targets", given, advice) from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise InputError("`loss` must give one number", f"{value!r}", "Take the mean over the samples.")
    if not value.requires_grad:
        advice = "Leave out .detach(), .item(), argmax and comparisons, and everything that is no operation of torch."
        raise InputError("`loss` must have a gradient with respect to the outputs", "a number without one", advice)
    name = getattr(loss, "__name__", type(loss).__name__)
    compute: Any = loss if isinstance(loss, Hashable) else loss.__call__  # a task is kept by what it is made of
    title, own = f"the loss {name}", Loss(name, compute)
    whole = table.columns[form.targets]
    scores = tuple(_accuracies(outputs, labels, whole, getattr(loss, "ignore_index", None)))
    if scores == (ACCURACY,):
        return _classifying(form, outputs, title, own)
    return Objective(title, form, own, scores, output_shape=tuple(outputs.shape[1:]))


def _accuracies(outputs: Tensor, labels: Array, whole: Array, ignored: int | None) -> Iterator[Score]:
    """The accuracy, where targets are classes and outputs have a number for each along the last or the second axis."""
    if whole.dtype.kind not in "iu" or outputs.dim() < 2:
        return
    kept = whole if ignored is None else whole[whole != ignored]
    if not kept.size or kept.min() < 0:
        return
    shape, most = tuple(outputs.shape), int(kept.max())
    axis = -1 if shape[:-1] == labels.shape else 1
    if (axis == -1 or (shape[0], *shape[2:]) == labels.shape) and most < shape[axis]:
        plain = ACCURACY if axis == -1 else AXIS_ACCURACY
        compute = plain.compute if kept.size == whole.size else partial(kept_accuracy, ignored, axis)
        yield replace(plain, compute=compute)


def _outputs_of(model: nn.Module, inputs: Any, *, optional: bool = False) -> Any:
    """The model's outputs for a few samples, in evaluation mode, without a trace of it left behind."""
    import torch

    try:
        with torch.no_grad():
            model = model.eval()
            return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    except Exception as error:  # whatever the user's code raises
        if optional:
            return None
        shapes = {name: tuple(x.shape) for name, x in inputs.items()} if isinstance(inputs, Mapping) else inputs.shape
        rule = "the model must take the inputs of the data"
        raise InputError(
            rule, f"{shapes} ({reading.described(error)})", f"Mend the model or the data. {_STEP}"
        ) from error
    finally:
        model.train()
