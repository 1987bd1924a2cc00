"""Rules about shortcuts that compute a norm which does not stand there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.case import Case
from normlab.diagnosis.spec import Evidence, Rule
from normlab.errors import describe_error
from normlab.recognition.known import own_forward, torch_class
from normlab.recognition.state import kept
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLES, STEPS = 2, 4  # of the input that is drawn for the layer
SAME = 1e-3  # relative to the largest output


def _shortcut(case: Case) -> Iterator[Evidence]:
    """Each encoder layer by itself in evaluation mode: on the way of training, and on the fast path."""
    from torch import nn

    for name, layer in case.model.named_modules():
        if not isinstance(layer, nn.TransformerEncoderLayer):
            continue
        norms = [norm for norm in (layer.norm1, layer.norm2) if torch_class(norm) != "LayerNorm" or own_forward(norm)]
        if not norms:
            continue
        kinds = " and ".join(dict.fromkeys(type(norm).__name__ for norm in norms))
        slow, fast = _both_ways(case.model, layer)
        if isinstance(slow, Exception):
            continue  # it cannot be run on what it says that it takes: no proof
        if isinstance(fast, Exception):
            message = f"in evaluation mode it looks whether LayerNorm's fast path fits, and {kinds} makes that raise"
            yield Evidence(name, f"{message}: {describe_error(fast)}", figures={"raises": 1.0})
        elif (difference := float((fast - slow).abs().max())) > SAME * (largest := float(slow.abs().max())):
            yield Evidence(
                name,
                f"without gradients evaluation takes a fast path that computes LayerNorm in place of {kinds}: on an "
                f"input of {list(slow.shape)} outputs up to {largest:.3g} change by up to {difference:.3g}",
                figures={"difference": difference, "largest": largest},
            )


def _both_ways(model: nn.Module, layer: nn.TransformerEncoderLayer) -> tuple[Tensor | Exception, Tensor | Exception]:
    """What it gives in evaluation mode without the fast path, which its own flag alone turns off, and with it."""
    import torch

    weight = next(layer.parameters())
    with kept(model), torch.no_grad():
        torch.manual_seed(0)
        model.eval()
        sizes = (SAMPLES, STEPS) if layer.self_attn.batch_first else (STEPS, SAMPLES)
        value = torch.randn(*sizes, layer.self_attn.embed_dim, dtype=weight.dtype, device=weight.device)
        fast = _attempt(layer, value)
        layer.training = True  # its norms and dropouts stay in evaluation mode
        return _attempt(layer, value), fast


def _attempt(layer: nn.Module, value: Tensor) -> Any:
    try:
        return next(iter(tensors_of(layer(value))))
    except Exception as error:
        return error


RULES = (
    Rule(
        "NL401",
        "fast-path-computes-layernorm",
        "error",
        "a fast path of nn.TransformerEncoderLayer that computes LayerNorm, or raises, for another norm",
        "In evaluation mode without gradients torch's encoder layer hands gamma, beta and eps to a fused kernel that "
        "is LayerNorm, whatever class they are of; a norm without `bias` or `eps` raises.",
        "https://github.com/pytorch/pytorch/blob/v2.5.0/torch/nn/modules/transformer.py",
        "Swap with `normlab.swap`, which guards the layer; or `torch.backends.mha.set_fastpath_enabled(False)`.",
        "layer = nn.TransformerEncoderLayer(64, 4, batch_first=True)\n"
        "layer.norm1, layer.norm2 = nn.RMSNorm(64), nn.RMSNorm(64)",
        _shortcut,
    ),
)
