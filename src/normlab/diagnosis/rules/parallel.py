"""Rules about several devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms
from normlab.diagnosis.spec import OUTPUTS, CannotTell, Evidence, Rule
from normlab.errors import describe_error
from normlab.recognition.inputs import run_model, samples_in
from normlab.recognition.state import kept
from normlab.tables import plural
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import nn

SMALL = 16  # samples on a device, below which Wu and He see BatchNorm's error rise


def _alone(case: Case) -> Iterator[Evidence]:
    """SyncBatchNorm where there is nobody to synchronize with, or on a device where it cannot."""
    import torch
    from torch import nn

    distributed = torch.distributed
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        processes = distributed.get_world_size()
    for norm in case.norms:
        if not isinstance(norm.module, nn.SyncBatchNorm):
            continue
        device = next((tensor.device.type for tensor in norm.module.state_dict().values()), "cpu")
        together = case.ddp or processes > 1
        if together and device == "cpu":
            yield Evidence(
                norm.name,
                "its tensors are on the CPU: with more than one process its forward pass in training mode raises "
                "ValueError",
                "Move the model to its GPU, or go back: `normlab.from_sync(model)`.",
                {"processes": processes},
                "warning",
            )
        elif not together:
            yield Evidence(
                norm.name,
                f"{processes} process on {device}: it computes BatchNorm of this device's samples alone",
                figures={"processes": processes},
            )


def _on_each_device(case: Case) -> Iterator[Evidence]:
    """Few samples for each device's own statistics; and two forward passes with the buffers written in between."""
    layers = [norm for norm in batch_norms(case) if norm.kind != "sync-batch"]
    if not layers:
        return
    samples = case.batch_size or samples_in(case.inputs)
    if 0 < samples < SMALL:
        yield Evidence(
            "",
            f"each device takes the statistics of {plural(len(layers), 'layer')} from its own "
            f"{plural(samples, 'sample')}, and only rank 0's running statistics are saved",
            "Synchronize on GPUs: `normlab.to_sync(model)`; or take a norm that does not depend on the batch: "
            "`normlab.swap(model, 'group')`.",
            {"layers": len(layers), "samples": samples},
            "warning",
        )
    if not (case.broadcasts and case.knows("inputs")):
        return
    error = _two_passes(case.model, case.inputs, overwrite=True)
    if error is not None and _two_passes(case.model, case.inputs, overwrite=False) is None:
        values = sum(getattr(norm.module, name).numel() for norm in layers for name in norm.running)
        yield Evidence(
            "",
            f"DistributedDataParallel writes {values} values of running statistics from rank 0 before each forward "
            f"pass: tried here, two forward passes before one backward pass raise {describe_error(error)}",
            "With two forward passes in a step (GAN, contrastive): concatenate the inputs, or "
            "`DistributedDataParallel(model, forward_sync_buffers=False)`, in earlier versions of torch "
            "`broadcast_buffers=False`.",
            {"values": values},
        )


def _two_passes(model: nn.Module, inputs: object, *, overwrite: bool) -> Exception | None:
    """What two forward passes and one backward pass raise, with the buffers written in between or not.

    Raises:
        CannotTell: nothing comes out that a backward pass can begin at.
    """
    import torch

    with kept(model), torch.enable_grad():
        torch.manual_seed(0)
        model.train()
        try:
            losses = []
            for _ in range(2):
                if overwrite:
                    with torch.no_grad():
                        for buffer in model.buffers():
                            buffer.copy_(buffer.clone())
                outputs = [one for one in tensors_of(run_model(model, inputs)) if one.is_floating_point()]
                if not outputs:
                    raise CannotTell(OUTPUTS)
                losses += [output.float().square().mean() for output in outputs if output.requires_grad]
            if losses:
                torch.autograd.backward(torch.stack(losses).sum())
        except CannotTell:
            raise
        except Exception as error:
            return error
    return None


RULES = (
    Rule(
        "NL402",
        "sync-batch-norm-alone",
        "note",
        "SyncBatchNorm on one device, or on the CPU",
        "Without other processes it is BatchNorm under another name, which some converters, engines and exports do not "
        "know; with several it runs on GPUs alone.",
        "https://github.com/pytorch/pytorch/issues/37930",
        "Go back for one device: `normlab.from_sync(model)`.",
        "model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # and then on one device",
        _alone,
    ),
    Rule(
        "NL403",
        "batch-norm-on-each-device",
        "note",
        "BatchNorm under DistributedDataParallel: statistics of each device alone, and buffers that rank 0 overwrites",
        "The batch of BatchNorm is that of one device, not that of the step; and the broadcast writes buffers in place "
        "that an earlier forward pass still needs.",
        "https://github.com/pytorch/pytorch/issues/13711; https://github.com/pytorch/pytorch/issues/22095; "
        "Wu and He 2018, arXiv:1803.08494",
        "On GPUs synchronize: `normlab.to_sync(model)`; or take a norm without buffers: "
        "`normlab.swap(model, 'group')`.",
        "model = DistributedDataParallel(resnet)  # 4 samples on each of 8 devices",
        _on_each_device,
        ("ddp",),
    ),
)
