"""Which font of a PDF has a character, so that file names in any script can be read.

Latin text is in Bitstream Vera, which reportlab brings along and which is embedded. Chinese, Japanese and Korean are in
the fonts that PDF viewers have for them, so that no font of many megabytes is needed here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import getFont, registerFont
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "Vera", "VeraBd"
_EAST_ASIAN = {"gbk": "STSong-Light", "shift_jis": "HeiseiMin-W3", "euc_kr": "HYSMyeongJo-Medium"}  # codec → font
_UNKNOWN = "?"


@lru_cache
def register_fonts() -> None:
    """Make the fonts known to reportlab."""
    for name in (REGULAR, BOLD):
        registerFont(TTFont(name, f"{name}.ttf"))
    for name in _EAST_ASIAN.values():
        registerFont(UnicodeCIDFont(name))


def runs(text: str, own: str) -> Iterator[tuple[str | None, str]]:
    """The text in runs of one font each; None is `own`. A letter that no font has loses its accents, or becomes `?`."""
    known = getFont(own).face.charToGlyph
    placed = [_placed(character, known) for character in text]
    for font, run in groupby(placed, key=lambda pair: pair[0]):
        yield font, "".join(character for _, character in run)


def is_shown(text: str, own: str) -> bool:
    """Whether a font has each letter, with its accents or without."""
    return text.count(_UNKNOWN) == sum(run.count(_UNKNOWN) for _, run in runs(text, own))


def _placed(character: str, known: dict[int, int]) -> tuple[str | None, str]:
    if ord(character) in known:
        return None, character
    for codec, font in _EAST_ASIAN.items():
        if _encodes(codec, character):
            return font, character
    plain = unicodedata.normalize("NFD", character)[0]  # without its accents; never a part of it, as 1 is of ½
    return None, plain if ord(plain) in known else _UNKNOWN


def _encodes(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
