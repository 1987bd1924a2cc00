"""A profile of layers: what is counted is right by hand, every norm can be profiled, nothing is asserted about time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

import normlab
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.profiling import bench
from normlab.profiling.clock import LEAST_SECONDS, Stopwatch, Timings, compiled_apart, interleave
from normlab.profiling.memory import measure_memory
from normlab.profiling.picture import draw
from normlab.profiling.requests import reason_against
from normlab.profiling.spec import Case, Cost, Memory, Profile, Spread
from normlab.profiling.write import prepared, tables, write_profile
from normlab.recognition.free_memory import LEAST_TENSORS, MOST_TENSORS

SHAPES = {"NC": (4, 32), "NCL": (4, 32, 3), "NLC": (4, 3, 32), "NCHW": (4, 32, 3, 2), "NCDHW": (4, 32, 2, 2, 3)}
CPU = torch.device("cpu")
CASES = [
    pytest.param(spec.name, layout, id=f"{spec.name}-{layout}")
    for spec in NORMS
    for layout in spec.axes
    if reason_against(parse(spec.name), Slot.alone(SHAPES[layout], layout), 4) is None
]


def cost_of(norm: str, shape: tuple[int, ...], **options: str) -> Cost:
    return normlab.profile([shape], [norm], repeats=1, **options).cases[0].costs[0]


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_every_norm_can_be_profiled_on_every_layout_that_it_takes(norm: str, layout: str) -> None:
    (case,) = normlab.profile([SHAPES[layout]], [norm], layout=layout, repeats=1).cases
    (cost,) = case.costs
    assert (cost.norm, cost.skipped, case.rounds) == (norm, "", 1)
    assert cost.both is not None
    layer = parse(norm).build(Slot.alone(SHAPES[layout], layout))
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


def test_norms_that_change_weights_are_compared_with_their_layer_and_batch_norm() -> None:
    (case,) = normlab.profile((4, 32, 3, 2), ["batch", "weight", "standardized-group"], repeats=3).cases
    batch, *others = case.costs
    assert not batch.with_layer
    for cost in others:
        assert cost.with_layer
        assert cost.ratio is not None
        assert (cost.floor, cost.bandwidth_share, cost.bytes_forward, cost.bytes_backward) == (None, None, 0, 0)
        assert "together with the layer whose weights it changes" in cost.note
        assert "ratio: to that layer with torch's BatchNorm after it" in cost.note
    table = next(part for part in tables(normlab.profile("4,32", ["weight"], repeats=1)) if not isinstance(part, str))
    cells = {" ".join(str(column.header).split()): list(column.cells) for column in table.columns}
    assert [cells[name] for name in ("floor ms", "of copy speed", "kept")] == [["-"]] * 3
    (axes,) = draw(normlab.profile("4,32", ["weight", "batch"], repeats=1)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["WeightNorm, with its layer", "BatchNorm"]


def test_the_ratio_to_a_layer_with_batch_norm_is_taken_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"weight": [6.0, 9.0], "a layer with the reference": [3.0, 3.0], "the reference": [1.0, 1.0]}

    def fake(works: dict[str, object], *_: object) -> dict[str, Timings]:
        return {name: Timings([(total, 0.0) for total in given.get(name, [2.0, 2.0])]) for name in works}

    monkeypatch.setattr("normlab.profiling.bench.interleave", fake)
    (case,) = normlab.profile("4,32", ["weight", "batch"]).cases
    assert case.costs[0].ratio == Spread.of([2.0, 3.0])
    assert case.costs[1].ratio == Spread.of([2.0, 2.0])
    assert case.itself == Spread.of([2.0, 2.0])


@pytest.mark.parametrize(
    ("once_more", "copy", "words"),
    [
        ([1.0, 1.0, 1.02], 1e-9, []),
        ([1.0, 1.0, 3.0], 1e-9, ["against itself has a ratio of 1.00 (1.00-2.00)"]),
        ([1.4, 1.4, 1.4], 1e-9, ["against itself has a ratio of 1.40"]),
        ([1.0, 1.0, 1.0], 9.0, ["The floor lies above the time of BatchNorm, GroupNorm"]),
    ],
)
def test_numbers_that_cannot_be_trusted_are_said(
    monkeypatch: pytest.MonkeyPatch, once_more: list[float], copy: float, words: list[str]
) -> None:
    def fake(works: dict[str, object], *_: object) -> dict[str, Timings]:
        given = {"the reference once more": once_more, "a copy": [copy] * 3}
        return {name: Timings([(total, 0.0) for total in given.get(name, [1.0] * 3)]) for name in works}

    monkeypatch.setattr("normlab.profiling.bench.interleave", fake)
    found = normlab.profile("4,32,3,2", ["batch", "group", "none"])
    warnings = found.cases[0].warnings
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
    assert [part for part in tables(found) if str(part).startswith("Beware: ")] == [f"Beware: {w}." for w in warnings]


def test_shapes_and_norms_in_every_form() -> None:
    for shape in ((4, 32), [4, 32], torch.Size([4, 32]), "4,32", ["4,32"], [(4, 32)]):
        found = normlab.profile(shape, "group:groups=8", repeats=1)
        assert [case.shape for case in found.cases] == [(4, 32)]
        assert [cost.norm for cost in found.cases[0].costs] == ["group:groups=8"]
    for wrong in (4, [4.5, 2], [], [()], None):
        with pytest.raises(normlab.InputError, match="shape"):
            normlab.profile(wrong, "layer", repeats=1)


def test_what_does_not_fit_into_memory_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = 4 * 32 * 3 * 2 * 4
    drawn: list[object] = []
    original = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *sizes, **options: drawn.append(sizes) or original(*sizes, **options))
    monkeypatch.setattr("normlab.recognition.free_memory.free_bytes", lambda _: LEAST_TENSORS * tensor - 1)
    with pytest.raises(normlab.InputError, match=r"4,32,3,2, which needs about 18.0 KiB where cpu has 18.0 KiB free"):
        normlab.profile("4,32,3,2", "batch", repeats=1)
    monkeypatch.setattr("normlab.recognition.free_memory.free_bytes", lambda _: LEAST_TENSORS * tensor)
    with pytest.raises(normlab.InputError, match=r"needs about 42.0 KiB .* or name the norms: some need less"):
        normlab.profile("4,32,3,2", repeats=1)
    assert drawn == []
    with pytest.warns(UserWarning, match=r"4,32,3,2 needs about 18.0 KiB for torch's own norms and up to 42.0 KiB"):
        normlab.profile("4,32,3,2", "batch", repeats=1)
    monkeypatch.setattr("normlab.recognition.free_memory.free_bytes", lambda _: MOST_TENSORS * tensor)
    assert normlab.profile("4,32,3,2", "batch", repeats=1).cases
    assert normlab.profile("2,32,3,2", "batch", dtype="float64", repeats=1).cases
    with pytest.raises(normlab.InputError, match="must fit into memory"):
        normlab.profile("1,32,3,2", "batch", sizes=(1.0,), repeats=1)
    monkeypatch.setattr("normlab.recognition.free_memory.free_bytes", lambda _: None)
    assert normlab.profile("4,32,3,2", "batch", repeats=1).cases


def test_norms_leave_no_gradient_behind_in_the_input() -> None:
    """It would be one tensor more than what is held to be needed."""
    tested = bench.Bench((4, 32), "NC", torch.float32, CPU, torch.contiguous_format, False, strict=True)
    tested.run([parse("batch"), parse("layer")], 1, 1.0, lambda _: None)
    assert tested.x.grad is None


class Weird(nn.Module):
    """Fails with an error that no layer of torch's raises."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("weird")


