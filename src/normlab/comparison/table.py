"""A user's data, read into arrays: columns of equally many samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from normlab import reading
from normlab.errors import InputError, describe_error
from normlab.machine import physical_memory
from normlab.tasks.data import Array

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

BatchForm = Literal["alone", "one", "pair", "several", "named"]
MEMORY_SHARE = 1 / 8  # of the machine's, that data may take: each run has a copy of its split
READ_TOGETHER = 256  # samples of a dataset without a loader
_FORMS = "Give arrays (X, y), a Dataset, a DataLoader, or a dictionary of arrays by the names of the model's arguments."
_GATHER = (
    "Others, such as graphs, are compared by their numbers: give np.arange(n) and a `step`, a function of the model and"
    " a batch of numbers that gathers the samples, as by Batch.from_data_list([graphs[i] for i in batch])."
)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of arrays, samples first.

    Arguments:
        columns: by name; those of a tuple are numbered.
        form: how a batch of the user's looks: an array alone, a tuple of one, a pair of inputs and targets, a tuple of
            several, or a dictionary.
        batch_size: of the loader it was read from; 0 where there was none.
    """

    columns: Mapping[str, Array]
    form: BatchForm
    batch_size: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.columns.values())

    @property
    def digest(self) -> str:
        """A hash of all that it holds."""
        content = hashlib.blake2b(self.form.encode(), digest_size=12)
        for name, column in self.columns.items():
            content.update(f"{name} {column.dtype.str} {column.shape} ".encode())
            content.update(np.ascontiguousarray(column).reshape(-1).view(np.uint8).data)
        return content.hexdigest()

    def take(self, rows: slice) -> Table:
        """Some of the samples."""
        return Table({name: column[rows] for name, column in self.columns.items()}, self.form, self.batch_size)

    def batch(self, columns: Mapping[str, Any]) -> Any:
        """Columns in the form that the user's batches have."""
        if self.form == "named":
            return dict(columns)
        return next(iter(columns.values())) if self.form == "alone" else tuple(columns.values())


def read_table(data: Any, name: str = "data") -> Table:
    """The table of arrays, tensors, a dataset or a loader, all of it.

    A dataset is read once, in its order; what its transforms draw at random is drawn in this reading.

    Arguments:
        data: what the user gave.
        name: what it is called in messages.

    Raises:
        InputError: it is none of these, its samples differ in shape, or it does not fit into memory.

    >>> table = read_table((np.zeros((3, 2)), [0, 1, 0]))
    >>> table.form, len(table), {name: column.shape for name, column in table.columns.items()}
    ('pair', 3, {'0': (3, 2), '1': (3,)})
    """
    from torch.utils.data import DataLoader, IterableDataset

    if isinstance(data, IterableDataset):
        return _checked(_read(DataLoader(data, READ_TOGETHER), 0, name), name)
    if isinstance(data, DataLoader):
        ordered = _in_order(data)
        return _checked(_read(ordered, _length(ordered), name, batch_size=data.batch_size or 0), name)
    if (
        isinstance(data, Mapping)
        or hasattr(data, "__array__")
        or (isinstance(data, tuple | list) and _are_arrays(data))
    ):
        return _checked(_table(data, name), name)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, str | bytes):
        loader: DataLoader[Any] = DataLoader(data, READ_TOGETHER)
        return _checked(_read(loader, len(data), name), name)
    raise InputError(f"`{name}` must be data to train on", f"a {type(data).__name__}", _FORMS)


def _are_arrays(values: Sequence[Any]) -> bool:
    """Whether each is an array, a tensor, a data frame or a list, rather than all of them the samples of a dataset."""
    arrays = all(isinstance(value, list) or hasattr(value, "__array__") for value in values)
    return bool(values) and arrays and (isinstance(values, tuple) or len({len(value) for value in values}) == 1)


