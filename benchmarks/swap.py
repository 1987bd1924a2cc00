"""Swapping the norms of a language model of a billion parameters: seconds, and memory beyond the model itself.

python3 benchmarks/swap.py                   everything; some minutes, and about 5 GB of memory
python3 benchmarks/swap.py --way shared      one way to swap; --way can be repeated
python3 benchmarks/swap.py --layers 2        a smaller model

The model is a stack as of Llama: 2048 features, 22 layers, an intermediate size of 5632, 32,000 tokens, with RMSNorms
in a class of its own, which therefore are told by what they compute. Each way runs in a process of its own, on the
meta device and with real weights in bfloat16; `peak` is the most memory that the swap needed beyond what was held
before it (on Linux). The check is that weights that stay are the very tensors of the model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import normlab
from speed.growth import peak_mib
from speed.machine import describe_machine, machine_name

RESULTS = Path(__file__).parent / "results"
WAYS: dict[str, Any] = {"in place": False, "shared": "shared", "copy": True}
FEATURES, INNER, TOKENS = 2048, 5632, 32_000


class RootMeanSquare(nn.Module):
    """The RMSNorm that libraries of language models write themselves."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.variance_epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * wide.to(x.dtype)


class Block(nn.Module):
    """Attention and a gated feed-forward network, each behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = RootMeanSquare(FEATURES)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(FEATURES, FEATURES, False) for _ in range(4))
        self.post_attention_layernorm = RootMeanSquare(FEATURES)
        self.gate_proj, self.up_proj = (nn.Linear(FEATURES, INNER, False) for _ in range(2))
        self.down_proj = nn.Linear(INNER, FEATURES, False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.input_layernorm(x)
        query, key, value = (
            part(normed).unflatten(-1, (32, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.o_proj(mixed.transpose(1, 2).flatten(-2))
        normed = self.post_attention_layernorm(x)
        gated: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return x + gated


def language_model(layers: int, device: str) -> nn.Module:
    """The model, with weights that are there in memory but mean nothing."""
    with torch.device("meta"):
        blocks = [Block() for _ in range(layers)]
        head = nn.Linear(FEATURES, TOKENS, False)
        model = nn.Sequential(nn.Embedding(TOKENS, FEATURES), *blocks, RootMeanSquare(FEATURES), head)
    model.bfloat16()
    if device != "meta":
        model.to_empty(device=device)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.01)
    return model


def measure(way: str, device: str, layers: int, norm: str) -> dict[str, Any]:
    """One swap in this process."""
    small = language_model(1, device)  # what is loaded and compiled once is not counted
    normlab.swap(small, norm, copy=False)
    del small
    model = language_model(layers, device)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    forget_peak()
    before = peak_mib()
    began = perf_counter()
    swapped, report = normlab.swap(model, norm, copy=WAYS[way])
    seconds = perf_counter() - began
    peak = peak_mib() - before
    others = {id(parameter) for parameter in swapped.parameters()}
    began = perf_counter()
    report.undo()
    return {
        "way": way,
        "device": device,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model_mib": 0.0 if device == "meta" else sum(2 * weight.numel() for weight in weights) / 2**20,
        "norms": sum(entry.action == "replace" for entry in report.entries),
        "seconds": seconds,
        "undo_seconds": perf_counter() - began,
        "peak_mib": peak,
        "same_tensors": all(id(weight) in others for weight in weights),
    }


def forget_peak() -> None:
    """Has the system count the peak memory of this process from now on, where it can."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Measures, shows and keeps; 1 if weights that should be shared were copied."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", action="append", choices=list(WAYS), help="repeat it; all by default")
    parser.add_argument("--layers", type=int, default=22, help="layers of the model (22)")
    parser.add_argument("--to", default="layer", help="the norm that takes the place (layer)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to keep results, instead of benchmarks/results")
    parser.add_argument("--one", metavar="DEVICE", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    ways = given.way or list(WAYS)
    if given.one:
        print(json.dumps(measure(ways[0], given.one, given.layers, given.to)))
        return 0
    rows = [_apart(way, device, given) for device in ("meta", "cpu") for way in ways]
    machine = describe_machine()
    command = f"python3 benchmarks/swap.py{''.join(f' --way {way!r}' for way in given.way or [])}"
    command += f" --layers {given.layers} --to {given.to}"
    result = {"date": date.today().isoformat(), "machine": machine, "command_line": command, "rows": rows}
    default = RESULTS / f"{result['date']}-swap-{machine_name(machine)}.json" if given.layers == 22 else None
    if path := given.out or default:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["same_tensors"] or row["way"] == "copy" for row in rows) else 1


def _apart(way: str, device: str, given: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own; shown as soon as it is there."""
    options = ["--one", device, "--way", way, "--layers", str(given.layers), "--to", given.to]
    done = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{row['parameters'] / 1e9:.2f} billion parameters, {device:>4}, {way:>8}: {row['norms']} norms in "
        f"{row['seconds']:.2f} s, undone in {row['undo_seconds']:.3f} s; peak {row['peak_mib']:,.0f} MiB beside "
        f"{row['model_mib']:,.0f} MiB of weights that stay"
    )
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