class Detached(nn.Module):
    """Passes no gradient on to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach() * self.gain


def test_any_error_of_a_norm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(normlab.InputError, match=r"Weird must run on .*; got KeyError: 'weird'"):
        normlab.profile("4,8", f"{__name__}:Weird", repeats=1)
    monkeypatch.setattr(nn.LayerNorm, "forward", Weird.forward)
    costs = {cost.norm: cost for cost in normlab.profile("4,8", repeats=1).cases[0].costs}
    assert costs["layer"].skipped == "KeyError: 'weird'"
    assert costs["batch"].both is not None


CONFUSED = replace(parse("group").spec, name="confused", options=(), axes={"NCHW": ("C/G", "H", "W")})


def test_an_entry_that_cannot_be_asked_is_named() -> None:
    """It is shared in groups, but has no option for their number."""
    with pytest.raises(normlab.InputError, match=r"axes of the NormSpec 'confused' must go with an option `groups`"):
        normlab.profile("4,8,3,3", f"{__name__}:CONFUSED", repeats=1)


def test_a_norm_that_passes_no_gradient_on_is_measured() -> None:
    cost = normlab.profile("4,8", f"{__name__}:Detached", repeats=1).cases[0].costs[0]
    assert (cost.bytes_forward, cost.bytes_backward) == (2 * 4 * 8 * 4, 4 * 8 * 4)


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
    figure = draw(found)
    lines = figure.axes[2].get_lines()
    assert [line.get_label() for line in lines[:3]] == ["BatchNorm", "GroupNorm (groups=8)", parse("none").label]
    assert len({line.get_marker() for line in lines[:3]}) == 3
    assert list(lines[0].get_ydata()) == [1e3 * case.costs[0].both.median for case in found.cases]
    said = [part for part in tables(found) if isinstance(part, str)]
    assert sum("A copy moves" in text for text in said) == 2
    (legend,) = figure.legends
    last = {line.get_label(): line.get_ydata()[-1] for line in lines}
    assert [text.get_text() for text in legend.get_texts()] == sorted(last, key=lambda name: -last[name])


def spread(middle: float) -> Spread:
    return Spread(middle, 0.9 * middle, 1.2 * middle)


def made_up(number: int, floor: float | None) -> Cost:
    """A norm whose sum is not the sum of its parts, as medians are."""
    parts = {"forward": spread(0.001 * number), "backward": spread(0.002 * number), "both": spread(0.005 * number)}
    return Cost(f"norm{number}", f"norm {number}", **parts, floor=floor, memory=Memory(1, 1))


def made_up_profile(*cases: tuple[Cost, ...]) -> Profile:
    found = [Case((2**n, 2), 2 ** (n + 20), 3, spread(1e9), spread(1e9), costs) for n, costs in enumerate(cases)]
    machine = {"processor": "p", "cores": 2, "torch_threads": 1, "torch": "2"}
    return Profile("NC", "float32", "contiguous", False, "cpu", "torch's BatchNorm", machine, tuple(found))


def test_a_bar_is_as_long_as_its_number_says_and_split_as_measured() -> None:
    figure = draw(made_up_profile((made_up(1, 0.0), made_up(2, 0.004), made_up(3, None))))
    (axes,) = figure.axes
    forward, backward = (group for group in axes.containers if len(group) == 3 and hasattr(group[0], "get_width"))
    assert [bar.get_width() for bar in forward] == pytest.approx([5 / 3, 10 / 3, 15 / 3])
    assert [a.get_width() + b.get_width() for a, b in zip(forward, backward, strict=True)] == pytest.approx([5, 10, 15])
    assert [text.get_text().strip() for text in axes.texts] == ["5.00", "10.0", "15.0"]
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"forward", "backward", "least traffic at copy speed"}
    bottom, top = axes.get_ylim()
    assert (bottom - 2, -top) == pytest.approx((0.6, 0.6))  # little more than half a bar beyond the first and last


def test_many_lines_are_told_apart_and_all_are_in_the_legend() -> None:
    costs = tuple(made_up(number, 0.001) for number in range(1, 31))
    figure = draw(made_up_profile(costs, costs))
    figure.canvas.draw()
    lines = figure.axes[2].get_lines()
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 31
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 31
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.y1


def test_a_single_thread_is_one_thread() -> None:
    *_, machine = tables(made_up_profile((made_up(1, 0.0),)))
    assert machine == "p, 2 cores, 1 torch thread, torch 2."


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


class Witness(nn.Module):
    """A norm that keeps what it was called with, and in which way."""

    seen: ClassVar[list[dict[str, object]]] = []

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        compiling = torch.compiler.is_compiling()
        if not compiling:
            last = inputs.is_contiguous(memory_format=torch.channels_last)
            Witness.seen.append({"training": self.training, "last": last, "dtype": inputs.dtype})
        return inputs * self.weight


def test_layers_are_measured_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[int] = []
    original = torch.autograd.grad

    def spy(output: torch.Tensor, leaves: object, *rest: object, **options: object) -> object:
        wanted.append(len(list(leaves)))
        return original(output, leaves, *rest, **options)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    Witness.seen.clear()
    norm = f"{__name__}:Witness"
    normlab.profile("4,8,3,2", norm, repeats=1, dtype="bf16", memory_format="channels_last")
    assert all(one == {"training": True, "last": True, "dtype": torch.bfloat16} for one in Witness.seen)
    assert 2 in wanted, "the gradient of the weight is part of the backward pass"
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda layer, **_: compiled.append(layer) or layer)
    normlab.profile("4,8,3,2", norm, repeats=1, compile=True)
    assert [type(layer) for layer in compiled] == [Witness, nn.BatchNorm2d]


def test_figures_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy reads and writes a tensor of 768 bytes; the norm reads x and dy twice and writes y and dx."""
    given = {"a copy": (2e-6,), "batch": (3e-6, 5e-6), "the reference": (1e-6, 3e-6)}

    def fake(works: dict[str, object], *_: object) -> dict[str, Timings]:
        return {name: Timings([given.get(name, (1e-6, 1e-6))]) for name in works}

    monkeypatch.setattr("normlab.profiling.bench.interleave", fake)
    (case,) = normlab.profile("4,8,3,2", "batch").cases
    (cost,) = case.costs
    assert case.copy.median == pytest.approx(2 * 768 / 2e-6)
    assert (cost.bytes_forward, cost.bytes_backward) == (2 * 768, 3 * 768)
    assert cost.both.median == pytest.approx(8e-6)
    assert cost.ratio.median == pytest.approx(2.0)
    assert cost.floor == pytest.approx(5e-6), "five passes at the speed of the copy"
    assert cost.bandwidth_share.median == pytest.approx(5 / 8)


