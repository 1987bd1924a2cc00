"""torch's own transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from architectures.spec import Architecture


def _encoder() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(32)), (torch.randn(2, 9, 32),)


def _pre_norm_encoder() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = nn.TransformerEncoderLayer(32, 4, 48, norm_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False), (torch.randn(9, 2, 32),)


def _decoder() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = nn.TransformerDecoderLayer(32, 4, 48, batch_first=True)
    return nn.TransformerDecoder(layer, 2, nn.LayerNorm(32)), (torch.randn(2, 7, 32), torch.randn(2, 9, 32))


def _translator() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return nn.Transformer(32, 4, 1, 1, 48, batch_first=True), (torch.randn(2, 9, 32), torch.randn(2, 7, 32))


class Attending(nn.Module):
    """Attention between norms, as in a block that was written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm2 = nn.RMSNorm(32)
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        mixed: Tensor = self.attention(y, y, y, need_weights=False)[0]
        result: Tensor = self.out(self.norm2(x + mixed))
        return result


def _attention() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Attending(), (torch.randn(2, 9, 32),)


ARCHITECTURES = (
    Architecture("torch-encoder", "torch", _encoder),
    Architecture("torch-encoder-pre-norm", "torch", _pre_norm_encoder),
    Architecture("torch-decoder", "torch", _decoder),
    Architecture("torch-transformer", "torch", _translator),
    Architecture("torch-attention", "torch", _attention),
)
