"""What users write is read in one place, and whatever they write ends in a value or in one clear message."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from string import printable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from normlab.errors import InputError, StudyError, shortened
from normlab.norms.catalog import NORMS, parse
from normlab.norms.spec import NormSpec
from normlab.reading import (
    called,
    device,
    find,
    importable_from,
    imported,
    layout,
    mebibytes,
    option_texts,
    path,
    sizes,
    split_options,
    toml_table,
    toml_value,
    truth,
    whole_number,
)
from normlab.reading.objects import source_digest
from normlab.study.study import Study

LONG = "9" * 400
ENDLESS = "9" * 5000
OWN = "from normlab.norms.none import NONE\nMINE = NONE\nWORD = 'a word'\n"
TEXTS = st.text(st.characters() | st.sampled_from(printable), max_size=200)
WORST = 1500  # characters that a message may have, whatever was given: an advice lists the names of a catalogue


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Writes a module beside the tests' folder, and forgets it afterwards."""
    names: list[str] = []

    def write(name: str, content: str, folder: str = "beside") -> Path:
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / f"{name}.py").write_text(content)
        names.append(name)
        return Path(folder)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_module_beside_the_study_is_found(module) -> None:
    folder = module("mynorms_beside", OWN)
    before = list(sys.path)
    with pytest.raises(InputError, match="Check the spelling"):
        imported("mynorms_beside:MINE", "norm", NormSpec)
    with importable_from(folder):
        assert imported("mynorms_beside:MINE", "norm", NormSpec).name == "none"
        assert parse("mynorms_beside:MINE").spec.name == "none"
        with pytest.raises(InputError, match="Did you mean 'MINE'"):
            imported("mynorms_beside:MINES", "norm", NormSpec)
        with pytest.raises(InputError, match=r"'mynorms_beside:WORD', a str\. Make it a normlab NormSpec"):
            find("mynorms_beside:WORD", "norm", NORMS, NormSpec)
    assert sys.path == before


def test_a_module_of_the_same_name_from_another_folder_is_not_taken_for_it(module) -> None:
    first, second = module("namesake_one", OWN, "first"), module("namesake_one", OWN, "second")
    with importable_from(first):
        imported("namesake_one:MINE", "norm", NormSpec)
    with importable_from(second), pytest.raises(InputError, match="another name, or start Python anew"):
        imported("namesake_one:MINE", "norm", NormSpec)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nothing_of_this_name\n", r"No module named 'nothing_of_this_name'\). The module fails in line 1 of"),
        ("import normlab\n\nnormlab.Study(name='/')\n", r"The module fails in line 3 of \S*failing_module"),
        ("x = 1\ny = x / 0\n", r"ZeroDivisionError: division by zero\). The module fails in line 2 of"),
        ("x = (\n", r"SyntaxError: .*The module fails in line 1 of"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3\). Keep what a script does under"),
        ("raise RuntimeError('a\\nb' + 10_000 * 'c')\n", r"RuntimeError: a\\nbccc"),
    ],
)
def test_a_module_that_fails_gets_one_message(module, content: str, message: str) -> None:
    with importable_from(module("failing_module", content)), pytest.raises(InputError, match=message) as caught:
        imported("failing_module:MINE", "norm", NormSpec)
    assert len(str(caught.value)) < WORST


@pytest.mark.parametrize("file", ["mymodels.py", "../src/mymodels.py", "src/mymodels"])
def test_a_file_in_the_place_of_a_module(file: str) -> None:
    with pytest.raises(InputError, match=r"Name the module, not its file, .*: mymodels:build\."):
        imported(f"{file}:build", "model", object)


def test_an_error_of_the_users_code_is_told_with_the_last_line_of_that_code() -> None:
    def fails() -> None:
        Path("/no/such/file").read_text()

    with pytest.raises(InputError, match=rf"No such file.* in line {fails.__code__.co_firstlineno + 1} of"):
        called(fails, "the function must run")


def test_a_function_that_ends_the_program_or_takes_other_arguments_is_wrong_input() -> None:
    with pytest.raises(InputError, match=r"got SystemExit: no token in line \d+"):
        called(lambda: sys.exit("no token"), "the function must run")
    with pytest.raises(InputError, match=r"missing 1 required positional argument: 'x'.*Mend"):
        called(lambda x: x, "the function must run")


