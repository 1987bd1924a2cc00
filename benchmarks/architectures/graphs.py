"""Models of torch-geometric, with its norms of nodes and of graphs."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from architectures.spec import Architecture


def _graph() -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve nodes in a ring, with both directions of each edge."""
    here = torch.arange(12)
    there = (here + 1) % 12
    return torch.randn(12, 6), torch.stack([torch.cat([here, there]), torch.cat([there, here])])


def _model(name: str, norm: str, sizes: dict[str, Any]) -> tuple[nn.Module, Any]:
    models: Any = import_module("torch_geometric.nn").models
    inputs = _graph()
    if name == "PNA":
        sizes = {**sizes, "deg": torch.tensor([0, 0, 12])}
    return getattr(models, name)(6, 16, num_layers=3, out_channels=4, norm=norm, **sizes), inputs


_BATCH = "batch"
_PNA = {"aggregators": ["mean", "max"], "scalers": ["identity", "amplification"]}
_MODELS: tuple[tuple[str, str, str, dict[str, Any], tuple[tuple[str, str], ...]], ...] = (
    ("gcn-batch", "GCN", "BatchNorm", {}, ()),
    ("gin-batch", "GIN", "BatchNorm", {}, ()),
    ("pna-batch", "PNA", "BatchNorm", _PNA, ()),
    ("gcn-layer", "GCN", "LayerNorm", {}, (("LayerNorm", _BATCH),)),
    ("gat-graph", "GAT", "GraphNorm", {"heads": 2}, (("GraphNorm", _BATCH),)),
    ("sage-pair", "GraphSAGE", "PairNorm", {}, (("PairNorm", _BATCH),)),
    ("sage-instance", "GraphSAGE", "InstanceNorm", {}, (("InstanceNorm", _BATCH),)),
)
ARCHITECTURES = tuple(
    Architecture(name, "torch_geometric", partial(_model, kind, norm, sizes), left)
    for name, kind, norm, sizes, left in _MODELS
)
