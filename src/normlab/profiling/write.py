"""A profile as tables for the console, as JSON, and as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from rich.table import Table

from normlab.errors import InputError
from normlab.files import check_writable, make_folder, write_file
from normlab.profiling.picture import draw
from normlab.profiling.spec import Case, Cost, ModelProfile, Profile, Spread
from normlab.profiling.text import ALL, group_names, in_milliseconds, split_reasons
from normlab.tables import in_bytes, in_digits, plural

WIDE = 140  # columns of a terminal that all of a table fits into
_NARROW = 112  # below it a table leaves out what can be missed
_FILES = ("profile.json", "profile.png")


def to_json(profile: Profile | ModelProfile) -> str:
    """The profile as text for programs."""
    return json.dumps(profile.to_dict(), indent=1, allow_nan=False) + "\n"


@contextmanager
def prepared(folder: Path | None) -> Iterator[None]:
    """Makes the folder for a profile before anything is measured, and removes it again if an error comes up.

    Raises:
        InputError: it cannot be written to.
    """
    if folder is None:
        yield
        return
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    check_writable(make_folder(folder))
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something was written, or taken away: the error itself is what counts
            for path in new:
                path.rmdir()
        raise


def write_profile(profile: Profile | ModelProfile, folder: Path | str) -> tuple[Path, ...]:
    """Writes ``profile.json`` and ``profile.png`` into a folder, and returns their paths.

    Arguments:
        profile: what `normlab.profile` or `normlab.profile_model` returned.
        folder: where to write; it is made if it is not there.

    Raises:
        InputError: it is no profile, or the folder cannot be written to.
    """
    if not isinstance(profile, Profile | ModelProfile):
        advice = "Give what normlab.profile or normlab.profile_model returned."
        raise InputError("`profile` must be a profile", f"a {type(profile).__name__}", advice)
    if not isinstance(folder, str | Path):
        raise InputError("`folder` must be the name of a folder", repr(folder), "Try `folder=costs`.")
    picture = BytesIO()
    draw(profile).savefig(picture, format="png")  # before anything is written: it may refuse
    folder = make_folder(Path(folder))
    paths = tuple(folder / name for name in _FILES)
    for path, content in zip(paths, (to_json(profile).encode(), picture.getvalue()), strict=True):
        write_file(path, content)
    return paths


def tables(profile: Profile | ModelProfile, width: int = WIDE) -> Iterator[Table | str]:
    """Tables and remarks for a terminal of so many columns."""
    narrow = width < _NARROW
    if isinstance(profile, ModelProfile):
        yield from _model(profile, narrow)
    else:
        for case in profile.cases:
            yield from _case(case, profile, narrow)
        floor = (
            "floor: the least traffic (input, output, their gradients) at the speed of a copy; of copy speed: that "
            "traffic over the time. "
        )
        yield (
            "ms: median, beneath it quartiles, over rounds in which all norms were timed, in an order drawn for each. "
            f"ratio: to {profile.reference}. {'' if narrow else floor}kept: output and what is saved for backward."
        )
    if narrow:
        yield f"A terminal of {_NARROW} columns or more (COLUMNS={WIDE}, say) shows more; the JSON holds all."
    machine = profile.machine
    gpu = f"{machine['gpu']}, " if "gpu" in machine else ""
    cores, threads = (plural(int(machine[f"{key}s"]), key.replace("_", " ")) for key in ("core", "torch_thread"))
    pages = ", large pages" if "large_pages" in machine else ""
    yield f"{gpu}{machine['processor']}, {cores}, {threads}, torch {machine['torch']}{pages}."


def _case(case: Case, profile: Profile, narrow: bool) -> Iterator[Table | str]:
    size = f"{in_bytes(case.bytes)} a tensor, {plural(case.rounds, 'round')}"
    how = f"{profile.layout}, {profile.dtype}, {profile.memory_format}{', compiled' if profile.compiled else ''}"
    measured = [cost for cost in case.costs if cost.both]
    if measured:
        columns = {name: [cell(cost) for cost in measured] for name, cell in _columns(case, narrow).items()}
        title = f"{' x '.join(map(str, case.shape))}: {how}, {profile.device}; {size}"
        yield _table(title, columns, texts=1)
    yield (
        f"A copy moves {case.copy.median / 1e9:.1f} GB/s, into fresh memory {case.fresh_copy.median / 1e9:.1f} GB/s."
    )
    for names, reason in group_names(((cost.norm, cost.skipped) for cost in case.costs if cost.skipped), ALL):
        yield f"Left out {names}: {reason}."
    for names, note in group_names(((cost.label, cost.note) for cost in measured if cost.note), ALL):
        yield f"{names}: {note}."
    for warning in case.warnings:
        yield f"Beware: {warning}."


def _columns(case: Case, narrow: bool) -> dict[str, Callable[[Cost], str]]:
    """What each column shows of a norm."""
    columns: dict[str, Callable[[Cost], str]] = {
        "norm": lambda cost: cost.label,
        "forward\nms": lambda cost: _milliseconds(cost.forward, brief=narrow),
        "backward\nms": lambda cost: _milliseconds(cost.backward, brief=narrow),
        "both\nms": lambda cost: _milliseconds(cost.both),
        "ratio": lambda cost: _beneath(cost.ratio, "{:.2f}".format) if cost.ratio else "-",
    }
    if not narrow:
        columns["floor\nms"] = lambda cost: "-" if cost.floor is None else in_digits(1e3 * cost.floor)
        columns["of copy\nspeed"] = lambda cost: (
            f"{cost.bandwidth_share.median:.0%}" if cost.bandwidth_share and cost.floor else "-"
        )
    columns["kept"] = lambda cost: in_bytes(cost.memory.kept) if cost.memory and not cost.with_layer else "-"
    if any(cost.memory and cost.memory.peak is not None for cost in case.costs):
        columns["peak"] = lambda cost: in_bytes(cost.memory.peak or 0) if cost.memory and not cost.with_layer else "-"
    if not narrow:
        columns["parameters"] = lambda cost: str(cost.parameters)
    return columns


def _table(title: str, columns: Mapping[str, Sequence[str]], texts: int) -> Table:
    """A table of which the first columns are texts; nothing in it is cut off, however narrow it becomes."""
    table = Table(title=title, title_justify="left")
    for number, header in enumerate(columns):
        table.add_column(header, justify="left" if number < texts else "right", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _beneath(spread: Spread, show: Callable[[float], str]) -> str:
    """The median, and the quartiles on a line of their own."""
    return f"{show(spread.median)}\n{show(spread.low)}-{show(spread.high)}"


def _milliseconds(spread: Spread | None, brief: bool = False) -> str:
    if spread is None:
        return "-"
    return in_digits(1e3 * spread.median) if brief else _beneath(spread, lambda seconds: in_digits(1e3 * seconds))


def _model(profile: ModelProfile, narrow: bool) -> Iterator[Table | str]:
    shapes = ", ".join(" x ".join(map(str, shape)) for shape in profile.inputs)
    mode = f"{'training' if profile.training else 'evaluation'} mode, {profile.dtype}"
    if profile.memory_format != "contiguous":
        mode += f", {profile.memory_format}"
    norms = profile.norms
    columns = {
        "norm": [norm.name for norm in norms],
        "class": [norm.kind for norm in norms],
        "input": [" x ".join(map(str, norm.shape)) for norm in norms],
        "calls": [str(norm.calls) for norm in norms],
        "forward\nms": [_milliseconds(norm.forward, brief=narrow) for norm in norms],
    }
    if profile.backward:
        columns["backward\nms"] = [_milliseconds(norm.backward, brief=narrow) for norm in norms]
    columns["share\nof step"] = [f"{norm.share.median:.2%}" for norm in norms]
    if not narrow:
        columns["parameters"] = [str(norm.parameters) for norm in norms]
    title = f"{profile.model} on {shapes}, {mode}, {profile.device}; {plural(profile.rounds, 'round')}"
    yield _table(title, columns, texts=3)
    step = "forward and backward, no optimizer" if profile.backward else "forward alone: nothing requires a gradient"
    yield (
        f"A step ({step}) takes {in_milliseconds(profile.step)} ms; its {plural(len(norms), 'norm')} "
        f"{'takes' if len(norms) == 1 else 'take'} {profile.share.median:.1%} "
        f"({profile.share.low:.1%}-{profile.share.high:.1%}) of it."
    )
    for norm in norms:
        if norm.also:
            yield f"{norm.name} is also {', '.join(norm.also)}."
    for names, note in group_names((norm.name, norm.note) for norm in norms if norm.note):
        yield f"{names}: {note}."
    for other in profile.swapped:
        if other.seconds and other.share:
            took = f"{in_milliseconds(other.seconds)} ms, {other.share.median:.1%} of the step that it would be"
            called = sum(norm.calls > 0 for norm in norms)
            which = f"{called - len(other.left_out)} of {called} norms" if other.left_out else "All"
            yield f"{which} as {other.norm}: {took}."
        for names, reason in group_names(split_reasons(other.left_out)):
            yield f"Not {other.norm} for {names}: {reason}."
    for warning in profile.warnings:
        yield f"Beware: {warning}."
    tensors = "inputs and gradients" if profile.backward else "inputs"
    yield f"Norms are timed on the {tensors} of a step, between whole steps; the cache is warmer there."