def _in_order(loader: DataLoader[Any]) -> Iterable[Any]:
    """A loader of the same samples that does not shuffle them or drop the last; itself where it has no order.

    Where a sampler holds the indices of a part, as a `SubsetRandomSampler` or a list does, it is that part alone.
    """
    from torch.utils.data import DataLoader, IterableDataset, Subset

    if isinstance(loader.dataset, IterableDataset):
        return loader
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    part = sampler if isinstance(sampler, list | tuple | range) else getattr(sampler, "indices", None)
    dataset = loader.dataset if part is None else Subset(loader.dataset, sorted(set(map(int, part))))
    return DataLoader(dataset, loader.batch_size or READ_TOGETHER, collate_fn=loader.collate_fn)


def _length(loader: Any) -> int:
    try:
        return len(loader.dataset)
    except TypeError:  # of a dataset that cannot say
        return 0


def _read(batches: Iterable[Any], samples: int, name: str, batch_size: int = 0) -> Table:
    """All batches, one behind the other."""
    pieces: list[Table] = []
    limit = int(MEMORY_SHARE * physical_memory())
    taken = 0
    for table in _tables(batches, name):
        pieces.append(table)
        taken += table.nbytes
        if max(taken, table.nbytes * samples // max(len(table), 1) if len(pieces) == 1 else 0) > limit:
            given = f"{len(pieces[0])} samples of {pieces[0].nbytes / 2**20:.3g} MiB" + (
                f", {samples:,} of them" if samples else ""
            )
            rule = f"`{name}` must fit into {limit / 2**30:.3g} GiB, an eighth of the memory, as every seed has a split"
            raise InputError(rule, given, "Give a torch.utils.data.Subset of it, or smaller inputs.")
    if not pieces:
        raise InputError(f"`{name}` must hold samples", "none", _FORMS)
    names, form = pieces[0].columns.keys(), pieces[0].form
    try:
        columns = {key: np.concatenate([piece.columns[key] for piece in pieces]) for key in names}
    except (ValueError, KeyError) as error:
        rule = f"all samples of `{name}` must have the same names and shapes"
        raise InputError(rule, describe_error(error), "Pad or cut them to one length.") from error
    return Table(columns, form, batch_size)


def _tables(batches: Iterable[Any], name: str) -> Iterator[Table]:
    try:
        for batch in batches:
            yield _table(batch, name)
    except InputError:
        raise
    except Exception as error:  # whatever the user's dataset raises
        if "default_collate" in str(error):  # of torch's loader, which knows arrays alone
            raise _no_arrays(name, describe_error(error)) from error
        raise InputError(f"`{name}` must give its samples", reading.described(error), "Mend it.") from error


def _table(batch: Any, name: str) -> Table:
    """One batch, or all of the data."""
    if isinstance(batch, Mapping):
        return Table({str(key): _array(value, f"{key} of {name}") for key, value in batch.items()}, "named")
    if hasattr(batch, "__array__"):
        return Table({"0": _array(batch, name)}, "alone")
    if isinstance(batch, tuple | list) and batch:
        forms: dict[int, BatchForm] = {1: "one", 2: "pair"}
        columns = {str(place): _array(value, name) for place, value in enumerate(batch)}
        return Table(columns, forms.get(len(batch), "several"))
    raise _no_arrays(name, f"a batch that is a {type(batch).__name__}")


def _no_arrays(name: str, given: str) -> InputError:
    """The error for samples such as graphs, which only a step can put together."""
    rule = f"samples of `{name}` must be arrays, alone, in a tuple or in a dictionary"
    return InputError(rule, given, f"{_FORMS} {_GATHER}")


def _array(value: Any, name: str) -> Array:
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} must be an array", describe_error(error), "Pad or cut to one length.") from error
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise InputError(f"{name} must be an array of numbers, samples first", f"{array.dtype}", _FORMS)
    return array


def _checked(table: Table, name: str) -> Table:
    lengths = {column_name: len(column) for column_name, column in table.columns.items()}
    if lengths and not any(lengths.values()):
        raise InputError(f"`{name}` must hold samples", "none", "Give arrays, samples first.")
    if len(set(lengths.values())) != 1:
        shown = {"0": "inputs", "1": "targets"} if table.form == "pair" else {}
        given = ", ".join(f"{length} of {shown.get(column, column)}" for column, length in lengths.items())
        raise InputError(f"the columns of `{name}` must be of one length, samples first", given, "Check them.")
    return table
