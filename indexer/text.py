"""The one rule for text that comes from outside: names, identifiers, file names, whatever is stored or shown."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

MAX_LENGTH = 128  # characters of a name or an identifier
MAX_FILENAME_LENGTH = 255
MAX_COMMENT_LENGTH = 1000
MAX_MESSAGE_LENGTH = 500  # of another program

# C0 and C1 controls, DEL, and the separators that end a line or a paragraph. PostgreSQL cannot store the first of them,
# and a log, a CSV file or a terminal is told apart from its own lines by the others.
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
PLAIN = rf"^[^{_CONTROL}]*$"
CATEGORY_NAME = rf"^[^{_CONTROL}/\\]+$"

_FORBIDDEN = re.compile(rf"[{_CONTROL}\ud800-\udfff]")


class TextRejected(ValueError):
    """Text that breaks the rule; the message says how, as the end of a sentence about the text."""


def plain(text: str, max_length: int = MAX_LENGTH) -> str:
    """The text in Unicode's normal form C, so that equal names are equal strings however they were typed.

    TextRejected when it holds a control character, half of a surrogate pair (which stands for bytes that are no UTF-8),
    or more than `max_length` characters.
    """
    if (forbidden := _FORBIDDEN.search(text)) is not None:
        what = "bytes that are not UTF-8" if "\ud800" <= forbidden[0] <= "\udfff" else "a control character"
        raise TextRejected(f"holds {what} (U+{ord(forbidden[0]):04X})")
    text = unicodedata.normalize("NFC", text)
    if len(text) > max_length:
        raise TextRejected(f"has {len(text)} characters; at most {max_length} are accepted")
    return text


def trimmed(text: str, max_length: int = MAX_LENGTH) -> str:
    """The text by the same rule, without white space around it. TextRejected, also when nothing is left."""
    text = plain(text, max_length).strip()
    if not text:
        raise TextRejected("is empty")
    return text


def utf8(data: bytes) -> str:
    """Bytes as text. TextRejected when they are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise TextRejected(f"holds bytes that are not UTF-8 (0x{data[error.start]:02X})") from None


def read_text(path: Path) -> str:
    """A text file as any editor writes it: in UTF-8, or in UTF-16 with its byte order mark. A mark is left out.

    OSError, and TextRejected when it is neither; the message names the file.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise TextRejected(f"{path} is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8") from None


def category_name(text: str) -> str:
    """A category's name by the same rule, without slashes: it is a folder's name and a part of paths. TextRejected."""
    name = plain(text)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise TextRejected("cannot name a category: it is empty, `.` or `..`, or holds a slash")
    return name


def readable(text: str, max_length: int | None = None) -> str:
    """Text that breaks the rule made fit to be shown: what is refused becomes U+FFFD, and what is too long is cut."""
    return unicodedata.normalize("NFC", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))[:max_length]
