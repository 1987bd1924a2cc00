"""A small transformer."""

from __future__ import annotations

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from normlab.norms.slot import Slot
from normlab.tasks.models.parts import ScaledLinear
from normlab.tasks.spec import MakeNorm

Placement = Literal["pre", "post", "sandwich", "deepnorm"]


class Attention(nn.Module):
    """Multi-head self-attention: softmax(n(q) n(k)^T / sqrt(D)) v, joined by a linear layer.

    The slots of the role ``query-key`` are on each head's queries and keys (A. Henry et al., 2020, arXiv:2010.04245),
    whose D features are the channels and whose heads and tokens are the positions; they stay empty unless a study
    names them.

    Arguments:
        path: the name in the model.
        sizes: tokens, width and heads.
        factors: of the starting weights of queries and keys, and of values and outputs; None for torch's own.
        causal: whether a token sees only itself and those before it.
        make_norm: makes what stands in a slot.
    """

    def __init__(
        self,
        path: str,
        sizes: tuple[int, int, int],
        factors: tuple[float, float] | None,
        causal: bool,
        make_norm: MakeNorm,
    ) -> None:
        super().__init__()
        length, width, self.heads = sizes
        self.causal = causal
        first, second = factors or (None, None)
        self.query, self.key = (linear(width, width, first) for _ in range(2))
        self.value, self.output = (linear(width, width, second) for _ in range(2))

        def norm(layer: str) -> nn.Module:
            head = width // self.heads
            return make_norm(
                Slot(head, "NLC", (self.heads * length,), f"{path}.{layer}", role="query-key", optional=True)
            )

        self.query_norm, self.key_norm = norm("query"), norm("key")

    def forward(self, x: Tensor) -> Tensor:
        """What each token takes from the others; ``x`` is samples, tokens, width."""
        samples, length, width = x.shape
        heads = (samples, self.heads, length, width // self.heads)

        def split(values: Tensor) -> Tensor:
            return values.reshape(samples, length, self.heads, -1).transpose(1, 2)

        def normalized(values: Tensor, norm: nn.Module) -> Tensor:
            return norm(split(values).flatten(1, 2)).reshape(heads)  # type: ignore[no-any-return]

        query, key = normalized(self.query(x), self.query_norm), normalized(self.key(x), self.key_norm)
        likeness = query @ key.transpose(-2, -1) / sqrt(width // self.heads)
        if self.causal:
            later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            likeness = likeness.masked_fill(later, float("-inf"))
        taken = likeness.softmax(dim=-1) @ split(self.value(x))
        return self.output(taken.transpose(1, 2).reshape(samples, length, width))  # type: ignore[no-any-return]


class Sublayer(nn.Module):
    """A function with its residual connection and its norms, placed in one of four ways.

        pre         x + f(n(x))            R. Xiong et al., 2020, arXiv:2002.04745
        post        n(x + f(x))            A. Vaswani et al., 2017, arXiv:1706.03762
        sandwich    x + m(f(n(x)))         M. Ding et al., 2021, arXiv:2105.13290
        deepnorm    n(alpha x + f(x))      H. Wang et al., 2022, arXiv:2203.00555

    Arguments:
        function: f, whose last layer has the name ``last`` in the model.
        placement: where the norms stand.
        alpha: of ``deepnorm``.
        slot: of a norm on the width of the model.
        last: the name in the model of the last layer of f.
        make_norm: makes what stands in a slot.
    """

    def __init__(
        self, function: nn.Module, placement: Placement, alpha: float, slot: Slot, last: str, make_norm: MakeNorm
    ) -> None:
        super().__init__()
        self.placement, self.alpha = placement, alpha
        self.norm = make_norm(slot)
        self.function = function
        if placement == "sandwich":
            self.second_norm = make_norm(Slot(slot.channels, slot.layout, slot.extent, last))

    def forward(self, x: Tensor) -> Tensor:
        """The sublayer's output."""
        if self.placement == "pre":
            return x + self.function(self.norm(x))  # type: ignore[no-any-return]
        if self.placement == "sandwich":
            return x + self.second_norm(self.function(self.norm(x)))  # type: ignore[no-any-return]
        return self.norm(self.alpha * x + self.function(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Token and position embeddings, blocks of attention and feed-forward network, and a linear layer on each token.

    With the placements ``pre`` and ``sandwich`` a norm of the role ``output`` stands before the linear layer. With
    ``deepnorm`` and N blocks, alpha = (2N)^(1/4), and the weights of values, outputs and feed-forward networks start
    smaller by beta = (8N)^(-1/4).

    Arguments:
        symbols: how many different tokens come in, and go out.
        length: tokens of a sequence, at most.
        sizes: width, blocks and heads.
        placement: where the norms stand.
        causal: whether a token sees only itself and those before it.
        make_norm: makes what stands in a slot.
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        sizes: tuple[int, int, int],
        placement: Placement,
        causal: bool,
        make_norm: MakeNorm,
    ) -> None:
        super().__init__()
        width, depth, heads = sizes
        deep = placement == "deepnorm"
        alpha, beta = ((2 * depth) ** 0.25, (8 * depth) ** -0.25) if deep else (1.0, None)
        factors = None if beta is None else (1.0, beta)
        slot = Slot(width, "NLC", (length,))
        self.token = nn.Embedding(symbols, width)
        self.position = nn.Embedding(length, width)
        self.sublayers = nn.Sequential()
        for number in range(0, 2 * depth, 2):
            path = f"sublayers.{number}.function"
            attention = Attention(path, (length, width, heads), factors, causal, make_norm)
            self.sublayers.append(Sublayer(attention, placement, alpha, slot, f"{path}.output", make_norm))
            feed_forward = nn.Sequential(linear(width, 4 * width, beta), nn.GELU(), linear(4 * width, width, beta))
            last = f"sublayers.{number + 1}.function.2"
            self.sublayers.append(Sublayer(feed_forward, placement, alpha, slot, last, make_norm))
        self.norm: nn.Module = nn.Identity()
        if placement in ("pre", "sandwich"):
            self.norm = make_norm(Slot(width, "NLC", (length,), role="output"))
        self.linear = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the symbols at each token; ``tokens`` is samples, tokens."""
        positions = torch.arange(tokens.shape[-1], device=tokens.device)
        x = self.token(tokens) + self.position(positions)
        return self.linear(self.norm(self.sublayers(x)))  # type: ignore[no-any-return]


def linear(inputs: int, outputs: int, factor: float | None) -> nn.Linear:
    """A linear layer with torch's starting weights, or with Glorot's times a factor."""
    return nn.Linear(inputs, outputs) if factor is None else ScaledLinear(inputs, outputs, factor)
