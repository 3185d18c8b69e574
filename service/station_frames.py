"""The newest image of each station's camera, stored only while somebody watches it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FRAMES = "frames"  # the folder within the data folder
WATCHED_FOR_S = 10.0  # after a frame was requested
_CLOCKS_DIFFER_S = 60.0  # of replicas, at most


@dataclass(frozen=True)
class StationFrame:
    """data: a JPEG. age_s: seconds since it was taken, 0 or more."""

    data: bytes
    age_s: float


class StationFrames:
    """Files in a folder that all replicas share: a frame per station, and a mark whose time says when it was requested.

    A frame replaces the station's earlier one. No file is written durably, none is in the catalogue or in a backup.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def watch(self, station: str) -> None:
        """Note that somebody watches a station now. A frame from before that is deleted, if it is there still."""
        self._folder.mkdir(exist_ok=True)
        if not self.is_watched(station):
            self._path(station, "jpg").unlink(missing_ok=True)
        mark = self._path(station, "watched")
        mark.touch()
        with suppress(FileNotFoundError):  # deleted this instant, as one that nobody had renewed: the next look does
            _set_time(mark, 0.0)

    def is_watched(self, station: str) -> bool:
        """Whether a frame of the station was requested within ten seconds."""
        return _is_recent(self._path(station, "watched"))

    def store(self, station: str, data: bytes, age_s: float) -> bool:
        """Store a frame in the place of the earlier one; False, without storing it, where nobody watches.

        age_s: seconds since it was taken.
        """
        if not self.is_watched(station):
            return False
        temporary = self._path(station, f"{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(data)
            _set_time(temporary, age_s)
            temporary.replace(self._path(station, "jpg"))
        except FileNotFoundError:  # deleted with all else of the station, which nobody watches any more
            pass
        finally:  # what a full disk took in part
            temporary.unlink(missing_ok=True)
        return True

    def latest(self, station: str) -> StationFrame | None:
        """The station's frame, if there is one."""
        path = self._path(station, "jpg")
        with suppress(FileNotFoundError), path.open("rb") as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            return StationFrame(file.read(), max(0.0, age))
        return None

    def delete_unwatched(self, _stopping: threading.Event) -> None:
        """Delete the frames of stations that nobody watches any more."""
        files: dict[str, list[Path]] = {}
        for path in self._folder.glob("*.*"):
            files.setdefault(path.name.partition(".")[0], []).append(path)
        for stem, paths in files.items():
            if not _is_recent(self._folder / f"{stem}.watched"):
                for path in paths:
                    path.unlink(missing_ok=True)

    def _path(self, station: str, suffix: str) -> Path:
        return self._folder / f"{hashlib.sha256(station.encode()).hexdigest()}.{suffix}"


def _is_recent(mark: Path) -> bool:
    """Whether a mark is of the last ten seconds. One of the future is not, or a clock that is set back would have
    frames sent and kept for as long as that, which nobody watches.
    """
    try:
        age = time.time() - mark.stat().st_mtime
    except FileNotFoundError:
        return False
    return -_CLOCKS_DIFFER_S < age < WATCHED_FOR_S


def _set_time(path: Path, age_s: float) -> None:
    """Set a file's time by this machine's clock: a file server may have another."""
    then = time.time() - age_s
    os.utime(path, (then, then))
