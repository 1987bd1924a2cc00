"""A profile of layers: what is counted is right by hand, every norm can be profiled, nothing is asserted about time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import normlab
from normlab.norms.catalog import NORMS, parse
from normlab.profiling.ask import own_slot, reason_against
from normlab.profiling.clock import LEAST_SECONDS, Stopwatch, compiled_apart, interleave
from normlab.profiling.memory import measure_memory
from normlab.profiling.picture import draw
from normlab.profiling.spec import Cost, Memory, Spread
from normlab.profiling.write import tables, write_profile

SHAPES = {"NC": (4, 32), "NCL": (4, 32, 3), "NLC": (4, 3, 32), "NCHW": (4, 32, 3, 2), "NCDHW": (4, 32, 2, 2, 3)}
CPU = torch.device("cpu")
CASES = [
    pytest.param(spec.name, layout, id=f"{spec.name}-{layout}")
    for spec in NORMS
    for layout in spec.axes
    if reason_against(parse(spec.name), own_slot(SHAPES[layout], layout), 4) is None
]


def cost_of(norm: str, shape: tuple[int, ...], **options: str) -> Cost:
    return normlab.profile([shape], [norm], repeats=1, **options).cases[0].costs[0]


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_every_norm_can_be_profiled_on_every_layout_that_it_takes(norm: str, layout: str) -> None:
    (case,) = normlab.profile([SHAPES[layout]], [norm], layout=layout, repeats=1).cases
    (cost,) = case.costs
    assert (cost.norm, cost.skipped, case.rounds) == (norm, "", 1)
    assert cost.both is not None
    layer = parse(norm).build(own_slot(SHAPES[layout], layout))
    assert cost.parameters >= sum(parameter.numel() for parameter in layer.parameters())


def test_bytes_moved_by_hand() -> None:
    size = 4 * 32 * 3 * 2 * 4
    batch, none = (cost_of(norm, SHAPES["NCHW"]) for norm in ("batch", "none"))
    assert (batch.bytes_forward, batch.bytes_backward) == (2 * size, 3 * size)
    assert (none.bytes_forward, none.bytes_backward) == (0, 0)
    assert cost_of("batch", SHAPES["NCHW"], dtype="bf16").bytes_forward == size


def test_memory_by_hand() -> None:
    x = torch.randn(8, 6, 5, requires_grad=True)
    dy, size = torch.randn(8, 6, 5), 8 * 6 * 5 * 4

    def memory(layer: Callable[[torch.Tensor], torch.Tensor], *parameters: nn.Parameter) -> Memory:
        return measure_memory(lambda: layer(x), dy, parameters)

    batch = nn.BatchNorm1d(6, track_running_stats=False)
    assert memory(batch, *batch.parameters()) == Memory(kept=2 * size + 2 * 6 * 4, saved=size + 2 * 6 * 4)
    assert memory(torch.tanh) == Memory(kept=size, saved=size)  # the output is what is saved
    assert memory(lambda x: x + 1) == Memory(kept=size, saved=0)
    scale = nn.Parameter(torch.ones(5))
    assert memory(lambda x: x * scale, scale) == Memory(kept=2 * size, saved=size)


def test_ratios_and_floors_follow_from_what_was_measured() -> None:
    (case,) = normlab.profile("4,32,3,2", ["batch", "group"], repeats=3).cases
    for cost in case.costs:
        assert cost.floor == pytest.approx((cost.bytes_forward + cost.bytes_backward) / case.copy.median)
        assert cost.both is not None
        assert cost.ratio is not None
        assert cost.ratio.low <= cost.ratio.median <= cost.ratio.high
    once = normlab.profile("4,32,3,2", ["batch"], repeats=1).cases[0].costs[0]
    assert once.both == Spread.of([once.forward.median + once.backward.median])
    assert once.bandwidth_share.median == pytest.approx(once.floor / once.both.median)


def test_every_round_holds_all_works_once_in_an_order_of_its_own() -> None:
    ticks = iter(range(10**9))
    called: list[str] = []

    def work(name: str, first: int, second: int) -> Callable[[Stopwatch], None]:
        def run(watch: Stopwatch) -> None:
            called.append(name)
            watch.mark()
            for _ in range(first - 1):
                next(ticks)
            watch.mark()
            for _ in range(second - 1):
                next(ticks)
            watch.mark()

        return run

    works = {"a": work("a", 1, 5), "b": work("b", 2, 2), "c": work("c", 7, 1)}
    found = interleave(works, CPU, 6, 1.0, lambda _: None, now=lambda: float(next(ticks)))
    assert {name: timings.rounds for name, timings in found.items()} == {
        "a": [(1.0, 5.0)] * 6,
        "b": [(2.0, 2.0)] * 6,
        "c": [(7.0, 1.0)] * 6,
    }
    rounds = [tuple(called[place : place + 3]) for place in range(9, len(called), 3)]  # after three warm-ups each
    assert len(rounds) == 6
    assert {frozenset(order) for order in rounds} == {frozenset("abc")}
    assert len(set(rounds)) > 1


def test_short_works_are_repeated_and_rounds_fill_the_time() -> None:
    now = 0.0

    def work(watch: Stopwatch) -> None:
        nonlocal now
        watch.mark()
        now += LEAST_SECONDS / 4
        watch.mark()

    found = interleave({"a": work}, CPU, None, 10 * LEAST_SECONDS, lambda _: None, now=lambda: now)["a"]
    assert found.totals() == pytest.approx([LEAST_SECONDS / 4] * 10)


def test_without_norms_the_catalogue_is_measured_and_what_does_not_fit_is_left_out_with_its_reason() -> None:
    costs = {cost.norm: cost for cost in normlab.profile("4,6,3,2", repeats=1).cases[0].costs}
    assert set(costs) == {spec.name for spec in NORMS if "NCHW" in spec.axes}
    assert "do not divide 6 channels" in costs["group"].skipped
    assert costs["group"].both is None


def test_random_numbers_are_nobody_else_s() -> None:
    before = torch.random.get_rng_state()
    normlab.profile("4,32", ["batch", "dyt"], repeats=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sizes_change_the_batch_alone() -> None:
    found = normlab.profile("1,32,8,8", ["batch"], sizes=(0.0625, 0.125), repeats=1)
    assert [case.shape for case in found.cases] == [(8, 32, 8, 8), (16, 32, 8, 8)]
    assert [case.bytes for case in found.cases] == [2**16, 2**17]


def test_layouts_are_chosen_by_the_norms() -> None:
    assert normlab.profile("4,3,32", ["layer"], repeats=1).layout == "NLC"
    assert normlab.profile("4,32,3", ["batch"], repeats=1).layout == "NCL"
    assert normlab.profile("4,3,32", ["none"], layout="nlc", repeats=1).layout == "NLC"


def test_half_precision_and_channels_last() -> None:
    found = normlab.profile("4,32,3,2", ["batch"], dtype="bf16", memory_format="channels_last", repeats=1)
    assert (found.dtype, found.memory_format) == ("bfloat16", "channels_last")
    assert found.cases[0].bytes == 4 * 32 * 3 * 2 * 2


def test_files_and_tables_say_the_same(tmp_path: Path) -> None:
    found = normlab.profile(["2,32,3,2", "4,32,3,2"], ["batch", "group:groups=8", "none"], repeats=2)
    files = write_profile(found, tmp_path / "p")
    kept = json.loads(files[0].read_text())
    assert kept == json.loads(json.dumps(found.to_dict()))
    assert [cost["norm"] for cost in kept["cases"][1]["costs"]] == ["batch", "group:groups=8", "none"]
    assert files[1].stat().st_size > 10_000
    lines = draw(found).axes[2].get_lines()
    assert [line.get_label() for line in lines[:3]] == ["BatchNorm", "GroupNorm (groups=8)", "no norm"]
    assert len({line.get_marker() for line in lines[:3]}) == 3
    assert list(lines[0].get_ydata()) == [1e3 * case.costs[0].both.median for case in found.cases]
    said = [part for part in tables(found) if isinstance(part, str)]
    assert sum("A copy moves" in text for text in said) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch uses what it has deprecated
def test_compiled_layers() -> None:
    found = normlab.profile("4,32", ["batch", "dyt"], compile=True, repeats=1)
    assert found.compiled
    assert found.reference == "torch's BatchNorm, compiled too"
    assert all(cost.both for cost in found.cases[0].costs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_more_layers_of_a_class_than_torch_compiles_by_itself() -> None:
    compiled = 0

    def count(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        nonlocal compiled
        compiled += 1
        return graph.forward

    with compiled_apart():
        for groups in range(1, 13):
            torch.compile(nn.GroupNorm(groups, 2 * groups), backend=count)(torch.ones(1, 2 * groups, 2))
    assert compiled == 12
