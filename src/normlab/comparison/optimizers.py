"""How a Lightning module says that it is trained, as the training of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError, describe_error
from normlab.training import Training

if TYPE_CHECKING:
    from torch import nn, optim

GIVEN = "optimizer", "schedule"  # of a comparison, that take the place of what the module says
_INSTEAD = "Say how all norms are trained, with `optimizer`, `learning_rate` and `schedule`."
_RULE = "`configure_optimizers` must give what a study can do"
_VALUES: Mapping[str, tuple[str, ...]] = {  # that are taken over; all others must be torch's defaults
    "Adam": ("lr", "weight_decay"),
    "AdamW": ("lr", "weight_decay"),
    "SGD": ("lr", "weight_decay", "momentum", "nesterov"),
}
_LIBRARIES = "lightning.", "pytorch_lightning."  # whose own method does nothing but warn
_HOW = {"foreach", "fused", "capturable", "differentiable", "params", "initial_lr", "decoupled_weight_decay"}


def configured(model: nn.Module, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Fields of the training that a module's ``configure_optimizers`` comes to, and what is said of them.

    Arguments:
        model: one of the user's models; one without such a method says nothing.
        given: fields of the training that were asked for, which come first.

    Raises:
        InputError: it is a training that a study cannot do, and no other was asked for.
    """
    configure = getattr(model, "configure_optimizers", None)
    if not callable(configure) or configure.__module__.startswith(_LIBRARIES) or all(name in given for name in GIVEN):
        return {}, ""
    try:
        optimizer, scheduler = _parts(configure())
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        rule = "`configure_optimizers` must work without a trainer"
        if "optimizer" in given:
            return {}, ""
        raise InputError(rule, describe_error(error), _INSTEAD) from error
    schedule: dict[str, Any] = {}
    if "schedule" not in given and scheduler is not None:  # first, as some set the optimizer's betas
        schedule = _schedule_fields(scheduler, given.get("epochs", Training().epochs))
    fields = _optimizer_fields(model, optimizer) if "optimizer" not in given and optimizer is not None else {}
    fields |= schedule
    fields = {name: value for name, value in fields.items() if name not in given}
    said = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in fields.items())
    spared = "; norms and biases are spared its weight decay" if fields.get("weight_decay") else ""
    return fields, f"its configure_optimizers gives {said}{spared}" if said else ""


def _text(value: Any) -> str:
    return " and ".join(f"{item:g}" for item in value) if isinstance(value, tuple) else str(value)


def _refused(given: str) -> InputError:
    return InputError(_RULE, given, _INSTEAD)


def _parts(made: Any) -> tuple[optim.Optimizer | None, Any]:
    """The optimizer and the scheduler of one of the forms that Lightning takes; None for what is not there."""
    if isinstance(made, Mapping):
        return made["optimizer"], made.get("lr_scheduler")
    if isinstance(made, tuple | list) and len(made) == 2 and all(isinstance(item, list | tuple) for item in made):
        optimizers, schedulers = made
    else:
        optimizers, schedulers = made if isinstance(made, tuple | list) else [made], ()
    if len(optimizers) == 1 and isinstance(optimizers[0], Mapping):
        return _parts(optimizers[0])
    if len(optimizers) > 1 or len(schedulers) > 1:
        raise _refused(f"{len(optimizers)} optimizers and {len(schedulers)} schedulers, where one loss is minimized")
    return optimizers[0] if optimizers else None, schedulers[0] if schedulers else None


def _optimizer_fields(model: nn.Module, optimizer: optim.Optimizer) -> dict[str, Any]:
    """The fields of an optimizer of torch whose groups differ in nothing but whether they decay."""
    kind = type(optimizer).__name__
    if kind not in _VALUES or type(optimizer).__module__ != f"torch.optim.{kind.lower()}":
        raise _refused(f"{kind}, not one of {', '.join(_VALUES)}")
    make: Any = type(optimizer)
    usual = make([next(model.parameters())]).defaults
    values: dict[str, set[Any]] = {}
    for group in optimizer.param_groups:
        for name, value in group.items():
            if name not in _HOW:
                values.setdefault(name, set()).add(value)
    values["weight_decay"] -= {0} if len(values["weight_decay"]) > 1 else set()  # of groups that are spared it
    for name, found in values.items():
        if len(found) > 1 or (name not in _VALUES[kind] and found != {usual[name]}):
            raise _refused(f"{kind} with {name} {' and '.join(sorted(map(str, found)))}")
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if left := [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in trained]:
        raise _refused(f"{kind} that leaves out {left[0]}, which requires a gradient")
    fields = {name: next(iter(values[name])) for name in _VALUES[kind]}
    fields = {"optimizer": kind.lower(), "learning_rate": float(fields.pop("lr")), **fields}
    return {name: value for name, value in fields.items() if value or name in {"optimizer", "learning_rate"}}


def _schedule_fields(scheduler: Any, epochs: int) -> dict[str, Any]:
    """The fields of a scheduler that steps once an epoch, or of a cosine that ends with the training."""
    interval = "epoch"
    if isinstance(scheduler, Mapping):
        interval, scheduler = scheduler.get("interval", "epoch"), scheduler["scheduler"]
    kind = type(scheduler).__name__
    if kind == "CosineAnnealingLR" and not scheduler.eta_min:
        return {"schedule": "cosine"}
    ends = tuple(_milestones(scheduler, epochs)) if interval == "epoch" else ()
    if not ends:
        raise _refused(f"the scheduler {kind} at each {interval}, neither a cosine down to 0 nor steps at epochs")
    if inside := tuple(end / epochs for end in ends if end < epochs):
        return {"schedule": "step", "decay": float(scheduler.gamma), "decay_at": inside}
    return {}


def _milestones(scheduler: Any, epochs: int) -> Iterator[int]:
    """The epochs at which a rate is multiplied."""
    if type(scheduler).__name__ == "MultiStepLR":
        yield from sorted(scheduler.milestones.elements())
    elif type(scheduler).__name__ == "StepLR":
        yield from range(scheduler.step_size, max(epochs, scheduler.step_size) + 1, scheduler.step_size)
