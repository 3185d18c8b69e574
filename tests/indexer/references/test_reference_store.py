"""A reference store's files: failed additions and compactions delete their own files, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from indexer.domain.errors import CatalogueMismatch, MemoryInactive, StorageFull
from indexer.memory import Codec, EncodedReferences
from indexer.references.reference_store import ReferenceStore
from indexer.references.source_image import SourceImage
from tests.helpers.coreset_files import condense
from tests.helpers.random_features import feature_space, random_features

SPACE = feature_space()


def originals(*images: bytes) -> list[SourceImage]:
    return [SourceImage("p.png", image, hashlib.sha256(image).hexdigest(), ".png", 4, 3) for image in images]


def add(reference_store: ReferenceStore, *images: bytes) -> list[int]:
    encoded: dict[str, EncodedReferences] = {}
    for index, original in enumerate(originals(*images)):
        codec = Codec.from_name("fp16", SPACE.dim)
        encoded[original.sha256] = codec.encode(random_features(SPACE, 1, index))
    return [outcome.reference_id for outcome in reference_store.add("bolt", originals(*images), encoded).outcomes]


def files(data: Path, *folders: str) -> set[str]:
    return {path.name for folder in folders for path in (data / folder).rglob("*") if path.is_file()}


def orphan(data: Path) -> Path:
    """An image that a crash left."""
    path = data / "originals" / "ab" / "cd" / f"abcd{'0' * 60}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    return path


@pytest.mark.parametrize("state", ["missing", "cut to nothing", "another"])
def test_files_are_not_deleted_for_a_catalogue_that_is_empty(tmp_path: Path, state: str) -> None:
    reference_store = ReferenceStore.open(tmp_path, SPACE)
    add(reference_store, b"one")
    reference_store.close()
    kept = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".segment", ".png"))
    other = f"sqlite:///{tmp_path / 'other.sqlite'}" if state == "another" else None
    if state == "missing":
        (tmp_path / "catalogue.sqlite").unlink()
    elif state == "cut to nothing":
        (tmp_path / "catalogue.sqlite").write_bytes(b"")
    for path in tmp_path.glob("catalogue.sqlite-*"):
        path.unlink()
    with pytest.raises(CatalogueMismatch, match="name the database that it belongs to"):
        ReferenceStore.open(tmp_path, SPACE, database_url=other)
    assert len(kept) == 2
    assert all(path.is_file() for path in kept)


def test_a_reference_store_opens_without_looking_at_images_and_sweeps_segments_and_coresets(tmp_path: Path) -> None:
    reference_store = ReferenceStore.open(tmp_path, SPACE)
    add(reference_store, b"one")
    left = tmp_path / "segments" / f"{'0' * 32}.segment"
    left.write_bytes(b"left")
    replaced, coreset = (condense(tmp_path, reference_store.catalogue, "bolt").name for _ in range(2))
    assert files(tmp_path, "coresets") == {replaced, coreset}
    image = orphan(tmp_path)
    reopened = ReferenceStore.open(tmp_path, SPACE)
    assert len(reopened.memory) == 1
    assert image.is_file(), "the history's pruning looks for it, in the background"
    assert not left.exists()
    assert files(tmp_path, "coresets") == {coreset}
    reopened.close()
    reference_store.close()


@pytest.mark.parametrize("kind", ["refused by the catalogue", "no room for the segment"])
def test_a_failed_addition_gives_back_what_it_wrote_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    reference_store = ReferenceStore.open(tmp_path, SPACE)
    [one] = add(reference_store, b"one")
    image, before = orphan(tmp_path), files(tmp_path, "segments", "originals")
    if kind == "refused by the catalogue":
        other = reference_store.catalogue.memories.prepare("{}", "0" * 64, "fp16")
        reference_store.catalogue.references.remove([one])  # its image can be restored, and stays
        reference_store.catalogue.memories.switch(other.id)
        with pytest.raises(MemoryInactive):
            add(reference_store, b"one", b"two", b"three")
    else:

        def full(*_: Sequence[object]) -> None:
            raise StorageFull("no room")

        monkeypatch.setattr("indexer.references.reference_store.write_segment", full)
        with pytest.raises(StorageFull):
            add(reference_store, b"one", b"two", b"three")
    assert files(tmp_path, "segments", "originals") == before | {image.name}
    reference_store.close()


def test_compaction_deletes_the_segments_it_replaced_and_looks_at_no_image(tmp_path: Path) -> None:
    reference_store = ReferenceStore.open(tmp_path, SPACE)
    for data in (b"one", b"two", b"three"):
        add(reference_store, data)
    before, image = files(tmp_path, "segments"), orphan(tmp_path)
    assert reference_store.compact() == 3
    after = files(tmp_path, "segments")
    assert len(after) == 1
    assert not after & before
    assert image.is_file()
    reference_store.close()
