"""Text that comes from outside: from files that other programs wrote, and from names that other systems gave."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

LONGEST = 128  # characters of a name or an identifier that the service takes
LONGEST_FILENAME = 255

# C0 and C1 controls, DEL, the separators of lines and paragraphs, and surrogates (bytes of a name that are no UTF-8).
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def readable(text: str, longest: int) -> str:
    """Text as the service takes it: what it would refuse becomes U+FFFD, in normal form C, cut to a length."""
    return unicodedata.normalize("NFC", _REFUSED.sub("\N{REPLACEMENT CHARACTER}", text))[:longest]


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in UTF-16 with its byte order mark as Windows tools write it; the mark is dropped.

    OSError; ValueError, naming the file, when it is neither.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8") from None
