"""Folder names that every file system accepts, a different one for each name of a category or a defect class."""

from __future__ import annotations

import re

_FORBIDDEN = re.compile(r'[<>:"/\\|?*%\x00-\x1f\x7f]|^[. ]|[. ]$')  # Windows' rules; % begins an escape
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # not names of files on Windows
_MAX_CHARACTERS = 100
_MAX_BYTES = 200


class FolderNames:
    """Gives names folders of their own, also where capitals make no difference. reserved: folder names with a meaning.

    What a file system refuses is written as %XX, as in URLs; a name that another one would share gets underscores.
    """

    def __init__(self, *reserved: str) -> None:
        self._used = {name.casefold() for name in reserved}
        self._folders: dict[str, str] = {}

    def folder_of(self, name: str) -> str:
        """The folder of a name: always the same one."""
        if name not in self._folders:
            folder = _escape(name)
            while folder.casefold() in self._used:
                folder += "_"
            self._used.add(folder.casefold())
            self._folders[name] = folder
        return self._folders[name]


def _escape(name: str) -> str:
    escaped = _FORBIDDEN.sub(lambda character: f"%{ord(character[0]):02X}", name)
    if _DEVICES.match(escaped):
        escaped = f"%{ord(escaped[0]):02X}{escaped[1:]}"
    return escaped[:_MAX_CHARACTERS].encode()[:_MAX_BYTES].decode(errors="ignore").rstrip(". ")