@pytest.mark.parametrize("reference", [":", "a:", ":b", "..a:b", "a..b:c", "a b:c", "\0:c", "none.none:c", "a:b:c"])
def test_a_reference_that_names_nothing(reference: str) -> None:
    with pytest.raises(InputError, match="must name an importable NormSpec"):
        imported(reference, "norm", NormSpec)


def test_options_follow_names_and_objects() -> None:
    names = ["group", "batch"]
    assert split_options("group", names) == ("group", "")
    assert split_options("bacth:eps=1", names) == ("bacth", "eps=1"), "the name is unknown, not the module"
    assert split_options(" a.b:C:eps=1,x=2 ", names) == ("a.b:C", "eps=1,x=2")
    assert option_texts("", "group", "") == {}
    for text, message in (("eps", "must be key=value"), ("a=1,a=2", "a must be given once")):
        with pytest.raises(InputError, match=message):
            option_texts(text, text, "")


def test_whole_numbers_are_those_of_64_bits() -> None:
    assert [whole_number(text) for text in ("0", "-7", " +8 ", "1_000", str(2**63 - 1))] == [0, -7, 8, 1000, 2**63 - 1]
    for text in ("", "1.0", "1e3", str(2**63), LONG, ENDLESS, "٣", "0x10", "_", "1\n2"):
        with pytest.raises(ValueError, match=r"."):
            whole_number(text)
    with pytest.raises(ValueError, match="neither"):
        truth("perhaps")


@pytest.mark.parametrize(
    "value", ["32,64,x", "", ",", "1,,2", "0,1", "-1,2", [1.5], [True, "x"], None, LONG, ENDLESS, []]
)
def test_shapes_that_are_none(value: object) -> None:
    with pytest.raises(InputError, match="`shape`"):
        sizes(value)  # type: ignore[arg-type]


def test_layouts_sizes_and_devices() -> None:
    assert layout("nlc", ("NC", "NLC")) == "NLC"
    with pytest.raises(InputError, match="Did you mean 'NLC'"):
        layout("NLCC", ("NC", "NLC"))
    with pytest.raises(InputError, match="2\\^33"):
        sizes("99999,99999")
    for text in ("", "0", "-1", "nan", "inf", "1,,2", LONG):
        with pytest.raises(InputError, match="numbers of MiB"):
            mebibytes(text)
    for text in ("gpu", "cuda:x", f"cuda:{ENDLESS}", "cuda:-1", "cuda:99", ""):
        with pytest.raises(InputError, match="one that this machine has") as caught:
            device(text)
        assert len(str(caught.value)) < WORST


def test_paths_that_a_system_does_not_allow() -> None:
    assert path("nowhere/at/all") == Path("nowhere/at/all")
    for text in (100_000 * "n", "n\0n", "a/" * 50_000):
        with pytest.raises(InputError, match="one that this system allows") as caught:
            path(text)
        assert len(str(caught.value)) < 300


DEEP = [
    "a = " + "[" * 5000 + "]" * 5000,
    "a." * 5000 + "b = 1",
    f"[{'.'.join('a' * 3000)}]\nb = 1",
    "a = " + "{b = " * 90,
]
HUGE = [
    f"seeds = {ENDLESS}",
    f"seeds = {LONG}",
    "seeds = 0x" + "f" * 6000,
    f"seeds = -{LONG}",
    f"[sweep]\nx = [{LONG}]",
]


@pytest.mark.parametrize("text", [*DEEP, *HUGE])
def test_what_no_study_can_hold_gets_one_message(text: str) -> None:
    with pytest.raises(StudyError, match="is not a valid study") as caught:
        Study.from_toml(f'name = "a"\nnorms = ["batch"]\ntasks = ["article"]\n{text}')
    assert len(str(caught.value)) < WORST
    field, _, value = text.partition(" = ")
    if "\n" not in text and field == "seeds":
        with pytest.raises(StudyError, match="64 bits"):
            toml_value(value, "--set seeds")


