"""Rules on the number of samples in a batch: NL201, NL202, NL203, NL206."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from normlab.diagnosis import loading
from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms, first_calls, group_call, values_per_statistic
from normlab.diagnosis.spec import CannotTell, Evidence, Rule, Severity
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

FEW, SMALL = 16, 8  # values of a statistic, and samples of a batch, below which BatchNorm gets unsure
STRAYS = 0.1  # deviations of a channel by which the mean of a batch may stray
ENDS = f"a DataLoader, or what can be gone through again and ends within {loading.MOST_COUNTED} batches"
LAST = "Give the loader drop_last=True, or a batch size that leaves another remainder."


def single(case: Case) -> Iterator[Evidence]:
    """BatchNorm in training on one sample raises, or normalizes the sample by itself."""
    if case.batch_size == 1:
        yield from _of_one(case, "the batch is 1", "")


def last_batch(case: Case) -> Iterator[Evidence]:
    """A last batch of one sample, and epochs that drop_last leaves without a batch."""
    if not list(_alone(case)):
        return
    epoch = loading.epoch_of(case.loader)
    seen = loading.last_batch(case.loader)
    if not seen and (epoch.samples is None or not epoch.batch_size):
        seen = loading.counted_batches(case.loader)
        if not seen:
            raise CannotTell(f"a `loader` whose end can be seen: {ENDS}")
    if seen:
        if seen[0] > 1 and seen[1] == 1:
            mend = LAST if hasattr(case.loader, "drop_last") else "Leave the last batch out, or fill it."
            yield from _of_one(case, f"the last of {seen[0]} batches has 1 sample", mend)
        return
    assert epoch.samples is not None
    assert epoch.batch_size
    if epoch.drops_last and epoch.samples < epoch.batch_size:
        text = f"drop_last leaves no batch: there are {epoch.samples} samples and a batch has {epoch.batch_size}"
        figures = {"samples": epoch.samples, "batch_size": epoch.batch_size}
        yield Evidence("", text, f"Give a batch size of at most {epoch.samples}.", figures, "error")
    if epoch.last == 1 and epoch.batch_size > 1:
        said = f"{epoch.samples} samples in batches of {epoch.batch_size} leave a last batch of 1"
        yield from _of_one(case, said, LAST)


def _alone(case: Case) -> Iterator[FoundNorm]:
    """The norms whose statistics are of the batch on one device."""
    return (norm for norm in batch_norms(case) if not (case.ddp and norm.kind == "sync-batch"))


def _of_one(case: Case, said: str, mend: str) -> Iterator[Evidence]:
    """What becomes of norms over the batch when the batch has one sample."""
    norms = {norm.name: norm for norm in _alone(case)}
    if not norms:
        return
    if not case.knows("inputs"):
        for norm in norms.values():
            text = f"{said}, and its statistics are of the samples of a batch"
            advice = mend or group_call(norm, (1, norm.channels))
            yield Evidence(norm.name, text, advice, {"samples": 1}, "warning")
        return
    alone = case.run(training=True, inputs=case.resized(1))
    if alone.stopped and alone.stopped[0] in norms:
        norm = norms[alone.stopped[0]]
        text = f"{said}: it raises in training, {type(alone.error).__name__}: {alone.error}"
        figures = {"samples": 1, "values": float(values_per_statistic(norm, alone.stopped[1].shape) or 1)}
        yield Evidence(norm.name, text, mend or group_call(norm, alone.stopped[1].shape), figures, "error")
        return
    for name, norm in norms.items():
        if call := alone.first(name):
            before = call.before
            instance = _by_instance(norm, before.shape)
            training, evaluation = (case.replay(norm, before, training=mode) for mode in (True, False))
            apart = distance([training], [evaluation])  # of one pixel or a constant training makes 0
            other = (
                f"what evaluation gives for the same sample differs by {apart:.0%}"
                if norm.running
                else ("in evaluation too")
            )
            text = f"{said}: it normalizes that sample by itself{instance}, and {other}"
            figures = {"samples": 1, "apart": apart}
            yield Evidence(name, text, mend or group_call(norm, before.shape), figures, "warning")


def _by_instance(norm: FoundNorm, shape: tuple[int, ...]) -> str:
    count = values_per_statistic(norm, shape)
    return f", over the {count} positions of each channel as InstanceNorm does" if count else ""


def few_values(case: Case) -> Iterator[Evidence]:
    """BatchNorm on so few values of a channel that its statistics are mostly chance."""
    assert case.batch_size is not None
    if case.batch_size == 1 or case.batch_size >= FEW:
        return
    seen = case.run(training=True, inputs=case.resized(case.batch_size))
    for norm, call in first_calls(seen, _alone(case)):
        count = values_per_statistic(norm, call.before.shape)
        if count is None or not 1 < count < FEW or call.before.shape[0] != case.batch_size:
            continue
        unsure = sqrt(2 / (count - 1))
        text = f"a batch of {case.batch_size} gives {count} values a channel: "
        figures = {"values": count, "relative_error": unsure}
        kept = ""
        if norm.running and norm.kind in ("batch", "sync-batch"):
            figures["unbiased"] = count / (count - 1)
            kept = f"; running_var is the unbiased one, {count / (count - 1):.3g} times what training divides by"
        signs = case.replay(norm, call.before, training=True, plain=True).double().abs()
        share = float((signs > 0.9).double().mean())
        if count == 2 and share > 0.5:
            text += f"{share:.0%} of what it makes in training is +-{float(signs.median()):.2f}, a sign alone{kept}"
            yield Evidence(norm.name, text, group_call(norm, call.before.shape), figures | {"signs": share})
        else:
            text += f"their variance is estimated with a relative error of {unsure:.0%} (normal values){kept}"
            severity: Severity = "warning" if count <= FEW // 4 else "note"
            yield Evidence(norm.name, text, group_call(norm, call.before.shape), figures, severity)


def small(case: Case) -> Iterator[Evidence]:
    """How far the mean of a small batch strays, from the spread between samples."""
    assert case.batch_size is not None
    if not 1 < case.batch_size < SMALL:
        return
    for norm, call in first_calls(case.training, _alone(case)):
        before = call.before.double()
        if before.dim() < 3 or before.shape[0] < 2:
            continue
        means = before.flatten(2).mean(2)
        deviation = before.movedim(1, 0).flatten(1).std(1, correction=0).clamp_min(1e-12)
        strays = float((means.std(0) / deviation).mean()) / sqrt(case.batch_size)
        if strays > STRAYS:
            text = (
                f"batches of {case.batch_size}: from sample to sample the mean of a channel varies so much that "
                f"that of a batch strays by {strays:.2f} of the channel's deviation"
            )
            yield Evidence(norm.name, text, group_call(norm, before.shape), {"strays": strays})


SWAP = 'A norm that needs no batch: normlab.swap(model, "group:groups=32").'
RULES = (
    Rule(
        "NL201",
        "batch-of-one",
        "error",
        "BatchNorm with a batch of 1",
        "The variance of a single value is 0: training raises behind a flatten or global pooling. With space left it "
        "runs as InstanceNorm, and evaluation with averages is another function.",
        "https://github.com/pytorch/pytorch/issues/4534",
        SWAP,
        "nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))  # normlab doctor ... --batch-size 1",
        single,
        ("batch_size",),
    ),
    Rule(
        "NL202",
        "last-batch-of-one",
        "error",
        "a last batch of 1, or drop_last that leaves no batch",
        "The epoch ends in an error after all its work, or in a step on statistics of one sample that count as much "
        "as those of a whole batch. drop_last mends that, and empties data smaller than a batch.",
        "https://github.com/fastai/fastai/pull/1095; https://github.com/RasmussenLab/vamb/pull/425",
        LAST,
        "DataLoader(data_of_65_samples, batch_size=32)",
        last_batch,
        ("loader",),
    ),
    Rule(
        "NL203",
        "few-values-a-channel",
        "warning",
        "BatchNorm on few values of a channel",
        "Of two values BatchNorm makes +1 and -1, however far apart they are. Of a few its variance is mostly chance, "
        "in training alone: evaluation does not see it.",
        "https://github.com/pytorch/pytorch/issues/4534; Wu and He 2018, arXiv:1803.08494",
        SWAP,
        "nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))  # normlab doctor ... --batch-size 2",
        few_values,
        ("batch_size", "inputs"),
    ),
    Rule(
        "NL206",
        "small-batch",
        "warning",
        "BatchNorm with a small batch whose samples differ",
        "ResNet-50 on ImageNet loses with 2 samples a device 11 points of accuracy against 32; GroupNorm loses none. "
        "Positions of one sample are alike, so that space does not make up for samples.",
        "Wu and He 2018, arXiv:1803.08494, table 2",
        SWAP,
        "nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))  # normlab doctor ... --batch-size 2",
        small,
        ("batch_size", "inputs"),
    ),
)
