"""What a norm says of itself, and a norm chosen with its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Literal, get_args

from normlab.errors import InputError, nearest
from normlab.norms.options import Option as Option
from normlab.norms.options import OptionValue as OptionValue
from normlab.norms.options import value_text as value_text
from normlab.norms.reductions import set_size
from normlab.norms.slot import Layout, Slot
from normlab.reading import option_texts

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[Slot, Mapping[str, OptionValue]], "nn.Module"]
Wrap = Callable[["nn.Module", Mapping[str, OptionValue]], "nn.Module"]
Refusal = Callable[[Slot, Mapping[str, OptionValue]], str | None]
Exemptions = Callable[[Mapping[str, OptionValue]], Mapping[str, str]]
Invariance = Literal["scale", "shift", "channel scale", "channel shift", "sample scale", "sample shift"]
PARTS = {"groups": "G", "size": "S"}  # the options that say into how many parts, or chunks of which size, axes go


def accept_all(slot: Slot, options: Mapping[str, OptionValue]) -> None:
    """The refusal of a norm that can be built for every slot of its layouts."""
    return


def exempt_none(options: Mapping[str, OptionValue]) -> Mapping[str, str]:
    """The exemptions of a norm that keeps what it claims whatever its options are: none."""
    return {}


@dataclass(frozen=True)
class NormSpec:
    """A normalization layer as data: what it computes, over which axes, and how it is built.

    Arguments:
        name: the name in studies and on the command line.
        title: the name in tables and pictures.
        formula: what it computes, in the notation of its source.
        source: authors, year and arXiv id.
        axes: for each valid layout, the axes that share one statistic; ``"C/G"`` is the channels of a
            group, ``"CHW/G"`` a part of the flattened features, ``"N/S"`` the samples of a chunk. Without axes every
            element is its own statistic.
        centred: whether the mean is subtracted.
        scaled: whether the spread is divided out.
        couples_batch: whether an output depends on the other samples of the batch in training.
        train: what it does in training mode.
        evaluate: what it does in evaluation mode.
        suits: when it is a good choice.
        breaks: what breaks it.
        build: makes the ``torch.nn.Module`` for a slot.
        options: what may be set as ``name:key=value``.
        affine: the learned parameters, in words.
        state: the buffers it keeps, in words.
        refuse: says why a norm cannot be built for a slot, or None.
        further_axes: for layouts on which there are statistics over several sets of axes, the sets beside ``axes``.
        invariances: what in training does not change the output as it starts, eps aside: one factor or summand for
            the whole input, for each channel, or for each sample.
        activates: whether an activation is part of it, so that none follows.
        wrap: for norms that change weights rather than activations, changes the layer before the slot.
        libraries: how torch, timm, flax and Keras differ from it, by library.
        degenerate: shapes on which it means nothing or cannot be computed, with the reason.
        initial: how it starts, in words.
        elsewhere: which norms to take on layouts that it has no form for.
        defaults: what the source itself uses, in words.
        parameters: the learned parameters as it is built by default, each with its size as a product of C (channels),
            P (positions), G (groups), K (kinds of statistics), F (fan-in) and numbers. Of norms that change weights:
            those added to the layer.
        buffers: the buffers, in the same way.
        exceptions: what does not work with it, or works differently, with the reason.
        single: what is left when there is a single element behind each statistic; None where that means something.
        exemptions: the checks of `normlab check` that these options fail by design, each with the reason.
    """

    name: str
    title: str
    formula: str
    source: str
    axes: Mapping[Layout, tuple[str, ...]]
    centred: bool
    scaled: bool
    couples_batch: bool
    train: str
    evaluate: str
    suits: str
    breaks: str
    build: Build
    options: tuple[Option, ...] = ()
    affine: str = "none"
    state: str = "none"
    refuse: Refusal = accept_all
    further_axes: Mapping[Layout, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    invariances: frozenset[Invariance] = frozenset()
    activates: bool = False
    wrap: Wrap | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    degenerate: tuple[tuple[str, str], ...] = ()
    initial: str = ""
    defaults: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    single: str | None = ""
    elsewhere: str = ""
    exemptions: Exemptions = exempt_none

    def sets(self, layout: Layout) -> tuple[tuple[str, ...], ...]:
        """All sets of axes that share a statistic on input of ``layout``; empty without statistics.

        >>> from normlab.norms.batch import BATCH
        >>> BATCH.sets("NCHW")
        (('N', 'H', 'W'),)
        """
        first = (self.axes[layout],) if self.centred or self.scaled else ()
        return first + self.further_axes.get(layout, ())


@dataclass(frozen=True)
class Norm:
    """A norm chosen for a study: its spec, the reference that leads to it, and its options."""

    reference: str
    spec: NormSpec = field(hash=False)
    options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        """The shortest text that means this norm: options at their default are left out."""
        changed = self.changed_options
        options = [
            f"{option.name}={value_text(self.options[option.name])}"
            for option in self.spec.options
            if option.name in changed
        ]
        return ":".join([self.reference, ",".join(options)] if options else [self.reference])

    @property
    def label(self) -> str:
        """The text for tables and legends."""
        _, _, options = str(self).removeprefix(self.reference).partition(":")
        return f"{self.spec.title} ({options})" if options else self.spec.title

    @property
    def changed_options(self) -> frozenset[str]:
        """The options that are off their default: who computes the norm in another way must know each of them."""
        return frozenset(name for name, default in self._defaults.items() if self.options.get(name, default) != default)

    @property
    def _defaults(self) -> Mapping[str, OptionValue]:
        return {option.name: option.default for option in self.spec.options}

    def build(self, slot: Slot) -> nn.Module:
        """The layer for ``slot``."""
        return self.spec.build(slot, self.options)

    @property
    def parts(self) -> Mapping[str, int]:
        """The number of groups ``"G"`` and the size of a chunk ``"S"``, where it has such options."""
        return {letter: int(self.options[name]) for name, letter in PARTS.items() if name in self.options}

    def elements(self, slot: Slot, batch_size: int) -> int | None:
        """How many elements share one statistic in a batch.

        None if the norm has no statistics or no such form, or if the slot does not say its extent.
        """
        if not (self.spec.centred or self.spec.scaled) or slot.layout not in self.spec.axes:
            return None
        spatial = [letter for letter in slot.layout if letter not in "NC"]
        if len(slot.extent) != len(spatial):
            return None
        sizes = {"N": batch_size, "C": slot.channels, **dict(zip(spatial, slot.extent, strict=True))}
        return set_size(self.spec.axes[slot.layout], sizes, self.parts)

    def misfit(self, slot: Slot) -> str | None:
        """Why the layer itself cannot be built for ``slot``, or None."""
        if slot.layout not in self.spec.axes:
            takes = f"{self} has no form for {slot.layout} input; it takes {', '.join(self.spec.axes)}"
            return f"{takes}; {self.spec.elsewhere}" if self.spec.elsewhere else takes
        return self.spec.refuse(slot, self.options)

    def size(self, symbols: str, slot: Slot) -> int:
        """The number of values behind a size such as ``"C P"``, the fan-in F aside."""
        sizes = {
            "C": slot.channels,
            "P": prod(slot.extent),
            "G": self.parts.get("G", 1),
            "K": len(self.spec.sets(slot.layout)),
        }
        return prod(sizes[symbol] if symbol in sizes else int(symbol) for symbol in symbols.split())

    def refusal(self, slot: Slot, batch_size: int) -> str | None:
        """Why this norm cannot be trained in ``slot`` at all, or None."""
        if reason := self.misfit(slot):
            return reason
        if self.spec.wrap is not None and not slot.layer:
            return f"{self} changes the weights of the layer before it, which this model does not name"
        if self.spec.activates and not slot.activation:
            return f"{self} has an activation of its own in the place of the model's, which this model does not name"
        if self.spec.couples_batch and self.elements(slot, batch_size) == 1:
            return (
                f"{self} normalizes over the batch and cannot train on one element per statistic "
                f"(batch_size {batch_size}); use a batch of 2 or more, or a norm that does not couple the batch"
            )
        return None

    def emptiness(self, slot: Slot, batch_size: int) -> str | None:
        """Why this norm means nothing in ``slot`` although it can be computed, or None."""
        if self.spec.single is None or self.elements(slot, batch_size) != 1:
            return None
        if self.spec.single:
            return f"{self} has one element behind each statistic: {self.spec.single}"
        if self.spec.centred:
            return (
                f"{self} has one element behind each statistic on {slot.layout} input with {slot.channels} "
                "channels: the mean is the element itself, so the output is beta whatever the input"
            )
        return f"{self} has one element behind each statistic: only the sign of the input is left"

    def caution(self, slot: Slot, batch_size: int) -> str | None:
        """What a reader must know of this norm in ``slot``, or None."""
        both = self.spec.centred and self.spec.scaled
        if self.elements(slot, batch_size) != 2 or not both:
            return None
        if len(self.spec.sets(slot.layout)) == 1:  # a mixture with statistics over more is no sign function
            return (
                f"{self} has two elements behind each statistic on {slot.layout} input with {slot.channels} "
                "channels: normalized values are +1 and -1 and keep only the order of the two"
            )
        return None


def unclaimed(reference: str, make: Callable[[int], nn.Module], layouts: Iterable[Layout]) -> NormSpec:
    """The entry of a class or function that makes a module of the number of channels: it claims nothing."""
    return NormSpec(
        name=reference,
        title=reference.partition(":")[2],
        formula="",
        source="",
        axes=dict.fromkeys(layouts, ()),
        centred=False,
        scaled=False,
        couples_batch=False,
        train="",
        evaluate="",
        suits="",
        breaks="",
        build=lambda slot, _: make(slot.channels),
    )


def with_options(reference: str, spec: NormSpec, text: str, whole: str) -> Norm:
    """The norm ``spec`` with the options in ``text`` (``key=value,key=value``) and defaults elsewhere.

    Raises:
        InputError: the entry says what cannot be meant, an option is unknown, or a value cannot be used.
    """
    validate(spec)
    options = {option.name: option for option in spec.options}
    values = {option.name: option.default for option in spec.options}
    for key, value in option_texts(text, whole, _usage(spec)).items():
        if key not in options:
            hint = nearest(key, options) if options else ""
            raise InputError(f"{spec.name} has no option {key!r}", repr(whole), f"{hint} {_usage(spec)}".strip())
        values[key] = options[key].parse(value, whole)
    return Norm(reference, spec, values)


def _usage(spec: NormSpec) -> str:
    if not spec.options:
        return f"{spec.name} takes no options."
    options = ", ".join(f"{option.name} ({option.meaning}; {value_text(option.default)})" for option in spec.options)
    return f"Options of {spec.name}: {options}."


def validate(spec: NormSpec) -> None:
    """Raises an InputError that names the first field of ``spec`` that says what cannot be meant."""
    for name, rule, value in _mistakes(spec):
        raise InputError(f"{name} of the NormSpec {spec.name!r} must {rule}", value, "Mend its entry.")


def _mistakes(spec: NormSpec) -> Iterator[tuple[str, str, str]]:
    """Field, what it must do, and what was given instead."""
    if not (isinstance(spec.name, str) and spec.name):
        yield "name", "be a word", repr(spec.name)
    for name in ("build", "refuse", "exemptions") + ("wrap",) * (spec.wrap is not None):
        if not callable(getattr(spec, name)):
            yield name, "be a function", repr(getattr(spec, name))
    if not isinstance(spec.options, tuple | list) or not all(isinstance(option, Option) for option in spec.options):
        yield "options", "be a tuple of normlab.norms.spec.Option", repr(spec.options)
    whole = {option.name for option in spec.options if type(option.default) is int}
    parts = {letter for name, letter in PARTS.items() if name in whole}
    for name in ("axes", "further_axes"):
        for rule, value in _axes_mistakes(getattr(spec, name), name, spec.axes, parts):
            yield name, rule, value
    kinds = get_args(Invariance)
    collected = isinstance(spec.invariances, frozenset | set | tuple | list)
    if not collected or not all(kind in kinds for kind in spec.invariances):
        yield "invariances", f"be a set of some of {', '.join(map(repr, kinds))}", repr(spec.invariances)
    symbols = {"C", "P", "K"} | ({"G"} & parts) | ({"F"} if spec.wrap is not None else set())
    for name in ("parameters", "buffers"):
        for rule, value in _size_mistakes(getattr(spec, name), symbols):
            yield name, rule, value


def _axes_mistakes(
    entries: object, name: str, layouts: Mapping[Layout, object], parts: set[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the axes of each layout; of ``further_axes`` there are several sets."""
    if not isinstance(entries, Mapping):
        yield "be a mapping from layouts to axes", repr(entries)
        return
    for layout, value in entries.items():
        if layout not in get_args(Layout):
            yield f"be for layouts among {', '.join(get_args(Layout))}", repr(layout)
        if layout not in layouts:
            yield "be for layouts of `axes`", repr(layout)
        sets = (value,) if name == "axes" else value
        if not isinstance(sets, tuple | list) or not all(isinstance(axes, tuple | list) for axes in sets):
            yield f"hold {'a tuple' if name == 'axes' else 'tuples'} of axes for each layout", f"{value!r} for {layout}"
        for axes in sets:
            for axis in axes:
                if rule := _axis_mistake(axis, layout, parts):
                    yield rule, f"{axis!r} for {layout}"
            letters = "".join(axis.partition("/")[0] for axis in axes)
            if len(set(letters)) < len(letters):
                yield "name each axis of a set once", f"{axes!r} for {layout}"


def _axis_mistake(axis: object, layout: str, parts: set[str]) -> str | None:
    """What an axis such as ``"H"``, ``"C/G"``, ``"CHW/G"`` or ``"N/S"`` must be and is not."""
    whole, slash, part = axis.partition("/") if isinstance(axis, str) else ("", "", "")
    forms = {"": len(whole) == 1 and not slash, "G": "N" not in whole, "S": whole == "N"}
    if not whole or not set(whole) <= set(layout) or not forms.get(part, False):
        return 'be made of axes of the layout, such as "H", "C/G", "CHW/G" or "N/S"'
    if part and part not in parts:
        option = next(name for name, letter in PARTS.items() if letter == part)
        return f'go with an option `{option}`, a whole number, where they say "/{part}"'
    return None


def _size_mistakes(sizes: object, symbols: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the sizes of parameters or buffers."""
    if not isinstance(sizes, Mapping):
        yield "be a mapping from names to sizes", repr(sizes)
        return
    for name, size in sizes.items():
        factors = size.split() if isinstance(size, str) else []
        if not factors or not all(word in symbols or (word.isdecimal() and int(word) > 0) for word in factors):
            yield f"have sizes made of {', '.join(sorted(symbols))} and numbers", f"{size!r} for {name!r}"
