"""The rule for text from outside, and the same rule in the commands."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.text import TextRejected, category_name, plain, readable, trimmed, utf8
from tests.helpers.commands import opened, references, touchstone
from tests.helpers.part_images import part


@given(st.text())
def test_what_is_accepted_is_utf8_normal_and_of_one_line_and_what_is_refused_can_be_shown(text: str) -> None:
    shown = readable(text)
    assert plain(shown, len(shown)) == shown
    try:
        accepted = plain(text, len(text) * 4)
    except TextRejected:
        assert shown != text
    else:
        assert accepted == unicodedata.normalize("NFC", text) == shown
        assert accepted.encode().decode() == accepted
        assert len(f"{accepted}.".splitlines()) == 1


@pytest.mark.parametrize("text", ["a\0", "\x1f", "\x7f", "\x85", "\u2028", "\u2029", "\udcff", "x" * 129])
def test_controls_surrogates_and_long_texts_are_refused(text: str) -> None:
    with pytest.raises(TextRejected):
        plain(text)


@pytest.mark.parametrize("text", ["bracket-a", "Größe 12", "部品", "🙂", " a ", ""])
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize("text", ["", "  ", "a\n", "x" * 129])
def test_what_a_person_writes_is_something_and_of_one_line(text: str) -> None:
    with pytest.raises(TextRejected):
        trimmed(text)
    assert trimmed(" dent, top left ") == "dent, top left"


def test_the_same_name_typed_in_two_ways_is_one_name() -> None:
    assert plain("Gro\u0308\u00dfe") == plain("Größe") == "Größe"


def test_bytes_are_text_only_when_they_are_utf8() -> None:
    assert utf8("teil_ä".encode()) == "teil_ä"
    with pytest.raises(TextRejected, match="0xE4"):
        utf8(b"teil_\xe4")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\nb", "\udce4"])
def test_what_cannot_be_a_folder_cannot_name_a_category(name: str) -> None:
    with pytest.raises(TextRejected):
        category_name(name)


def test_a_folder_whose_name_breaks_the_rule_is_named_and_the_others_are_indexed(tmp_path: Path) -> None:
    folder, data = tmp_path / "parts", tmp_path / "data"
    for index, name in enumerate((b"disc", b"a\nb", b"teil_\xe4", "Gro\u0308\u00dfe".encode())):
        here = folder / name.decode(errors="surrogateescape")
        here.mkdir(parents=True)
        (here / f"{index}.png").write_bytes(part(index))
    done = touchstone("index", folder, data=data)
    assert done.exit_code == 1, done.stderr
    assert done.stdout.count("The folder's name holds") == 2
    reference_store = opened(data)
    assert references(reference_store) == {"0.png": "disc", "3.png": "Größe"}
    reference_store.close()


@pytest.mark.parametrize(
    "words", [("create", "a\nb"), ("create", "\udcff"), ("create", "x" * 129), ("revoke", "\udcff")]
)
def test_keys_take_no_name_that_breaks_the_rule(tmp_path: Path, words: tuple[str, str]) -> None:
    assert touchstone("migrate", data=tmp_path).exit_code == 0
    done = touchstone("keys", *words, data=tmp_path)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "data folder" not in done.stderr


def test_a_keys_name_is_normalised(tmp_path: Path) -> None:
    assert touchstone("migrate", data=tmp_path).exit_code == 0
    assert touchstone("keys", "create", "Pru\u0308fplatz", data=tmp_path).exit_code == 0
    assert "Prüfplatz" in touchstone("keys", "list", data=tmp_path).stdout
