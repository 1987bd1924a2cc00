"""Rules about the types of numbers and their limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import INFINITE_HALF, LARGEST_HALF, with_numbers
from normlab.diagnosis.rules.stored import in_checkpoint
from normlab.diagnosis.spec import Evidence, Rule
from normlab.errors import InputError, describe_error
from normlab.norms.copying import unwatched
from normlab.recognition.inputs import samples_in
from normlab.recognition.spec import FoundNorm
from normlab.tables import plural

if TYPE_CHECKING:
    import torch
    from torch import Tensor

UPDATES = 200  # after which an exponential average of momentum 0.1 has arrived
CHANGE = 0.02  # of the statistics that a running average is to follow


def _numbers(case: Case) -> Iterator[Evidence]:
    """Tensors that are not finite, too large for fp16, or too coarse to average in."""
    for norm in with_numbers(case):
        own = dict((*norm.module.named_parameters(), *norm.module.named_buffers()))
        yield from _not_finite(norm, own)
        yield from _too_large(norm, own)
        yield from _too_coarse(norm)
    for norm in case.norms if case.checkpoint is not None else ():
        stored = in_checkpoint(case.checkpoint or {}, norm)
        yield from _not_finite(norm, stored, " in the checkpoint")
        yield from _too_large(norm, stored, " in the checkpoint")
    broken = list(_passed_on(case))
    yield from broken or _overflowed(case)
    yield from _widened(case)


def _passed_on(case: Case) -> Iterator[Evidence]:
    """Parameters of other layers that are not finite, and so all that the norms behind them compute."""
    own = {id(parameter) for norm in case.norms for parameter in norm.module.parameters()}
    for name, parameter in case.model.named_parameters():
        if id(parameter) in own or parameter.is_meta or not parameter.is_floating_point():
            continue
        values = parameter.detach()  # what does not learn may be a mask of -inf
        if bad := int((~values.isfinite() if parameter.requires_grad else values.isnan()).sum()):
            layer, _, tensor = name.rpartition(".")
            yield Evidence(
                layer,
                f"{bad} of {parameter.numel()} values of `{tensor}` are not finite, nor is what comes of them",
                "Go back to a checkpoint from before, and lower the learning rate or clip gradients.",
                {"values": bad, "of": parameter.numel()},
                "error",
            )


def _overflowed(case: Case) -> Iterator[Evidence]:
    """The first norm on the way of the inputs that gets something infinite, of which no norm makes anything."""
    for seen in (case.training, case.evaluation) if case.knows("inputs") else ():
        for name, calls in seen.calls.items():  # in the order in which they were called
            before = calls[0].before
            if bad := int((~before.isfinite()).sum()):
                yield Evidence(
                    name,
                    f"{bad} of {before.numel()} values that come into it on these inputs are not finite; of this norm "
                    "and those behind it nothing can be measured",
                    "Look before it for an overflow in 16 bits, a division by 0 or a logarithm of 0.",
                    {"values": bad, "of": before.numel()},
                )
                return


def _not_finite(norm: FoundNorm, tensors: Mapping[str, Tensor], place: str = "") -> Iterator[Evidence]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and (bad := int((~tensor.detach().isfinite()).sum())):
            mend = "Re-estimate it: `normlab.recalibrate(model, loader)`." if name in norm.running else ""
            mend = mend or "Go back to a checkpoint from before, and lower the learning rate or clip gradients."
            yield Evidence(
                norm.name,
                f"{bad} of {tensor.numel()} values of `{name}`{place} are not finite",
                mend,
                {"values": bad, "of": tensor.numel()},
                "error",
            )


def _too_large(norm: FoundNorm, tensors: Mapping[str, Tensor], place: str = "") -> Iterator[Evidence]:
    for name in norm.running:
        if name not in tensors:
            continue
        buffer = tensors[name].detach()
        finite = buffer[buffer.isfinite()].double()
        if finite.numel() and float(finite.abs().max()) >= INFINITE_HALF:
            count = int((finite.abs() >= INFINITE_HALF).sum())
            largest = float(finite.abs().max())
            yield Evidence(
                norm.name,
                f"{count} of {buffer.numel()} values of `{name}`{place} are beyond the largest number of fp16, "
                f"{LARGEST_HALF:g} (up to {largest:.3g}): `model.half()` or an export in fp16 makes them infinite",
                "Keep this layer in fp32 or bf16, or fold it: `normlab.fold(model.eval(), inputs)`.",
                {"values": count, "largest": largest},
            )


def _too_coarse(norm: FoundNorm) -> Iterator[Evidence]:
    """Running statistics in 16 bits, which stop short of what they follow: measured on their own values."""
    momentum = norm.momentum
    if not momentum or norm.frozen or len(norm.running) < 2:
        return
    buffer = getattr(norm.module, norm.running[1]).detach()
    if buffer.element_size() == 2 and (short := stops_short(buffer, buffer.dtype, momentum)) > CHANGE / 10:
        yield Evidence(
            norm.name,
            f"its running variance is kept in {_named(buffer.dtype)}: when the batches' variance rises by "
            f"{CHANGE:.0%}, {UPDATES} updates end {short:.2%} short of it (in float32 0.00%)",
            "Keep the norm in float32: `norm.float()`, under autocast with a model in float32.",
            {"short": short},
        )


def stops_short(buffer: Tensor, dtype: torch.dtype, momentum: float) -> float:
    """How far exponential averages of one type end from what they follow, in the worst channel.

    Arguments:
        buffer: where they start; what they follow is 2% above.
        dtype: the type that they are kept in.
        momentum: the share of each new value.
    """
    start = buffer.double()[buffer.double() > 0]
    if not start.numel():
        return 0.0
    aim, average = start * (1 + CHANGE), start.to(dtype)
    for _ in range(UPDATES):
        average = (momentum * aim + (1 - momentum) * average.double()).to(dtype)
    return float(((aim - average.double()) / aim).abs().max())


def _widened(case: Case) -> Iterator[Evidence]:
    """Norms that give float32 under autocast, whatever type came in."""
    import torch

    if not case.knows("amp") or not case.knows("inputs") or case.mixed.error:
        return  # what the model cannot do in this precision is not this rule's to say
    seen = [call for calls in case.mixed.calls.values() for call in calls]
    wide = [call for call in seen if call.before.dtype == case.amp and call.after.dtype == torch.float32]
    size = 2 * sum(call.after.numel() for call in wide)
    if wide:
        yield Evidence(
            "",
            f"under autocast in {_named(case.amp)}, {len(wide)} of {len(seen)} calls of norms give float32, "
            f"{size / 2**20:.3g} MiB more for {samples_in(case.inputs)} samples",
            "Nothing is wrong; where memory is short, see what your shapes cost with `normlab profile`.",
            {"calls": len(wide), "bytes": float(size)},
            "note",
        )


def _sharded(case: Case) -> Iterator[Evidence]:
    """What batch norms do with 16-bit buffers, and with 16-bit parameters beside buffers in float32."""
    import torch

    if case.amp not in (torch.bfloat16, torch.float16):
        return
    layers = [
        norm
        for norm in with_numbers(case)
        if norm.kind in ("batch", "sync-batch") and len(norm.running) > 1 and not norm.frozen
    ]
    short = {
        norm.name: stops_short(getattr(norm.module, norm.running[1]).detach(), case.amp, momentum)
        for norm in layers
        if (momentum := norm.momentum)
    }
    if not short:
        return
    training = case.training if case.knows("inputs") else None
    if training and training.error and training.stopped and training.stopped[1].dtype == case.amp:
        name, raised = training.stopped[0], describe_error(training.error)
        if name in short:
            message = f"it gets {_named(case.amp)} beside buffers of another type: in training it raises {raised}"
            yield Evidence(name, message, figures={"layers": len(short)}, severity="error")
            return
    worst = max(short, key=short.__getitem__)
    message = (
        f"with buffers in {_named(case.amp)} (`MixedPrecision(buffer_dtype=...)`) the running variance of {worst!r} "
        f"ends {short[worst]:.2%} short of one that rises by {CHANGE:.0%}, after {UPDATES} updates; "
        f"{plural(len(short), 'layer')} in all"
    )
    if error := _mixed(layers[0], case.amp):
        message += (
            f"; with parameters in {_named(case.amp)} beside buffers in float32 it raises {describe_error(error)}"
        )
    yield Evidence("", message, figures={"layers": len(short), "short": short[worst]})


def _mixed(norm: FoundNorm, dtype: torch.dtype) -> Exception | None:
    """What a copy of the layer raises with its parameters, and what comes in, in another type than its buffers."""
    import torch

    try:
        copy = unwatched(norm.module).float()
    except InputError:  # such as a layer with a shard of its own
        return None
    for parameter in copy.parameters():
        parameter.data = parameter.data.to(dtype)
    like = next(iter(copy.buffers()))
    value = torch.ones(2, norm.channels, *[2] * (norm.spatial or 0), dtype=dtype, device=like.device)
    try:
        with torch.no_grad():
            copy.eval()(value)
    except Exception as error:
        return error
    return None


def _named(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


RULES = (
    Rule(
        "NL305",
        "numbers-of-a-norm",
        "warning",
        "numbers of a norm that are not finite, beyond fp16, or kept too coarsely",
        "A single infinite batch makes running statistics NaN for ever; averages in 16 bits stop where an update is "
        "smaller than half a unit in the last place.",
        "https://github.com/pytorch/pytorch/issues/88474; https://github.com/pytorch/pytorch/issues/115500; "
        "https://github.com/apple/coreai-torch/pull/54",
        "Keep norms and their buffers in float32, and re-estimate the rest: `normlab.recalibrate(model, loader)`.",
        "model.bfloat16()  # BatchNorm's running variance too",
        _numbers,
    ),
    Rule(
        "NL406",
        "batch-norm-in-16-bit-shards",
        "warning",
        "BatchNorm under fully sharded training in 16 bits",
        "A mixed precision policy casts parameters, and buffers where it is told to; running statistics in 16 bits "
        "stop short, and BatchNorm with parameters of one type and buffers of another raises.",
        "https://github.com/pytorch/torchtitan/issues/674; https://github.com/pytorch/pytorch/issues/75478",
        "Give BatchNorm layers a shard of their own (`fully_shard(norm)` without a policy, before the model; FSDP: any "
        "auto_wrap_policy), or take a norm without buffers: `normlab.swap(model, 'group')`.",
        "FSDP(model_with_batch_norm, mixed_precision=MixedPrecision(param_dtype=bf16, buffer_dtype=bf16))",
        _sharded,
        ("fsdp", "amp"),
    ),
)
