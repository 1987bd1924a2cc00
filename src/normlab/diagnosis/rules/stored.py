"""Rules about what was loaded: weights without their statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import with_numbers
from normlab.diagnosis.spec import Evidence, Rule
from normlab.diagnosis.statistics import is_initial, running_statistics
from normlab.recognition.spec import FoundNorm
from normlab.tables import plural

if TYPE_CHECKING:
    from torch import Tensor

FOREIGN_EPS = 1e-5  # of BatchNorm; frozen layers were often written with 0
LARGE_FACTOR = 0.01
MOSTLY = 0.75


def trained(weight: Tensor | None = None, bias: Tensor | None = None) -> bool:
    """Whether gamma and beta have been learned: both differ from channel to channel, which no usual start does.

    Some models draw gamma at random, none is known to draw beta too.
    """
    return all(
        value is not None and value.numel() > 1 and bool((value != value.flatten()[0]).any())
        for value in (weight, bias)
    )


def _forgotten(case: Case) -> Iterator[Evidence]:
    """Learned gammas and betas beside running statistics of a new layer; a count of 0 where it matters."""
    for norm in with_numbers(case):
        if norm.running:
            yield from _forgotten_in_model(norm)
    for norm in case.norms if case.checkpoint is not None else ():
        yield from _forgotten_in_checkpoint(norm, in_checkpoint(case.checkpoint or {}, norm))


def _forgotten_in_model(norm: FoundNorm) -> Iterator[Evidence]:
    weight, bias = norm.weight, norm.bias
    if is_initial(norm) and trained(weight, bias):
        assert weight is not None
        assert bias is not None
        sure = _begun_at_one(norm)
        yield Evidence(
            norm.name,
            f"its running statistics are those of a new layer (mean 0, variance 1 in all {weight.numel()} "
            f"channels), but gamma and beta {'are learned' if sure else 'differ'} (gamma from "
            f"{float(weight.min()):.3g} to {float(weight.max()):.3g}, beta from {float(bias.min()):.3g} to "
            f"{float(bias.max()):.3g})",
            figures={"channels": weight.numel()},
            severity=None if sure else "warning",
        )
    elif _starts_anew(norm):
        yield Evidence(
            norm.name,
            "`num_batches_tracked` is 0 though it holds statistics, and its momentum is None: the next batch in "
            "training mode gets a weight of 1 and replaces them all",
            "Set `norm.num_batches_tracked` to the batches that they are from, or give it a momentum.",
            {"weight": 1.0},
            "warning",
        )


def _forgotten_in_checkpoint(norm: FoundNorm, stored: Mapping[str, Tensor]) -> Iterator[Evidence]:
    statistics = [stored[name] for name in norm.running[:2] if name in stored]
    if len(statistics) < 2 or not trained(stored.get(norm.affine.weight), stored.get(norm.affine.bias)):
        return
    mean, variance = statistics
    if bool((mean == 0).all()) and bool((variance == 1).all()):
        yield Evidence(
            norm.name,
            f"in the checkpoint its running statistics are those of a new layer (mean 0, variance 1 in all "
            f"{mean.numel()} channels), but gamma and beta are learned",
            figures={"channels": mean.numel()},
        )


def _begun_at_one(norm: FoundNorm) -> bool:
    """Whether gammas are mostly above 0, as after training; of numbers drawn around 0 half are."""
    assert norm.weight is not None
    return float((norm.weight.detach().double() + norm.affine.offset > 0).double().mean()) > MOSTLY


def _starts_anew(norm: FoundNorm) -> bool:
    tracked = getattr(norm.module, "num_batches_tracked", None)
    averages = hasattr(norm.module, "momentum") and norm.module.momentum is None
    return averages and tracked is not None and int(tracked) == 0 and not is_initial(norm)


def _mismatched(case: Case) -> Iterator[Evidence]:
    """Norms of the model whose tensors the checkpoint has not, or in another size; and eps of 0."""
    if case.checkpoint is not None:
        yield from _unlike(case.checkpoint, case)
    for norm in with_numbers(case):
        yield from _without_eps(norm)


def _unlike(checkpoint: Mapping[str, Tensor], case: Case) -> Iterator[Evidence]:
    state = {norm.name: _state(norm) for norm in case.norms}
    total = sum(len(tensors) for tensors in state.values())
    matching = sum(len(in_checkpoint(checkpoint, norm)) for norm in case.norms)
    keys = [_key(norm.name, name) for norm in case.norms for name in state[norm.name]]
    if total and not matching and (prefix := _prefix(checkpoint, keys)):
        yield Evidence(
            "",
            f"none of the {total} tensors of norms has its name in the checkpoint; all have it with {prefix!r} "
            "before them: `load_state_dict(strict=False)` loads nothing",
            f"Take {prefix!r} from the names: torch.nn.modules.utils.consume_prefix_in_state_dict_if_present.",
            {"tensors": total},
        )
        return
    only_parameters = _only_parameters(case)
    for norm in case.norms:
        yield from _unlike_norm(case, norm, checkpoint, only_parameters)


def _unlike_norm(
    case: Case, norm: FoundNorm, checkpoint: Mapping[str, Tensor], only_parameters: bool
) -> Iterator[Evidence]:
    """Tensors of a norm that are stored in another size, or not at all.

    Arguments:
        case: the model.
        norm: the norm.
        checkpoint: what is stored.
        only_parameters: whether the checkpoint has no running statistics of any norm, which another rule says.
    """
    own, stored = _state(norm), in_checkpoint(checkpoint, norm)
    if wrong := [name for name, tensor in own.items() if name in stored and stored[name].shape != tensor.shape]:
        one = wrong[0]
        yield Evidence(
            norm.name,
            f"`{one}` is {list(stored[one].shape)} in the checkpoint and {list(own[one].shape)} in the model",
            figures={"tensors": len(wrong)},
        )
    left_out = {"num_batches_tracked", *stored, *(norm.running if only_parameters else ())}
    if missing := [name for name in own if name not in left_out]:
        text = f"the checkpoint has no {' and no '.join(f'`{name}`' for name in missing)} for it"
        figures = {"tensors": len(missing)}
        if reason := _reason_to_lack(case, norm, checkpoint):
            mend = "See that it is loaded from elsewhere, or is to begin anew."
            yield Evidence(norm.name, f"{text}, {reason}", mend, figures, "note")
        else:
            text += ": `load_state_dict(strict=False)` leaves what the model started with"
            yield Evidence(norm.name, text, figures=figures)


def _reason_to_lack(case: Case, norm: FoundNorm, checkpoint: Mapping[str, Tensor]) -> str:
    """Why a checkpoint may well lack a norm, in words: what lies beside it is not there either, or what learns is."""
    state, parent = case.model.state_dict(keep_vars=True), norm.name.rpartition(".")[0]
    inside = {id(value) for one in case.norms for value in one.module.state_dict(keep_vars=True).values()}
    beside = [name for name, value in state.items() if name.startswith(f"{parent}.") and id(value) not in inside]
    fits = any(name in checkpoint for name in state)  # else it is of another model
    if fits and beside and not any(name in checkpoint for name in beside):
        return f"nor anything else in {parent!r}"
    learns = any(value.requires_grad for value in norm.module.parameters())
    learning = [name for name, value in case.model.named_parameters() if value.requires_grad]
    if not learns and norm.affine.weight and learning and all(name in checkpoint for name in learning):
        return "which does not learn; it has all that does"
    return ""


def _without_eps(norm: FoundNorm) -> Iterator[Evidence]:
    """Frozen layers with eps 0, whose scale is another one than with the eps that the statistics were trained with."""
    statistics = running_statistics(norm)
    if not norm.frozen or norm.eps != 0 or statistics is None:
        return
    variance = statistics.variance
    mend = f"Set its eps to that of the layer whose statistics it holds, usually {FOREIGN_EPS:g}."
    if zeros := int((variance == 0).sum()):
        text = f"its eps is 0, and so is the variance of {zeros} of {variance.numel()} channels: it divides by 0"
        yield Evidence(norm.name, text, mend, {"channels": zeros})
        return
    factors = ((variance + FOREIGN_EPS) / variance).sqrt()
    if (worst := float(factors.max())) > 1 + LARGE_FACTOR:
        count = int((factors > 1 + LARGE_FACTOR).sum())
        yield Evidence(
            norm.name,
            f"its eps is 0: {count} of {variance.numel()} channels come out more than {LARGE_FACTOR:.0%} larger than "
            f"with BatchNorm's {FOREIGN_EPS:g}, up to {worst:.3g} times as large (least variance "
            f"{float(variance.min()):.3g})",
            mend,
            {"channels": count, "factor": worst},
            "note",
        )


def _averaged_parameters(case: Case) -> Iterator[Evidence]:
    if case.checkpoint is not None and _only_parameters(case):
        layers = [norm for norm in case.norms if norm.running]
        values = sum(getattr(norm.module, name).numel() for norm in layers for name in norm.running)
        yield Evidence(
            "",
            f"the checkpoint has all gammas and betas of {plural(len(layers), 'layer')} and none of their running "
            f"statistics ({values} values), as when clients send `parameters()` alone",
            figures={"layers": len(layers), "values": values},
            severity="warning" if case.has_numbers and not any(is_initial(norm) for norm in layers) else None,
        )


def _only_parameters(case: Case) -> bool:
    """Whether a checkpoint has the parameters of all norms with running statistics, and none of these."""
    layers = [norm for norm in case.norms if norm.running and (norm.affine.weight or norm.affine.bias)]
    if not layers or case.checkpoint is None:
        return False
    found = [(norm, in_checkpoint(case.checkpoint, norm)) for norm in layers]
    return all(
        not set(norm.running) & set(tensors) and all(name in tensors for name in _parts(norm))
        for norm, tensors in found
    )


def _parts(norm: FoundNorm) -> list[str]:
    return [name for name in (norm.affine.weight, norm.affine.bias) if name]


def _state(norm: FoundNorm) -> dict[str, Tensor]:
    return dict(norm.module.state_dict())


def in_checkpoint(checkpoint: Mapping[str, Tensor], norm: FoundNorm) -> dict[str, Tensor]:
    """The tensors of a checkpoint for a norm, under any of its names."""
    return {
        name: checkpoint[_key(one, name)]
        for name in _state(norm)
        for one in reversed(norm.names or (norm.name,))
        if _key(one, name) in checkpoint
    }


def _key(layer: str, name: str) -> str:
    return f"{layer}.{name}" if layer else name


def _prefix(checkpoint: Mapping[str, Tensor], names: list[str]) -> str:
    """What stands before all the names in a checkpoint; empty where nothing does."""
    candidates = {key.removesuffix(names[0]) for key in checkpoint if key.endswith(names[0])}
    return next((one for one in candidates if one and all(one + name in checkpoint for name in names)), "")


RULES = (
    Rule(
        "NL309",
        "statistics-not-loaded",
        "error",
        "learned norms whose running statistics are those of a new layer",
        "Something set the buffers back or never loaded them; in evaluation the layer computes gamma x + beta on "
        "values that are not normalized.",
        "https://github.com/huggingface/transformers/issues/43520",
        "Load the buffers too, with `strict=True`, and after moving to a device; or re-estimate them: "
        "`normlab.recalibrate(model, loader)`.",
        "model = load_pretrained()\nfor norm in batch_norms(model):\n    norm.reset_running_stats()",
        _forgotten,
    ),
    Rule(
        "NL310",
        "checkpoint-does-not-fit",
        "error",
        "norms whose tensors the checkpoint does not have, or whose eps is not that of its statistics",
        "`load_state_dict(strict=False)` says nothing loudly, and a frozen norm with eps 0 scales channels of small "
        "variance by another factor than the layer that was trained.",
        "https://github.com/pytorch/vision/issues/2599; https://github.com/pytorch/vision/pull/2190",
        "Load with `strict=True`, and mend names and sizes until it passes.",
        "model.load_state_dict(state_of_a_model_with_other_norms, strict=False)",
        _mismatched,
    ),
    Rule(
        "NL409",
        "parameters-without-statistics",
        "error",
        "a state with the parameters of norms and without their running statistics",
        "Federated averaging or an EMA over `parameters()` leaves the buffers behind: the averaged model evaluates by "
        "statistics of another one.",
        "https://github.com/TsingZ0/PFLlib/issues/260; Li et al. 2021, arXiv:2102.07623",
        "Average and send `state_dict()`; or take norms without buffers: `normlab.swap(model, 'group')`; or "
        "re-estimate what was loaded: `normlab.recalibrate(model, loader)`.",
        "average = {name: mean(client[name]) for name, _ in model.named_parameters()}",
        _averaged_parameters,
        ("checkpoint",),
    ),
)