@pytest.mark.parametrize("option", [LONG, ENDLESS, f"-{LONG}", "1e999", "nan", f"0x{LONG}"])
@pytest.mark.parametrize("norm", ["group:groups", "group:eps", "batch:momentum"])
def test_an_option_beyond_all_bounds_gets_one_message(norm: str, option: str) -> None:
    with pytest.raises(InputError, match="must be a") as caught:
        parse(f"{norm}={option}")
    assert len(str(caught.value)) < WORST


SCALARS = st.one_of(
    st.integers(), st.sampled_from(["true", "''", "nan", "-inf", "1979-05-27", "{}", LONG, ENDLESS, f"0x{LONG}"])
)
FIELDS = ("name", "norms", "tasks", "seeds", "seed", "setting.epochs", "setting.hidden", "sweep.batch_size", "measure")


def said(read: Callable[[str], object], text: str) -> str:
    """The message that a text gets; nothing if it can be read."""
    try:
        read(text)
    except (StudyError, InputError) as error:
        return str(error)
    return ""


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(FIELDS) | st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True), SCALARS),
        max_size=12,
    )
)
@example([("setting.hidden", f"[{LONG}]")])
def test_a_mutated_study_is_valid_or_gets_one_message(lines: list[tuple[str, object]]) -> None:
    text = 'title = "x"\n' + "\n".join(f"{field} = {value}" for field, value in lines)
    message = said(Study.from_toml, text)
    assert len(message) < WORST + 400 * len(lines)
    assert message.replace("\n", "").isprintable()


@settings(max_examples=100)
@given(TEXTS)
def test_any_text_is_a_study_or_gets_one_message(text: str) -> None:
    for read in (Study.from_toml, lambda text: toml_table(text, text)):
        assert said(read, text).replace("\n", "").isprintable()


@settings(max_examples=100)
@given(st.sampled_from(["", "group:", "group:groups=", "batch:eps=1,"]), TEXTS, st.sampled_from([1, 1000]))
def test_any_norm_text_is_a_norm_or_gets_one_message(head: str, text: str, times: int) -> None:
    message = said(parse, head + text * times)
    assert len(message) < WORST
    assert message.isprintable()


@settings(max_examples=100)
@given(TEXTS | st.from_regex(r"[0-9x, -]{1,40}", fullmatch=True), st.sampled_from([1, 1000]))
def test_any_shape_is_sizes_or_gets_one_message(text: str, times: int) -> None:
    message = said(sizes, text * times)
    assert len(message) < WORST
    assert message.isprintable()


@settings(max_examples=30)
@given(TEXTS, st.integers(1, 2000))
def test_messages_are_short_and_printable(text: str, times: int) -> None:
    for error in (
        InputError(f"a rule on {text * times!r}", text * times, "Mend it."),
        StudyError(text * times, [text * times] * 100),
    ):
        assert len(str(error)) < 50 * 450
        assert str(error).replace("\n", "").isprintable()
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert len(shortened(text * times)) <= 400


def test_what_is_quoted_in_a_message_is_shortened_and_the_words_around_it_stay() -> None:
    name = "n" * 100_000
    with pytest.raises(InputError) as caught:
        parse(name)
    assert len(str(caught.value).partition("got")[2].partition("Choose")[0]) < 200
    assert str(caught.value).startswith("norm must be a known name or package.module:object; got 'nnn")
    explanation = "expected 'norm' from norm_a, which is a long explanation"
    with pytest.raises(InputError, match=explanation):
        raise InputError(
            "a rule", f"{name!r}, where it's said: expected 'norm' from norm_a, which is a long explanation", ""
        )


def test_what_functions_of_a_file_close_over_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_by_factories.py").write_text(
        "def closing(rate):\n    return lambda x: rate * x\n"
        "def defaulting(rate):\n    def inner(x, rate=rate):\n        return rate * x\n    return inner\n"
        "def plain(x, rate):\n    return rate * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("made_by_factories")
    for make in (module.closing, module.defaulting):
        one, same, other = (source_digest(make(rate)) for rate in (1.0, 1.0, 2.0))
        assert one == same != other
    held = [source_digest((), data=[partial(module.plain, rate=rate)]) for rate in (1.0, 1.0, 2.0)]
    assert held[0] == held[1] != held[2]
