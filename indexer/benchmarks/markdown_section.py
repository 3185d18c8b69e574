"""Replaces the section between two markers of a Markdown document."""

from __future__ import annotations

from pathlib import Path


def has_markers(document: Path, begin: str, end: str) -> bool:
    """Whether the document has a section to replace."""
    if not document.is_file():
        return False
    text = document.read_text(encoding="utf-8")
    return begin in text and end in text.split(begin, 1)[1]


def replace_section(document: Path, section: str, begin: str, end: str) -> None:
    """Put `section` between the markers of a document that has them."""
    before, rest = document.read_text(encoding="utf-8").split(begin, 1)
    after = rest.split(end, 1)[1]
    document.write_text(f"{before}{begin}\n{section}\n{end}{after}", encoding="utf-8")
