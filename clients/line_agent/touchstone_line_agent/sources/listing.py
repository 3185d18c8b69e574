"""What is in a watched folder now: the image files, and what is passed over and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from touchstone_client import IMAGE_SUFFIXES


@dataclass(frozen=True)
class State:
    """What tells a file from what is later under its name."""

    modified_ns: int
    size: int
    changed_ns: int


@dataclass(frozen=True)
class Listing:
    """images: files that may be parts. ignored: names of others, by reason."""

    images: Mapping[Path, State]
    ignored: Mapping[str, tuple[str, ...]]


HIDDEN = "hidden"
IGNORED = (HIDDEN, "not images by their suffix", "not as the pattern", "not files", "not to be looked at")


def state_of(found: os.stat_result) -> State:
    """The state of a file that the system tells about."""
    return State(found.st_mtime_ns, found.st_size, found.st_ctime_ns)


class Watched:
    """A folder, and where its file system is mounted: an empty mount point is no empty folder."""

    def __init__(self, path: Path, pattern: str, mounted_at: Path | None) -> None:
        self._path = path
        self._pattern = pattern.lower()
        self._mounted_at = mounted_at
        self._device: int | None = None
        self._mount: Path | None = None

    def list(self) -> Listing:
        """Look at the folder. OSError when it is not there, or not what it was."""
        self._check_mount()
        images: dict[Path, State] = {}
        ignored: dict[str, list[str]] = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                why = self._look(entry, images)
                if why is not None:
                    ignored.setdefault(why, []).append(entry.name)
        return Listing(images, {why: tuple(sorted(names)) for why, names in ignored.items()})

    def _look(self, entry: os.DirEntry[str], images: dict[Path, State]) -> str | None:
        """Take an entry for an image, or say why not; None too for folders, which nobody takes for images."""
        suffix = os.path.splitext(entry.name)[1].lower()
        hidden, of_image = entry.name.startswith("."), suffix in IMAGE_SUFFIXES
        try:
            if not entry.is_file():
                return "not files" if of_image and not hidden else None
            if hidden:
                return HIDDEN
            if not of_image:
                return "not images by their suffix"
            if not fnmatchcase(entry.name.lower(), self._pattern):
                return "not as the pattern"
            found = entry.stat()
        except FileNotFoundError:  # gone since it was listed
            return None
        except OSError:
            return "not to be looked at"
        images[Path(entry.path)] = state_of(found)
        return None

    def _check_mount(self) -> None:
        if self._mounted_at is not None and not os.path.ismount(self._mounted_at):
            raise OSError(f"nothing is mounted at {self._mounted_at}")
        device = self._path.stat().st_dev
        if device == self._device:
            return
        mount = next(each for each in (self._path.resolve(), *self._path.resolve().parents) if os.path.ismount(each))
        if self._mount is not None and mount != self._mount and self._mount.is_relative_to(mount):
            raise OSError(f"what was mounted at {self._mount} is not mounted any more")
        self._device, self._mount = device, mount
