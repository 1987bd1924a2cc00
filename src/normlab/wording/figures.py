"""What stands above, beside and below pictures."""

from __future__ import annotations

from normlab.wording.language import ENGLISH, Language


def caption(name: str, language: Language = ENGLISH, **values: object) -> str:
    """A heading, a label of an axis, or a remark of a picture.

    >>> caption("map", metric="test loss")
    'Which norm leads in test loss'
    """
    return language.fill(f"picture.{name}", **values)


def curves_title(seeds: int, language: Language = ENGLISH) -> str:
    """The title of the picture of curves."""
    return language.counted("picture.curves", seeds)


def panel_title(held: str, step: int | None, language: Language = ENGLISH) -> str:
    """What is held in a panel of a sweep, and after how many steps its runs are compared.

    Arguments:
        held: the other swept fields with their values; empty for none.
        step: None at the end of each training.
        language: of the title.

    >>> panel_title("depth 2", 1600)
    'depth 2, after 1,600 steps'
    """
    steps = [] if step is None else [language.counted("count.step", step)]
    return language.templates["list.separator"].join(
        [*([held] if held else []), *(language.fill("picture.at_step", steps=text) for text in steps)]
    )


def cut_note(note: str, shown: int, total: int, language: Language = ENGLISH) -> str:
    """The remark below a picture, with how much of everything it shows if that is not all."""
    return note if shown == total else language.fill("picture.cut", note=note, shown=shown, total=total)
