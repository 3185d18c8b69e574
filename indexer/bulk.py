"""The bulk job: whole folders of pictures become references, decoded beside the encoder, and resumed after a kill."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from indexer.catalogue import CATEGORY_NAME
from indexer.encoders import Encoder, prepare
from indexer.folders import folders, pictures
from indexer.images import ImageLimits, ImageRefused, decode_image, suffix_of
from indexer.library import Library, Original
from indexer.memory import EncodedReferences

BATCH = 8  # pictures encoded at once
_COMMIT = 32  # pictures made references together: what a kill costs at most
_GOOD = Path("train") / "good"


class NothingToIndex(ValueError):
    """A folder that is not laid out as one of the layouts; the message is one line that says what to do."""


@dataclass(frozen=True)
class Found:
    """The pictures of one category."""

    category: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Refusal:
    """A picture that was skipped, and why."""

    path: Path
    detail: str


@dataclass
class Tally:
    """What became of one category's pictures so far."""

    category: str
    added: int = 0
    known: int = 0
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class _Loaded:
    original: Original
    prepared: torch.Tensor  # uint8 (3, crop, crop)


def find_categories(root: Path) -> tuple[Found, ...]:
    """What lies under a folder: `<category>/train/good/*` (MVTec-AD) or `<category>/*`, category by category.

    NothingToIndex when there is no picture, or when a folder's name cannot name a category.
    """
    if not root.is_dir():
        raise NothingToIndex(f"{root} is not a folder")
    if (root / _GOOD).is_dir():
        raise NothingToIndex(f"{root} is one category: give the folder that it lies in")
    found = []
    for folder in folders(root):
        paths = pictures(folder / _GOOD if (folder / _GOOD).is_dir() else folder)
        if paths:
            found.append(Found(folder.name, tuple(paths)))
    if not found:
        loose = " (pictures lie in it directly: move them into a folder named for their category)"
        raise NothingToIndex(
            f"no pictures in {root}/<category>/ or {root}/<category>/train/good/{loose if pictures(root) else ''}"
        )
    for each in found:
        if not re.fullmatch(CATEGORY_NAME, each.category) or len(each.category) > 128:
            raise NothingToIndex(f"{each.category!r} cannot name a category: rename the folder")
    return tuple(found)


def index(
    library: Library,
    encoder: Encoder,
    found: Sequence[Found],
    *,
    limits: ImageLimits,
    decoders: int,
    advance: Callable[[Tally, int], None],
) -> tuple[Tally, ...]:
    """Make the pictures references of their categories; what is one already is neither encoded nor added again.

    advance: told the category's tally and how many more pictures are done. Every 32 pictures are committed together, so
    that a kill loses no more than those, and another run goes on from there. Pictures that cannot be used are noted
    and passed over. StorageFull and CatalogueError end it; what was committed stays.
    """
    tallies, codec = [], library.memory.codec
    with ThreadPoolExecutor(decoders, thread_name_prefix="decode") as pool:
        for each in found:
            tally = Tally(each.category)
            tallies.append(tally)
            waiting: list[tuple[Original, EncodedReferences]] = []
            for batch in _loaded_ahead(pool, library, encoder, each, limits):
                fresh = [loaded for _, loaded in batch if isinstance(loaded, _Loaded)]
                for path, loaded in batch:
                    if not isinstance(loaded, _Loaded):
                        _note(tally, path, loaded)
                if fresh:
                    features = encoder.encode(torch.stack([loaded.prepared for loaded in fresh]))
                    codes = (codec.encode(features.of(number)) for number in range(len(fresh)))
                    waiting += zip((loaded.original for loaded in fresh), codes, strict=True)
                if len(waiting) >= _COMMIT:
                    _commit(library, tally, waiting)
                    waiting = []
                advance(tally, len(batch))
            if waiting:
                _commit(library, tally, waiting)
    return tuple(tallies)


def _note(tally: Tally, path: Path, reason: str | None) -> None:
    if reason is None:
        tally.known += 1
    else:
        tally.refused.append(Refusal(path, reason))


def _loaded_ahead(
    pool: ThreadPoolExecutor, library: Library, encoder: Encoder, found: Found, limits: ImageLimits
) -> Iterator[list[tuple[Path, _Loaded | str | None]]]:
    """Batches of a category's pictures, each decoded while the one before is worked on."""

    def load(path: Path) -> _Loaded | str | None:
        """The picture; None if it is a reference already; or why it cannot be used."""
        try:
            data = path.read_bytes() if path.stat().st_size <= limits.max_bytes else b""
            digest = hashlib.sha256(data).hexdigest()
            if data and library.known(found.category, [digest]):
                return None
            image = decode_image(data or path, limits)  # a path: the decoder says what is wrong with its size
        except ImageRefused as refused:
            return refused.detail
        except OSError as error:
            return f"It cannot be read: {error.strerror}."
        height, width = image.shape[:2]
        original = Original(path.name, data, digest, suffix_of(data), width, height)
        return _Loaded(original, prepare(image, encoder.space.geometry))

    def begin(start: int) -> list[tuple[Path, Future[_Loaded | str | None]]]:
        return [(path, pool.submit(load, path)) for path in found.paths[start : start + BATCH]]

    ahead = begin(0)
    for start in range(0, len(found.paths), BATCH):
        batch, ahead = ahead, begin(start + BATCH)
        yield [(path, future.result()) for path, future in batch]


def _commit(library: Library, tally: Tally, waiting: Sequence[tuple[Original, EncodedReferences]]) -> None:
    originals = [original for original, _ in waiting]
    added = library.add(tally.category, originals, {original.sha256: encoded for original, encoded in waiting})
    fresh = sum(outcome.status == "added" for outcome in added.outcomes)
    tally.added += fresh
    tally.known += len(waiting) - fresh  # the same picture twice among these, or another process was quicker
