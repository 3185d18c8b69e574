"""An exported folder: what it says of itself, whether it is whole, and how it is served without writing to it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from indexer.jobs.checked_files import FileFault, check, check_size

MANIFEST = "manifest.json"
FORMAT = 1  # of the folder: raised when an older version could not serve it
ENCODER = "encoder"  # folder of a local encoder's files
CONVERTED = "converted"  # folder of what other runtimes than torch take
CATALOGUE = "catalogue.sqlite"
SEGMENTS, CORESETS, ORIGINALS = "segments", "coresets", "originals"

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ExportError(Exception):
    """What cannot be exported, or served as an export; the message is one line for a person."""


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export. sha256: hex."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class SavedFile:
    """A file that is in an export's target. is_new: it was written there just now, and not by an earlier export."""

    file: ExportedFile
    is_new: bool


@dataclass(frozen=True)
class ExportedEncoder:
    """Its settings; model: as `TOUCHSTONE_ENCODER`, or a path in the folder that begins with `ENCODER`."""

    model: str
    layers: tuple[int, ...] | None
    dtype: str
    runtime: str


@dataclass(frozen=True)
class Manifest:
    """What an export holds. schema: of its catalogue. references: by category. files: by path in the folder."""

    touchstone: str
    schema: str
    exported_at: str
    encoder: ExportedEncoder
    fingerprint: str
    references: Mapping[str, int]
    files: Mapping[str, ExportedFile]

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder. ExportError where there is none that this version can read."""
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise no_manifest(folder) from None
        except (OSError, ValueError) as error:
            raise ExportError(f"{folder / MANIFEST} cannot be read ({error}): export again") from error
        return cls.from_json(text, str(folder))

    @classmethod
    def from_json(cls, text: str, source: str) -> Manifest:
        """The inverse of `to_json`. source: the folder or bucket that it is of. ExportError."""
        try:
            fields = json.loads(text)
            written = fields.pop("format")
            if written > FORMAT:
                raise ExportError(f"{source} was exported by a newer version of Touchstone: serve it with that")
            encoder = fields.pop("encoder")
            encoder["layers"] = None if encoder["layers"] is None else tuple(encoder["layers"])
            files = {path: _checked(path, ExportedFile(**values)) for path, values in fields.pop("files").items()}
            return cls(encoder=ExportedEncoder(**encoder), files=files, **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"{source}/{MANIFEST} cannot be read ({error}): export again") from error


def no_manifest(source: object) -> ExportError:
    """Of a folder or bucket in which no export was finished."""
    return ExportError(f"{source} holds no {MANIFEST}: it is no export, or one that was cut off")


def _checked(path: str, file: ExportedFile) -> ExportedFile:
    """A file that a manifest names. ValueError where it would lie outside the export."""
    parts = PurePosixPath(path).parts
    folders = (SEGMENTS, CORESETS, ORIGINALS, ENCODER, CONVERTED)
    if parts[:1] not in [(name,) for name in (CATALOGUE, *folders)] or ".." in parts:
        raise ValueError(f"it names {path}")
    if not _DIGEST.fullmatch(file.sha256):
        raise ValueError(f"{path} has no checksum")
    return file


def verify(folder: Path, manifest: Manifest) -> None:
    """ExportError, naming the first file that is missing or damaged.

    Images of references are looked at when they are read, which checks them by their name; here, that each is there.
    """
    for path, file in manifest.files.items():
        try:
            if path.startswith(f"{ORIGINALS}/"):
                check_size(folder / path, file.bytes)
            else:
                check(folder / path, file.sha256)
        except FileFault as fault:
            raise ExportError(f"{folder / path}: {fault}; copy the exported folder again") from fault


@contextmanager
def data_folder_of(folder: Path) -> Iterator[Path]:
    """A temporary data folder that stands for an export: a copy of its catalogue, which SQLite writes to even where it
    is only read, and links to all else. Nothing is ever written to the export, which may lie on a read-only disk.
    """
    with tempfile.TemporaryDirectory(prefix="touchstone-") as temporary:
        data = Path(temporary)
        shutil.copyfile(folder / CATALOGUE, data / CATALOGUE)
        (data / ORIGINALS).symlink_to((folder / ORIGINALS).resolve())
        for name in (SEGMENTS, CORESETS, CONVERTED):
            (data / name).mkdir()
            for file in (folder / name).iterdir() if (folder / name).is_dir() else ():
                (data / name / file.name).symlink_to(file.resolve())
        yield data
