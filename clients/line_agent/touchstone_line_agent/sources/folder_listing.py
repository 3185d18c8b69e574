"""Lists a watched folder: its image files, and the files to ignore by reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from touchstone_client import IMAGE_SUFFIXES


@dataclass(frozen=True)
class FileState:
    """Changes when a file is modified or replaced."""

    modified_ns: int
    size: int
    changed_ns: int


@dataclass(frozen=True)
class Listing:
    """images: files that may be parts. ignored: names of others, by reason."""

    images: Mapping[Path, FileState]
    ignored: Mapping[str, tuple[str, ...]]


HIDDEN = "hidden"
_OTHER_SUFFIX = "not an image suffix"
_OTHER_PATTERN = "pattern does not match"
_NO_FILE = "not a file"
_INACCESSIBLE = "inaccessible"
IGNORE_REASONS = (HIDDEN, _OTHER_SUFFIX, _OTHER_PATTERN, _NO_FILE, _INACCESSIBLE)


def file_state(stat: os.stat_result) -> FileState:
    """The state in a file's stat."""
    return FileState(stat.st_mtime_ns, stat.st_size, stat.st_ctime_ns)


class WatchedFolder:
    """A folder and its mount point, which distinguish an unmounted share from an empty folder."""

    def __init__(self, path: Path, pattern: str, mount_point: Path | None) -> None:
        self._path = path
        self._pattern = pattern.lower()
        self._mount_point = mount_point
        self._device: int | None = None
        self._mount: Path | None = None

    def list(self) -> Listing:
        """List the folder. OSError when it does not exist, or its share has been unmounted."""
        self._check_mount()
        images: dict[Path, FileState] = {}
        ignored: dict[str, list[str]] = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                reason = self._classify(entry, images)
                if reason is not None:
                    ignored.setdefault(reason, []).append(entry.name)
        return Listing(images, {reason: tuple(sorted(names)) for reason, names in ignored.items()})

    def _classify(self, entry: os.DirEntry[str], images: dict[Path, FileState]) -> str | None:
        """Add an entry to the images, or return why it is ignored; None also for folders, which need no mention."""
        suffix = os.path.splitext(entry.name)[1].lower()
        is_hidden, has_image_suffix = entry.name.startswith("."), suffix in IMAGE_SUFFIXES
        try:
            if not entry.is_file():
                return _NO_FILE if has_image_suffix and not is_hidden else None
            if is_hidden:
                return HIDDEN
            if not has_image_suffix:
                return _OTHER_SUFFIX
            if not fnmatchcase(entry.name.lower(), self._pattern):
                return _OTHER_PATTERN
            stat = entry.stat()
        except FileNotFoundError:  # deleted since it was listed
            return None
        except OSError:
            return _INACCESSIBLE
        images[Path(entry.path)] = file_state(stat)
        return None

    def _check_mount(self) -> None:
        if self._mount_point is not None and not os.path.ismount(self._mount_point):
            raise OSError(f"nothing is mounted at {self._mount_point}")
        device = self._path.stat().st_dev
        if device == self._device:
            return
        path = self._path.resolve()
        mount = next(parent for parent in (path, *path.parents) if os.path.ismount(parent))
        if self._mount is not None and mount != self._mount and self._mount.is_relative_to(mount):
            raise OSError(f"the share at {self._mount} is no longer mounted")
        self._device, self._mount = device, mount
