"""Text from outside the client: text files written by other programs, names given by other systems."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

# The service's limits, in characters.
MAX_NAME_LENGTH = 128
MAX_FILENAME_LENGTH = 255

# C0 and C1 controls, DEL, line and paragraph separators, surrogates (bytes of a file name that are not UTF-8).
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def sanitize(text: str, max_length: int) -> str:
    """Text that the service accepts: forbidden characters become U+FFFD, the rest is NFC-normalised and cut."""
    return unicodedata.normalize("NFC", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))[:max_length]


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark; the mark is dropped.

    OSError; ValueError, naming the file, when it is neither.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8") from None
