"""Pictures are bytes of PNG files whatever letters their titles have."""

from __future__ import annotations

import warnings

import pytest
from matplotlib import rcParams

from normlab.report.canvas import as_png, lettering, make_figure, png_inches


def test_letters_that_no_font_has_are_told_once_for_a_picture() -> None:
    figure = make_figure(2, 1)
    figure.text(0.1, 0.5, "\U0010fffd\U0010fffc $ and letters")
    with pytest.warns(UserWarning, match="show boxes for letters") as caught:
        assert as_png(figure).startswith(b"\x89PNG")
    assert len(caught) == 1


def test_how_wide_a_picture_is_stands_in_its_bytes() -> None:
    assert png_inches(as_png(make_figure(2.5, 1))) == pytest.approx(2.5, abs=0.01)


def test_other_letters_are_drawn_without_a_word_and_settings_stay() -> None:
    before = dict(rcParams)
    with warnings.catch_warnings(), lettering():
        warnings.simplefilter("error")
        figure = make_figure(2, 1)
        figure.text(0.1, 0.5, "Größe_$x")
        assert as_png(figure).startswith(b"\x89PNG")
        assert rcParams["font.family"][: len(before["font.family"])] == before["font.family"]
    assert dict(rcParams) == before
