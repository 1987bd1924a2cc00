"""Explanations: the numbers are those of the layer, and the drawing shows the sets that really share a statistic."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from math import prod
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from normlab.errors import InputError
from normlab.explanation.drawing import OTHER, SHARED, arrange
from normlab.explanation.explain import explain
from normlab.explanation.facts import facts_of, parameters_and_buffers
from normlab.explanation.image import as_png
from normlab.explanation.panels import panels
from normlab.explanation.shape import Shape, parse_shape
from normlab.explanation.text import draw
from normlab.norms.batch import BATCH
from normlab.norms.catalog import NORMS, parse
from normlab.norms.layer import LAYER
from normlab.norms.modules.batch import chunks
from normlab.norms.none import NONE
from normlab.norms.reductions import numbered_sets
from normlab.norms.spec import Norm

SIZES = {"N": 8, "C": 64, "L": 5, "D": 2, "H": 3, "W": 4}
CASES = [
    pytest.param(spec, layout, id=f"{spec.name}-{layout}")
    for spec in NORMS
    for layout in spec.axes
    if parse(spec.name).emptiness(Shape(layout, tuple(SIZES[axis] for axis in layout)).slot, SIZES["N"]) is None
]
SWITCHING = replace(
    BATCH,
    name="switching",
    title="<Switching> & co",
    further_axes={"NCHW": (("H", "W"), ("C", "H", "W"))},
    degenerate=(("one position", "the mean is the element"),),
    initial="equal shares",
)
WEIGHTS = replace(NONE, name="weights", title="Weights", wrap=lambda layer, options: layer)


def shape_of(layout: str) -> Shape:
    return parse_shape(",".join(str(SIZES[axis]) for axis in layout), layout)


@pytest.mark.parametrize(("spec", "layout"), CASES)
def test_the_numbers_on_a_shape_are_those_of_the_layer(spec, layout) -> None:
    norm, shape = parse(spec.name), shape_of(layout)
    found = facts_of(norm, shape)
    for axes, one in zip(spec.sets(layout), found.statistics, strict=True):
        numbers = numbered_sets(axes, {axis: SIZES[axis] for axis in layout}, norm.parts)
        counts = np.unique(numbers, return_counts=True)[1]
        assert set(counts.tolist()) == {one.elements}
        assert len(counts) == one.count
    if spec.wrap is None:
        layer = norm.build(shape.slot)
        assert found.parameters == sum(parameter.numel() for parameter in layer.parameters())
        assert found.buffers == sum(buffer.numel() for buffer in layer.buffers())


@pytest.mark.parametrize(("spec", "layout"), CASES)
def test_there_is_a_panel_for_each_set_and_it_is_the_partition(spec, layout) -> None:
    norm = parse(spec.name)
    small = Shape(layout, tuple({"N": 2, "C": 64, "L": 4}.get(axis, 2 if axis in "HD" else 1) for axis in layout))
    found = panels(norm, layout, small)
    assert len(found) == max(1, len(spec.sets(layout)))
    for panel, axes in zip(found, spec.sets(layout), strict=False):
        assert panel.axes == axes
        own = {letter for axis in axes for letter in axis.partition("/")[0]}
        parted = {letter for axis in axes if "/" in axis for letter in axis.partition("/")[0]}
        positions = panel.set_numbers.shape[2]
        along = {"N": panel.set_numbers[:, 0, 0], "C": panel.set_numbers[0, :, 0]}
        for axis, line in along.items():
            if axis not in own:
                assert len(set(line.tolist())) == len(line)
            elif axis not in parted:
                assert len(set(line.tolist())) == 1
        if spatial := [axis for axis in layout if axis not in "NC"]:
            assert (len(set(panel.set_numbers[0, 0].tolist())) == 1) == (positions == 1 or set(spatial) <= own)


def sets_of(norm: str, layout: str, shape: str) -> np.ndarray:
    (panel,) = panels(parse(norm), layout, parse_shape(shape, layout))
    return panel.set_numbers


def test_identities_of_the_drawings() -> None:
    shape = "3,6,2,2"
    assert np.array_equal(sets_of("group:groups=6", "NCHW", shape), sets_of("instance", "NCHW", shape))
    one_group = sets_of("group:groups=1", "NC", "3,6")
    assert np.array_equal(one_group, sets_of("layer", "NC", "3,6"))
    assert len(np.unique(sets_of("group:groups=2", "NC", "3,6"))) == 6
    # drawn with fewer channels than there are, extremes stay what they are
    assert np.array_equal(sets_of("group:groups=64", "NCHW", "3,64,2,2"), sets_of("instance", "NCHW", "3,64,2,2"))
    assert len(np.unique(sets_of("group:groups=1", "NC", "3,64"))) == 3


def test_spatial_axes_that_are_shared_in_part_are_drawn_apart() -> None:
    rows = replace(LAYER, axes={"NCHW": ("W",)}, options=())
    (panel,) = panels(Norm("rows", rows, {}), "NCHW")
    assert panel.sharing == "all columns of each sample, channel and row"
    assert panel.set_numbers[0, 0].tolist() == [0, 0, 1, 1]


def test_a_shape_is_read_with_or_without_a_layout() -> None:
    assert str(parse_shape("2,3,4")) == "N=2, C=3, L=4"
    assert parse_shape("2,4,3", "NLC").slot == parse_shape("2,3,4").slot.__class__(
        3, "NLC", (4,), "layer", "activation"
    )
    assert parse_shape("1x2x3x4x5").layout == "NCDHW"


@pytest.mark.parametrize(
    ("norm", "shape", "warning"),
    [
        ("batch", "1,64", "cannot train on one element"),
        ("batch", "2,64", "+1 and -1"),
        ("batch", "4,64", "the mean is off by 50% of a standard deviation and the variance by 71%"),
        ("batch", "4,64,56,56", "only 4 samples share statistics"),
        ("group:groups=64", "32,64", "one element behind each statistic"),
        ("group:groups=32", "32,64", "two elements behind each statistic"),
        ("frn", "8,64", "frn has one element behind each statistic: every output depends on its own element alone"),
        ("ghost", "100,64,7,7", "only 4 samples share statistics in the last chunk"),
        ("ghost", "36,64", "only 4 elements of the batch behind each statistic in the last chunk"),
        ("ghost:size=8", "32,64,7,7", "only 8 samples share statistics: "),
    ],
)
def test_shapes_that_a_norm_does_not_suit_are_warned_of(norm: str, shape: str, warning: str) -> None:
    assert any(warning in said for said in explain(norm, shape=shape).facts[0].warnings)
    assert warning in str(explain(norm, shape=shape))


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        ("mean-only-batch", "the mean is off by 50% of a standard deviation"),
        ("variance-only-batch", "the variance is off by 71%"),
        ("batch", "the mean is off by 50% of a standard deviation and the variance by 71%"),
    ],
)
def test_a_warning_speaks_of_the_statistics_that_a_norm_takes(norm: str, said: str) -> None:
    (warning,) = explain(norm, shape="4,64").facts[0].warnings
    assert warning.endswith(f"even if they are independent, {said}")


@pytest.mark.parametrize("samples", [2, 3, 32, 33, 34, 64, 65, 68, 100])
def test_chunks_are_counted_as_the_layer_cuts_them(samples: int) -> None:
    cut = chunks(samples, 32)
    (found,) = facts_of(parse("ghost"), parse_shape((samples, 5, 7))).statistics
    assert (found.count, found.elements, found.last) == (5 * len(cut), 7 * cut[0], 7 * cut[-1])


def test_an_uneven_last_chunk_is_said() -> None:
    said = str(explain("ghost", shape="100,64,7,7"))
    assert "1,568 elements (the last chunk: 196) behind each of 256" in said
    assert "last chunk:" not in str(explain("ghost", shape="96,64,7,7"))


def test_headings_keep_their_order_whichever_norm_comes_first() -> None:
    one, other = (explain(*names).rows() for names in (("weight", "spectral"), ("spectral", "weight")))
    assert [name for name, _ in one] == [name for name, _ in other]


def test_what_is_added_to_the_weights_says_to_which() -> None:
    rows = dict(explain("spectral", "batch", shape="8,64").rows())
    assert rows["Buffers there"] == ("128, added to a linear layer of 64 inputs and 64 outputs", "129")


def test_chosen_options_are_told_with_their_defaults() -> None:
    rows = dict(explain("batch:affine=false,eps=1e-3", "batch", "instance:affine=true", "group:groups=8").rows())
    options = [cell.splitlines() for cell in rows["Options"]]
    assert options[0][0].startswith("eps=0.001 (1e-05 by default)  ")
    assert options[0][1].startswith("momentum=0.1  ")
    assert options[0][2].startswith("affine=false (true by default)  ")
    assert options[1][0].startswith("eps=1e-05  ")
    assert options[3][0].startswith("groups=8 (32 by default)  ")
    learned = rows["Learned"]
    assert learned[0].startswith("with these options nothing; in general gamma")
    assert learned[1].startswith("gamma")
    assert learned[2].startswith("with these options weight, bias; in general none")
    assert rows["Parameters"] == ("none", "weight: C\nbias: C", "weight: C\nbias: C", "weight: C\nbias: C")


@pytest.mark.parametrize("spec", [spec for spec in NORMS if spec.wrap is None], ids=lambda spec: spec.name)
def test_what_is_built_with_other_switches_is_what_the_layer_has(spec) -> None:
    switches = [option for option in spec.options if isinstance(option.default, bool)]
    for option in switches:
        norm = parse(f"{spec.name}:{option.name}={str(not option.default).lower()}")
        parameters, buffers = parameters_and_buffers(norm)
        layout = next(layout for layout in ("NCHW", "NC") if layout in spec.axes)
        slot = shape_of(layout).slot
        layer = norm.build(slot)
        assert {name: norm.size(size, slot) for name, size in parameters.items()} == {
            name: parameter.numel() for name, parameter in layer.named_parameters()
        }
        assert {name: norm.size(size, slot) for name, size in buffers.items()} == {
            name: buffer.numel() for name, buffer in layer.named_buffers()
        }
        (entry,) = explain(str(norm)).as_dict()["norms"]
        assert entry["built"] == {"parameters": parameters, "buffers": buffers}


def test_three_sizes_are_read_as_the_norms_take_them() -> None:
    assert explain("layer", shape="8,128,64").shape == Shape("NLC", (8, 128, 64))
    assert explain("layer", shape="8,128,64").reading == "", "there is no other way"
    assert explain("layer", "rms", shape=(8, 128, 64)).reading.endswith("N,L,C; layout NCL for N,C,L")
    both = explain("rms", shape="8,128,64")
    assert both.shape.layout == "NCL"
    assert both.reading == both.as_dict()["reading"] == "3 sizes are read as N,C,L; layout NLC for N,L,C"
    assert str(both).startswith(both.reading)
    assert both.reading in both.page()
    assert explain("rms", shape="8,128,64", layout="nlc").reading == ""
    gap = explain("batch", "layer", shape="8,128,64")
    assert (gap.shape.layout, gap.reading) == ("NCL", "3 sizes are read as N,C,L; layout NLC for N,L,C")
    assert "layer2d, over C at each position" in gap.facts[1]


def test_a_norm_that_refuses_the_shape_says_so_itself() -> None:
    with pytest.raises(InputError, match="Instance must have more than one position to normalize over"):
        explain("instance", shape="8,64,1,1")


def test_a_norm_without_a_form_for_the_layout_says_what_to_take() -> None:
    for arguments in ({"shape": "8,64,7,7"}, {"layout": "NCHW"}):
        with pytest.raises(InputError, match="channels first take layer-chw, over C and all positions, or layer2d"):
            explain("layer", **arguments)


@pytest.mark.parametrize("sizes", [(32, 64.5), 32, (), (32, 0), ("32", "x")])
def test_sizes_may_be_a_sequence_of_whole_numbers(sizes) -> None:
    assert explain("batch", shape=(32, 64, 56, 56)).shape == explain("batch", shape="32,64,56,56").shape
    assert explain("batch", shape=np.array([32, 64])).shape == explain("batch", shape="32,64").shape
    with pytest.raises(InputError, match="shape"):
        explain("batch", shape=sizes)


def test_a_sound_shape_has_no_warnings() -> None:
    assert explain("batch", "group:groups=8", "dyt", shape="32,64,56,56").facts[0].warnings == ()
    assert "Warnings\n  none" in str(explain("group:groups=8", shape="1,64,56,56"))


def test_the_drawing_is_well_formed_and_carries_its_meaning_without_colour() -> None:
    explanation = explain(SWITCHING, "dyt", WEIGHTS, shape="2,3,2,2")
    root = ElementTree.fromstring(explanation.svg())
    names = {"s": "http://www.w3.org/2000/svg"}
    title, description = root.find("s:title", names), root.find("s:desc", names)
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert (
        "<Switching> & co on NCHW input normalizes over all samples, rows and columns of each channel"
        in description.text
    )
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("<Switching> & co") == 3
    assert "weights are changed, not activations" in words
    assert "no statistics" in words
    (dots,) = [
        path.get("d").count("h0") for path in root.iter("{http://www.w3.org/2000/svg}path") if "h0" in path.get("d")
    ]
    blue = sum(face.color in SHARED.values() for face in explanation.drawing().faces)
    assert dots == blue == sum(face.marked for face in explanation.drawing().faces)


def test_every_face_of_the_block_shows_its_element() -> None:
    (panel,) = panels(parse("batch"), "NCHW", parse_shape("2,3,2,2"))
    drawing = arrange([panel], ["caption"], "legend")
    # of 2 samples, 3 channels and 4 positions: left 12 faces, right 8, top 6; of channel 1: 4, 8, 2
    assert len(drawing.faces) == 26
    assert sum(face.marked for face in drawing.faces) == 14
    assert {face.color for face in drawing.faces if not face.marked} <= set(OTHER.values())
    thick = [stroke for stroke in drawing.strokes if stroke.width > 2]
    assert len(thick) == 2 * 4 + 2 * 2  # two borders between channels, along 4 positions and along 2 samples
    assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for face in drawing.faces for x, y in face.corners)


DRAWN = {
    "all norms": (*(spec.name for spec in NORMS),),
    "options": ("batch-renorm:rmax=2,dmax=3,start=100,momentum=0.05,affine=false", "batch", "group:groups=1"),
}


@pytest.mark.parametrize("names", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        *((None, layout) for layout in ("NC", "NCL", "NCHW", "NCDHW", "NLC")),
        ("1,2,1,1", None),
        ("1,1", None),
        ("5,8,16,112,112", None),
        ("4,8,3,2", None),
        ("10000,32,128,160", None),
    ],
)
def test_labels_are_whole_and_apart(names, shape, layout) -> None:
    sized = parse_shape(shape, layout) if shape else None
    norms = [parse(name) for name in names]
    slot = sized.slot if sized else None
    fitting = [norm for norm in norms if slot is None or not (norm.misfit(slot) or norm.emptiness(slot, 1))]
    if fitting and any((layout or sized.layout) in norm.spec.axes for norm in fitting):
        drawing = explain(*map(str, fitting), shape=shape, layout=layout).drawing()
        for label in drawing.labels:
            left, right = label.ends
            assert -1 <= left < right <= drawing.width + 1, label.text
            assert label.size - 4 <= label.at[1] <= drawing.height - 4, label.text
        for one, other in combinations(drawing.labels, 2):
            if abs(one.at[1] - other.at[1]) < 12:
                assert one.ends[1] <= other.ends[0] + 1 or other.ends[1] <= one.ends[0] + 1, (one.text, other.text)


@pytest.mark.parametrize("shape", ["1,2,1,1", "2,4,2,2", "4,16"])
def test_captions_stand_below_everything_else(shape: str) -> None:
    explanation = explain("group:groups=2", "ghost:size=2", shape=shape)
    drawing = explanation.drawing()
    captions = {word for panel in explanation.panels() for word in explanation.caption(panel).split()}
    first = min(label.at[1] for label in drawing.labels if label.text.startswith("all "))
    inner = [label for label in drawing.labels if label.at[1] < first]
    assert "C = " in " ".join(label.text for label in inner)
    assert max(label.at[1] for label in inner) <= first - 17
    assert max(y for face in drawing.faces for _, y in face.corners) <= first - 12
    assert "statistics" in captions


def test_nothing_is_cut_at_the_edge_of_a_picture() -> None:
    for arguments in ({"layout": "NCHW"}, {"shape": "1,2,1,1"}, {"shape": "4,8"}):
        explanation = explain("batch", "group:groups=2", **arguments)
        picture = matplotlib.image.imread(io.BytesIO(as_png(explanation.drawing())))
        edges = (picture[:6], picture[-6:], picture[:, :6], picture[:, -6:])
        assert all((edge == 1).all() for edge in edges)
        (root,) = {ElementTree.fromstring(explanation.svg()).get("viewBox")}
        left, top, width, height = map(float, root.split())
        assert (left, top) == (-12, -12)
        assert (width, height) == (explanation.drawing().width + 24, explanation.drawing().height + 24)


def test_norms_that_are_not_drawn_are_named_in_the_picture() -> None:
    explanation = explain("batch", "layer", "rms", layout="NCHW")
    said = " ".join(label.text for label in explanation.drawing().labels)
    assert "Not drawn, having no form for NCHW input: LayerNorm." in said
    assert "Not drawn, having no form for NCHW input: LayerNorm." in explanation.page()
    assert "Not drawn" not in explain("batch", "layer").legend(), "both have a form for NC"


def test_the_title_of_many_norms_is_short() -> None:
    many = explain(*(spec.name for spec in NORMS))
    assert many.title == f"{NONE.title}, bias only, BatchNorm and {len(NORMS) - 3} more"
    assert f"<title>{many.title}</title>" in many.page()
    assert explain("batch", "group").title == "BatchNorm, GroupNorm"


def test_the_table_of_a_page_has_the_room_of_its_columns() -> None:
    page = explain("batch", "group", "instance", "layer2d").page()
    assert '<section id="entries" style="--columns: 4"' in page
    assert "#entries { --room: min(100vw - 3rem, var(--columns) * 26rem + 10rem)" in page


def test_blue_and_the_rest_differ_in_brightness() -> None:
    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for tone in SHARED:
        assert (luminance(OTHER[tone]) + 0.05) / (luminance(SHARED[tone]) + 0.05) >= 3  # WCAG 2.2, graphical objects


def test_files_are_written_by_their_ending(tmp_path) -> None:
    explanation = explain("batch", SWITCHING, shape="4,6,2,2")
    picture = matplotlib.image.imread(io.BytesIO(explanation.save(tmp_path / "a.png").read_bytes()))
    colors = {tuple(np.round(color[:3] * 255).astype(int)) for color in picture.reshape(-1, picture.shape[-1])[::7]}
    assert (0, 0x72, 0xB2) in colors
    assert explanation.save(tmp_path / "a.svg").read_text(encoding="utf-8") == explanation.svg()
    page = explanation.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert "<Switching>" not in page
    assert "&lt;Switching&gt; &amp; co" in page
    assert len(page.encode()) < 60_000
    with pytest.raises(InputError, match=r"\.png, \.svg, \.html"):
        explanation.save(tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()
    with pytest.raises(InputError, match=r"the output folder must be writable; got .*nowhere"):
        explanation.save(tmp_path / "nowhere" / "a.svg")
    with pytest.raises(InputError, match="`path` must be the name of a file; got 3"):
        explanation.save(3)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.svg", "a.html"}


def test_norms_stand_side_by_side_with_gaps_explained() -> None:
    rows = dict(explain("batch", "layer", shape="8,64,7,7").rows())
    assert rows["Couples the batch"] == ("yes, in training", "no")
    over = rows["On N=8, C=64, H=7, W=7"]
    assert over[0] == "all samples, rows and columns of each channel: 392 elements behind each of 64"
    assert rows["Parameters there"][0] == "128"
    if "NCHW" not in LAYER.axes:
        assert "has no form for NCHW" in over[1]
    rows = dict(explain(SWITCHING).rows())
    assert rows["Degenerate shapes"] == ("one position: the mean is the element",)
    assert rows["Starts"] == ("equal shares",)


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_the_entry_for_programs_is_complete(spec) -> None:
    layout = next(iter(spec.axes))
    (own,) = explain(spec.name).as_dict()["norms"]
    assert own["layouts"][layout] == [list(axes) for axes in spec.sets(layout)]
    assert own["couples_batch"] == spec.couples_batch
    assert own["stateless"] == (spec.state == "none")
    assert [option["name"] for option in own["options"]] == [option.name for option in spec.options]
    assert own["chosen"] == {option.name: option.default for option in spec.options}
    assert own["affine"] == spec.affine
    assert own["train"] == spec.train


def test_the_text_drawing_is_the_panel() -> None:
    (panel,) = panels(parse("group:groups=2"), "NCL", parse_shape("2,4,2"))
    rows = [line.split()[2:] for line in draw(panel).splitlines() if line.startswith("  sample")]
    filled = np.array([[mark == "█" for mark in row] for row in rows])
    assert np.array_equal(filled, (panel.set_numbers == 0).transpose(0, 2, 1).reshape(2, -1))
    assert filled.sum() == prod((2, 2))


def test_narrow_positions_have_short_names_and_long_rows_stand_below_each_other() -> None:
    def drawn(norm: str, shape: str, width: int | None = None) -> list[str]:
        (panel,) = panels(parse(norm), parse_shape(shape).layout, parse_shape(shape))
        return draw(panel, width).splitlines()

    for channels, names in ((1, "p1  p2"), (2, "pos 1 pos 2"), (3, "pos 1   pos 2"), (4, "pos 1     pos 2")):
        _, header, ruler, *rows = drawn("batch", f"2,{channels},2")
        assert header.split() == names.split()
        block = 2 * channels + 2
        assert [header.index(name[0], 19 + place * block) for place, name in enumerate("pp")] == [19, 19 + block]
        assert len(ruler) == len(rows[0]) == 19 + 2 * block - 3
    wide, narrow = drawn("group:groups=2", "2,8,2,3"), drawn("group:groups=2", "2,8,2,3", 80)
    assert max(map(len, narrow)) <= 80 < max(map(len, wide))
    assert " ".join(narrow).count("█") == " ".join(wide).count("█")
    assert drawn("frn", "2,4")[0] == "NC input, over single elements; █ shares one statistic"


def test_the_function_is_there_whatever_was_imported_before() -> None:
    """A package of its name would take its place as soon as one of its modules is imported."""
    line = (
        "import importlib, pkgutil, normlab.explanation, normlab.profiling\n"
        "for package in (normlab.explanation, normlab.profiling):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "assert normlab.explain('batch').title == 'BatchNorm'\n"
        "assert callable(normlab.profile)\n"
    )
    subprocess.run([sys.executable, "-c", line], check=True)
