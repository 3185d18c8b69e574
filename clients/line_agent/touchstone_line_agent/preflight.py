"""Checks that the files and folders that a configuration names exist. Contacts no service and no gate."""

from __future__ import annotations

import os
from pathlib import Path

from touchstone_client.api_key import read_api_key
from touchstone_line_agent.config import Config, CsvSink, FolderSink, FolderSource, GenicamSource, Station, VideoSource


def missing_resources(config: Config) -> list[str]:
    """One line for each key, file or folder that is missing or unusable, beginning with the setting that names it."""
    errors = []
    if config.service.key_file is not None:
        try:
            read_api_key(config.service.key_file)
        except (OSError, ValueError) as error:
            errors.append(f"service.key_file: {_message(error)}")
    errors += _unwritable_file("queue.path", config.queue.path)
    for index, station in enumerate(config.station, start=1):
        errors += _missing_for_station(f"station[{index}]", station)
    return errors


def _missing_for_station(table: str, station: Station) -> list[str]:
    errors = []
    match station.source:
        case FolderSource(path=path, mount_point=mount_point):
            if mount_point is not None and not os.path.ismount(mount_point):
                errors.append(f"{table}.source.mount_point: nothing is mounted at {mount_point}")
            errors += _unlistable(f"{table}.source.path", path) or _unwritable(f"{table}.source.path", path)
        case VideoSource(path=path):
            errors += _unreadable(f"{table}.source.path", path)
        case GenicamSource(producer=path):
            errors += _unreadable(f"{table}.source.producer", path)
    for index, sink in enumerate(station.sink, start=1):
        match sink:
            case CsvSink(path=path):
                errors += _unwritable_file(f"{table}.sink[{index}].path", path)
            case FolderSink(path=path):
                errors += _unwritable(f"{table}.sink[{index}].path", path)
    return errors


def _unlistable(setting: str, path: Path) -> list[str]:
    try:
        os.scandir(path).close()
    except OSError as error:
        return [f"{setting}: {_message(error)}"]
    return []


def _unreadable(setting: str, path: Path) -> list[str]:
    try:
        path.open("rb").close()
    except OSError as error:
        return [f"{setting}: {_message(error)}"]
    return []


def _unwritable_file(setting: str, path: Path) -> list[str]:
    """An error if a file cannot be written, which need not exist yet."""
    if path.is_dir():
        return [f"{setting}: {path} is a folder: give the name of a file"]
    if path.exists() and not os.access(path, os.W_OK):
        return [f"{setting}: no permission to write {path}"]
    return _unwritable(setting, path.parent)


def _unwritable(setting: str, folder: Path) -> list[str]:
    """An error if no file can be written to a folder, which need not exist yet."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        return [f"{setting}: {existing} is not a folder"]
    return [] if os.access(existing, os.W_OK | os.X_OK) else [f"{setting}: no permission to write in {existing}"]


def _message(error: OSError | ValueError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
