"""What a file's settings name and is not there: keys, folders, files. Asks no service and no gate."""

from __future__ import annotations

import os
from pathlib import Path

from touchstone_client.api_key import read_api_key
from touchstone_line_agent.config import Config, CsvSink, FolderSink, FolderSource, GenicamSource, Station, VideoSource


def find_missing(config: Config) -> list[str]:
    """One line for each thing that is not there or cannot be used, naming where the file says so."""
    found = []
    if config.service.key_file is not None:
        try:
            read_api_key(config.service.key_file)
        except (OSError, ValueError) as error:
            found.append(f"service.key_file: {_told(error)}")
    found += _unwritable("queue.path", config.queue.path.parent)
    for number, station in enumerate(config.station, start=1):
        found += _missing_of(f"station[{number}]", station)
    return found


def _missing_of(where: str, station: Station) -> list[str]:
    found = []
    match station.source:
        case FolderSource(path=path, mounted_at=mounted_at):
            if mounted_at is not None and not os.path.ismount(mounted_at):
                found.append(f"{where}.source.mounted_at: nothing is mounted at {mounted_at}")
            found += _not_a_folder(f"{where}.source.path", path) or _unwritable(f"{where}.source.path", path)
        case VideoSource(path=path):
            found += _not_a_file(f"{where}.source.path", path)
        case GenicamSource(producer=path):
            found += _not_a_file(f"{where}.source.producer", path)
    for number, sink in enumerate(station.sink, start=1):
        match sink:
            case CsvSink(path=path):
                found += _unwritable(f"{where}.sink[{number}].path", path.parent)
            case FolderSink(path=path):
                found += _unwritable(f"{where}.sink[{number}].path", path)
    return found


def _not_a_folder(where: str, path: Path) -> list[str]:
    try:
        os.scandir(path).close()
    except OSError as error:
        return [f"{where}: {_told(error)}"]
    return []


def _not_a_file(where: str, path: Path) -> list[str]:
    try:
        path.open("rb").close()
    except OSError as error:
        return [f"{where}: {_told(error)}"]
    return []


def _unwritable(where: str, folder: Path) -> list[str]:
    """Whether something can be written into a folder, which may still have to be made."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        return [f"{where}: {there} is not a folder"]
    return [] if os.access(there, os.W_OK | os.X_OK) else [f"{where}: nothing can be written in {there}"]


def _told(error: OSError | ValueError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
