"""Planted and healthy cases of the rules about batches, NL2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from diagnosis.cases.layers import behind
from diagnosis.cases.pair import Arguments, Pair


def plain(norm: nn.Module) -> tuple[nn.Module, ...]:
    return nn.Linear(8, 6), norm, nn.ReLU()


def loaded(
    norm: nn.Module, samples: int, batch: int = 32, labels: torch.Tensor | None = None, **more: Any
) -> Arguments:
    """A model with the loader of its training batches, whose labels are 0, 1, 2, 3, 0, ... if none are given."""
    torch.manual_seed(0)
    classes = torch.arange(samples) % 4 if labels is None else labels
    data = TensorDataset(torch.randn(samples, 8), classes)
    options = more if "batch_sampler" in more else {"batch_size": batch, **more}
    return {"model": nn.Sequential(*plain(norm)), "loader": DataLoader(data, **options)}


def batches_of(*sizes: int) -> list[list[int]]:
    return [list(range(size)) for size in sizes]


def in_order(samples: int, *, drop_last: bool) -> BatchSampler:
    return BatchSampler(SequentialSampler(range(samples)), 32, drop_last)


def unlike(means: float, **more: Any) -> Callable[[], Arguments]:
    """Images whose means differ from sample to sample by so much."""
    torch.manual_seed(0)
    inputs = torch.randn(4, 3, 9, 9) + means * torch.randn(4, 3, 1, 1)
    return lambda: {"model": nn.Sequential(nn.BatchNorm2d(3)), "inputs": (inputs,), **more}


SORTED = torch.arange(256) // 64


def named(labels: torch.Tensor) -> Arguments:
    """A loader of dictionaries, as libraries of data sets give them."""
    data = [{"input": torch.randn(8), "label": int(label)} for label in labels]
    return {"model": nn.Sequential(*plain(nn.BatchNorm1d(6))), "loader": DataLoader(data, batch_size=32)}  # type: ignore[arg-type]


def made(*sizes: int) -> Iterator[torch.Tensor]:
    """Batches of these sizes, once."""
    return (torch.randn(size, 8) for size in sizes)


PAIRS = (
    Pair(
        "NL201",
        "raises",
        behind(*plain(nn.BatchNorm1d(6)), batch_size=1),
        behind(*plain(nn.BatchNorm1d(6)), batch_size=8),
        "1",
        ("it raises in training, ValueError",),
    ),
    Pair(
        "NL201",
        "one-image",
        behind(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), inputs="4,3,9,9", batch_size=1),
        behind(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), inputs="4,3,9,9", batch_size=1),
        "1",
        ("49 positions", "differs"),
    ),
    Pair(
        "NL202",
        "remainder-of-one",
        lambda: loaded(nn.BatchNorm1d(6), 65),
        lambda: loaded(nn.BatchNorm1d(6), 65, drop_last=True),
        "1",
        ("65 samples in batches of 32",),
    ),
    Pair(
        "NL202",
        "remainder-without-batch-norm",
        lambda: loaded(nn.BatchNorm1d(6), 65),
        lambda: loaded(nn.LayerNorm(6), 65),
        "1",
    ),
    Pair(
        "NL202",
        "nothing-is-left",
        lambda: loaded(nn.BatchNorm1d(6), 20, drop_last=True),
        lambda: loaded(nn.BatchNorm1d(6), 64, drop_last=True),
        "",
        ("leaves no batch",),
    ),
    Pair(
        "NL202",
        "sampler-of-batches",
        lambda: loaded(nn.BatchNorm1d(6), 65, batch_sampler=in_order(65, drop_last=False)),
        lambda: loaded(nn.BatchNorm1d(6), 65, batch_sampler=in_order(65, drop_last=True)),
        "1",
        ("65 samples in batches of 32",),
    ),
    Pair(
        "NL202",
        "own-batches",
        lambda: loaded(nn.BatchNorm1d(6), 65, batch_sampler=batches_of(32, 32, 1)),
        lambda: loaded(nn.BatchNorm1d(6), 65, batch_sampler=batches_of(32, 1, 32)),
        "1",
        ("the last of 3 batches has 1 sample", "ValueError"),
    ),
    Pair(
        "NL202",
        "batches-in-a-list",
        lambda: {"model": nn.Sequential(*plain(nn.BatchNorm1d(6))), "loader": [torch.randn(n, 8) for n in (9, 9, 1)]},
        lambda: {"model": nn.Sequential(*plain(nn.BatchNorm1d(6))), "loader": [torch.randn(n, 8) for n in (9, 9, 2)]},
        "1",
        ("the last of 3 batches has 1 sample",),
    ),
    Pair(
        "NL202",
        "made-by-a-function",
        lambda: {"model": nn.Sequential(*plain(nn.BatchNorm1d(6))), "loader": lambda: made(9, 9, 1)},
        lambda: {"model": nn.Sequential(*plain(nn.BatchNorm1d(6))), "loader": lambda: made(9, 1, 9)},
        "1",
        ("the last of 3 batches has 1 sample",),
    ),
    Pair(
        "NL203",
        "two",
        behind(*plain(nn.BatchNorm1d(6)), batch_size=2),
        behind(*plain(nn.BatchNorm1d(6)), batch_size=32),
        "1",
        ("a sign alone",),
    ),
    Pair(
        "NL203",
        "five",
        behind(*plain(nn.BatchNorm1d(6)), batch_size=5),
        behind(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), inputs="4,3,9,9", batch_size=5),
        "1",
        ("relative error of 71%",),
    ),
    Pair(
        "NL204",
        "buckets",
        lambda: loaded(nn.BatchNorm1d(6), 64, batch_sampler=batches_of(4, 32, 8, 30, 16)),
        lambda: loaded(nn.BatchNorm1d(6), 70, shuffle=True),
        "",
        ("from 4 to 32",),
    ),
    Pair(
        "NL205",
        "by-class",
        lambda: loaded(nn.BatchNorm1d(6), 256, labels=SORTED),
        lambda: loaded(nn.BatchNorm1d(6), 256, labels=SORTED, shuffle=True),
        "",
        ("of 4 classes",),
    ),
    Pair(
        "NL205",
        "samples-with-names",
        lambda: named(SORTED),
        lambda: named(torch.arange(256) % 4),
        "",
        ("of 4 classes",),
    ),
    Pair(
        "NL205",
        "in-order-but-mixed",
        lambda: loaded(nn.BatchNorm1d(6), 256, labels=SORTED),
        lambda: loaded(nn.BatchNorm1d(6), 256),
        "",
    ),
    Pair("NL206", "unlike-samples", unlike(1.0, batch_size=2), unlike(0.0, batch_size=2), "0", ("strays",)),
)
