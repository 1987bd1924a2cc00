"""Batch normalization: statistics of each channel over the batch, on one device or over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn

EPS = Option("eps", 1e-5, "added to the variance", at_least=0)
SOME_EPS = Option("eps", 1e-5, "added to the variance; torch's batch normalization needs some", above=0)
MOMENTUM = Option(
    "momentum", 0.1, "weight of the new statistic in the running average, torch's convention", at_least=0, at_most=1
)
CUMULATIVE = Option(
    "cumulative",
    False,
    "whether running statistics average over all batches alike, torch's momentum=None; then momentum plays no part",
)
AFFINE = Option("affine", True, "whether gamma and beta are learned")
BIAS = Option("bias", True, "whether there is a beta where there is a gamma")
AXES = {layout: ("N", *spatial) for layout, spatial in SPATIAL.items()}
OVERFLOW = "nothing is subtracted, so a mean that is large against the spread leaves the range of float16"
STEEP = "without a spread the input is divided by sqrt(eps), and the gradient of that leaves the range of float16"
STALLED = (
    "the eight bits of a bfloat16 buffer lose a step of so small a momentum, and evaluation is off: keep the layer in "
    "float32, as autocast does"
)
UNTRACKED = "without running statistics evaluation uses the batch's, as training does, and nothing is kept"
OPACUS = "opacus' validator accepts it, though it couples the samples of a batch: no private training with it"
UPDATED = (
    "torch.optim.swa_utils.update_bn resets torch's BatchNorm alone and averages the variances within batches, "
    "without the spread of their means"
)
SINGLE = (
    ("one element for each channel (N = 1 on N,C)", "the variance is 0 and training is refused"),
    ("two elements for each channel (N = 2 on N,C)", "normalized values are +1 and -1 and keep only the order"),
)


def momentum_of(options: Mapping[str, OptionValue]) -> float | None:
    """The weight of the new statistic, or None for an average over all batches alike."""
    return None if options.get("cumulative", False) else float(options["momentum"])


def without_bias(layer: nn.Module, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer, without its beta where that is asked for; not all of torch's classes have the argument."""
    if not options.get("bias", True):
        layer.register_parameter("bias", None)
    return layer


def exempt_untracked(options: Mapping[str, OptionValue]) -> Mapping[str, str]:
    """What BatchNorm promises and cannot keep without running statistics."""
    return {} if options.get("track_running_stats", True) else dict.fromkeys(("entry", "evaluation"), UNTRACKED)


def build_batch(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's BatchNorm for the slot's number of spatial axes."""
    from torch.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d

    kinds = {"NC": BatchNorm1d, "NCL": BatchNorm1d, "NCHW": BatchNorm2d, "NCDHW": BatchNorm3d}
    return _with(kinds[slot.layout], slot, options)


def build_sync(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's SyncBatchNorm; without a process group it is BatchNorm."""
    from torch.nn.modules.batchnorm import SyncBatchNorm

    return _with(SyncBatchNorm, slot, options)


def _with(kind: Callable[..., nn.Module], slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """One of torch's classes with the options."""
    layer = kind(
        slot.channels,
        eps=options["eps"],
        momentum=momentum_of(options),
        affine=bool(options["affine"]),
        track_running_stats=bool(options.get("track_running_stats", True)),
    )
    return without_bias(layer, options)


BATCH = NormSpec(
    name="batch",
    title="BatchNorm",
    formula="y = gamma (x - mean_B) / sqrt(var_B + eps) + beta, of each channel over the batch, biased variance",
    source="Ioffe and Szegedy, 2015, arXiv:1502.03167",
    axes=AXES,
    centred=True,
    scaled=True,
    couples_batch=True,
    train=(
        "Uses the mean and biased variance of the current batch, so every output depends on the other samples "
        "of the batch, and moves its running statistics: r <- (1 - momentum) r + momentum * statistic, where "
        "torch keeps the unbiased variance."
    ),
    evaluate="Uses the running statistics: a fixed affine map of each channel, the same for every batch.",
    suits="Convolutional networks with batches of 16 or more samples that are drawn independently.",
    breaks=(
        "Small batches (noisy statistics; at 2 samples of N,C input only +-1 comes out, at 1 it cannot train); "
        "batches that are not drawn independently; running statistics that lag behind in short runs; recurrent "
        "and variable-length input; gradient accumulation, which does not enlarge the batch it sees."
    ),
    build=build_batch,
    options=(
        SOME_EPS,
        MOMENTUM,
        AFFINE,
        BIAS,
        CUMULATIVE,
        Option(
            "track_running_stats",
            True,
            "whether there are running statistics; without them evaluation uses the batch's",
        ),
    ),
    affine="gamma (starts at 1) and beta (starts at 0) for each channel",
    state="running mean and running (unbiased) variance of each channel, number of batches",
    invariances=frozenset({"scale", "shift", "channel scale", "channel shift"}),
    libraries={
        "torch": "nn.BatchNorm1d to 3d: this layer. The running variance is unbiased; exported to ONNX in training "
        f"mode it is the biased one. {UPDATED}; normlab.norms.reestimate takes that of all samples.",
        "timm": "BatchNormAct2d: torch's, with an activation behind it.",
        "flax": "momentum 0.99 is the weight of the old statistic; biased running variance; variance as "
        "E[x^2] - E[x]^2, which loses digits on input with a large mean (use_fast_variance=False avoids it).",
        "keras": "eps 1e-3; momentum 0.99 is the weight of the old statistic; biased moving variance.",
    },
    degenerate=SINGLE,
    initial="gamma 1, beta 0; running mean 0, running variance 1",
    defaults="the source gives no eps; running averages over the last batches, unbiased variance in evaluation",
    parameters={"weight": "C", "bias": "C"},
    buffers={"running_mean": "C", "running_var": "C", "num_batches_tracked": "1"},
    exemptions=exempt_untracked,
)

SYNC_BATCH = replace(
    BATCH,
    name="sync-batch",
    title="SyncBatchNorm",
    formula="BatchNorm over the samples of all devices of a process group",
    source="Peng et al., 2017, arXiv:1711.07240",
    train=(
        "As BatchNorm, with mean and variance combined over all devices that share the batch; without a process "
        "group it is BatchNorm."
    ),
    suits="Training on several devices with few samples on each, such as detection and segmentation.",
    breaks="The same as BatchNorm with the joint batch; and it waits for the slowest device at every layer.",
    build=build_sync,
    libraries={
        "torch": "nn.SyncBatchNorm: this layer. Its synchronized form takes no input on the CPU.",
        "timm": "convert_sync_batchnorm, which keeps BatchNormAct2d's activation.",
        "flax": "BatchNorm(axis_name=...).",
        "keras": "BatchNormalization(synchronized=True), on the TensorFlow backend only.",
    },
    defaults="those of BatchNorm",
    exceptions={"several devices": "torch's synchronized form rejects input on the CPU"},
)
