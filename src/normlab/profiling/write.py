"""A profile as tables for the console, as JSON, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from normlab.errors import InputError
from normlab.profiling.picture import draw
from normlab.profiling.spec import Case, Cost, Memory, ModelProfile, Profile, Spread

_FILES = ("profile.json", "profile.png")


def to_json(profile: Profile | ModelProfile) -> str:
    """The profile as text for programs."""
    return json.dumps(profile.to_dict(), indent=1, allow_nan=False) + "\n"


@contextmanager
def prepared(folder: Path | None) -> Iterator[None]:
    """Makes the folder for a profile before anything is measured; takes it away again if nothing comes of it.

    Raises:
        InputError: it cannot be written to.
    """
    if folder is None:
        yield
        return
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    _make(folder)
    try:
        yield
    except BaseException:
        for path in new:
            path.rmdir()
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".normlab"
        probe.touch()
        probe.unlink()
    except OSError as error:
        rule = "the output folder must be writable"
        raise InputError(rule, f"{folder} ({error.strerror})", "Choose another folder with --out.") from error


def write_profile(profile: Profile | ModelProfile, folder: Path | str) -> tuple[Path, ...]:
    """Writes ``profile.json`` and ``profile.png`` into a folder; gives their paths.

    Raises:
        InputError: the folder cannot be written to.
    """
    folder = Path(folder)
    _make(folder)
    paths = tuple(folder / name for name in _FILES)
    paths[0].write_text(to_json(profile), encoding="utf-8")
    draw(profile).savefig(paths[1], format="png")
    return paths


def tables(profile: Profile | ModelProfile) -> Iterator[Table | str]:
    """Tables and remarks."""
    if isinstance(profile, ModelProfile):
        yield from _model(profile)
    else:
        for case in profile.cases:
            yield from _case(case, profile)
        yield (
            "ms: median (quartiles) over rounds in which all norms were timed, in an order drawn for each. "
            f"ratio: to {profile.reference}. floor: the least traffic (input, output, their gradients) at the speed "
            "of a copy; of copy speed: that traffic over the time. kept: output and what is saved for backward."
        )
    machine = profile.machine
    gpu = f"{machine['gpu']}, " if "gpu" in machine else ""
    yield (
        f"{gpu}{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} torch threads, "
        f"torch {machine['torch']}{', large pages' if 'large_pages' in machine else ''}."
    )


def _case(case: Case, profile: Profile) -> Iterator[Table | str]:
    size = f"{_bytes(case.bytes)} a tensor, {case.rounds} rounds"
    how = f"{profile.layout}, {profile.dtype}, {profile.memory_format}{', compiled' if profile.compiled else ''}"
    table = Table(title=f"{' x '.join(map(str, case.shape))}: {how}, {profile.device}; {size}", title_justify="left")
    peak = any(cost.memory and cost.memory.peak is not None for cost in case.costs)
    headers = ["norm", "forward ms", "backward ms", "both ms", "ratio", "floor ms", "of copy speed", "kept"]
    for number, header in enumerate([*headers, "peak"] if peak else headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=not number)
    for cost in case.costs:
        if cost.both:
            table.add_row(*_cells(cost), *([_bytes(cost.memory.peak or 0)] if peak and cost.memory else []))
    yield table
    yield (
        f"A copy moves {case.copy.median / 1e9:.1f} GB/s, into fresh memory {case.fresh_copy.median / 1e9:.1f} GB/s."
    )
    for cost in case.costs:
        if cost.skipped:
            yield f"Left out {cost.norm}: {cost.skipped}."
        elif cost.note:
            yield f"{cost.label}: {cost.note}."


def _cells(cost: Cost) -> list[str]:
    memory = cost.memory or Memory(0, 0)
    return [
        cost.label,
        *(_ms(spread) for spread in (cost.forward, cost.backward, cost.both) if spread),
        f"{cost.ratio.median:.2f} ({cost.ratio.low:.2f}-{cost.ratio.high:.2f})" if cost.ratio else "-",
        _number(1e3 * (cost.floor or 0.0)),
        f"{cost.bandwidth_share.median:.0%}" if cost.bandwidth_share and cost.floor else "-",
        _bytes(memory.kept),
    ]


def _model(profile: ModelProfile) -> Iterator[Table | str]:
    shapes = ", ".join(" x ".join(map(str, shape)) for shape in profile.inputs)
    mode = "training" if profile.training else "evaluation"
    title = f"{profile.model} on {shapes}, {mode} mode, {profile.device}; {profile.rounds} rounds"
    table = Table(title=title, title_justify="left")
    for number, header in enumerate(("norm", "class", "input", "calls", "forward ms", "backward ms", "share of step")):
        table.add_column(header, justify="right" if number > 2 else "left", overflow="fold")
    for norm in profile.norms:
        shape = " x ".join(map(str, norm.shape))
        share = f"{norm.share.median:.2%}"
        row = (norm.name, norm.kind, shape, str(norm.calls), _ms(norm.forward), _ms(norm.backward), share)
        table.add_row(*row)
    yield table
    yield (
        f"A step (forward and backward, no optimizer) takes {_ms(profile.step)} ms; its {len(profile.norms)} norms "
        f"take {profile.share.median:.1%} ({profile.share.low:.1%}-{profile.share.high:.1%}) of it."
    )
    for norm in profile.norms:
        if norm.also:
            yield f"{norm.name} is also {', '.join(norm.also)}."
        if norm.note:
            yield f"{norm.name}: {norm.note}."
    for other in profile.swapped:
        if other.seconds and other.share:
            took = f"{_ms(other.seconds)} ms, {other.share.median:.1%} of the step that it would be"
            yield f"All as {other.norm}: {took}."
        for reason in other.left_out:
            yield f"Not {other.norm} for {reason}."
    yield "Norms are timed on the inputs and gradients of one step, between whole steps; the cache is warmer there."


def _ms(spread: Spread) -> str:
    return f"{_number(1e3 * spread.median)} ({_number(1e3 * spread.low)}-{_number(1e3 * spread.high)})"


def _number(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> _number(1234.5), _number(12.345), _number(0.00012345)
    ('1234', '12.3', '0.000123')
    """
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.6f}"


def _bytes(count: int) -> str:
    """
    >>> _bytes(64 * 2**20), _bytes(1088)
    ('64.0 MiB', '1.06 KiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{_number(count / size)} {unit}"
    return f"{count} B"