def test_an_error_is_not_hidden_by_what_it_left(tmp_path: Path) -> None:
    def fail(folder: Path, files: list[str]) -> None:
        with prepared(folder):
            for name in files:
                (folder / name).write_text("{}")
            raise ZeroDivisionError

    for files in ([], ["profile.json"]):
        with pytest.raises(ZeroDivisionError):
            fail(tmp_path / "new", files)
        assert (tmp_path / "new").exists() == bool(files)


class Pair(nn.Module):
    """Gives two tensors in place of one."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs, inputs.mean()


def test_what_is_no_norm_is_named() -> None:
    with pytest.raises(normlab.InputError, match="must give a tensor of the shape of its input; this gives a tuple"):
        normlab.profile("4,8", f"{__name__}:Pair", repeats=1)


@pytest.mark.parametrize("wrong", [{"repeats": 2.5}, {"repeats": 0}, {"seconds": "1"}, {"dtype": torch.int8}])
def test_settings_of_other_types_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(normlab.InputError, match="must be"):
        normlab.profile("4,8", "batch", **wrong)


@pytest.mark.parametrize("dtype", [torch.float64, "FLOAT64", "torch.float64", "fp64"])
def test_types_in_every_form(dtype: str | torch.dtype) -> None:
    assert normlab.profile("4,8", "batch", repeats=1, dtype=dtype).dtype == "float64"


@pytest.mark.parametrize(
    "arguments",
    [
        {"sizes": "x"},
        {"sizes": {"a": 1}},
        {"sizes": 1j},
        {"sizes": [True, None]},
        {"norms": 3},
        {"norms": [3]},
        {"norms": [None]},
        {"layout": 3},
        {"dtype": 3},
        {"dtype": None},
        {"memory_format": ["contiguous"]},
        {"memory_format": None},
        {"compile": "no"},
        {"device": 3},
        {"device": None},
        {"repeats": True},
        {"repeats": "3"},
        {"seconds": float("nan")},
        {"seconds": None},
        {"on_progress": "loudly"},
        {"shapes": {"N": 3}},
        {"shapes": 1j},
        {"shapes": [[4, "x"]]},
    ],
    ids=str,
)
def test_arguments_of_other_kinds_are_refused_by_their_names(arguments: dict[str, object]) -> None:
    (name,) = arguments
    with pytest.raises(normlab.InputError, match=name.removesuffix("s")) as refusal:
        normlab.profile(**{"shapes": "4,8", "norms": "batch", "repeats": 1, **arguments})
    assert "--" not in str(refusal.value)


def test_sizes_and_norms_in_every_form() -> None:
    for sizes in ("0.0625", 0.0625, [0.0625], (1 / 16,)):
        assert normlab.profile("1,32,8,8", "batch", sizes=sizes, repeats=1).cases[0].shape == (8, 32, 8, 8)
    group = parse("group").spec
    for norms in (group, [group], "group", ["group"]):
        assert [cost.norm for cost in normlab.profile("4,96", norms, repeats=1).cases[0].costs] == ["group"]


def test_only_profiles_are_written(tmp_path: Path) -> None:
    profile = normlab.profile("4,8", "batch", repeats=1)
    for arguments, words in (((3, tmp_path / "a"), "`profile` must be"), ((profile, 3), "`folder` must be")):
        with pytest.raises(normlab.InputError, match=words):
            write_profile(*arguments)
    nothing = replace(profile, cases=(replace(profile.cases[0], costs=(Cost("batch", "b", skipped="why"),)),))
    with pytest.raises(normlab.InputError, match="a picture needs a norm that was measured"):
        write_profile(nothing, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
