"""Parses multipart bodies: names, values as bytes, file names in `filename` or `filename*`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser

# RFC 8187's `filename*=UTF-8''na%C3%AFve.png`. RFC 7578 does not want it here, so parsers pass over it; clients send it
# all the same, beside a `filename` that is encoded in a way of its own (.NET), or alone.
_EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?(utf-8|iso-8859-1)'[^']*'([^\s;\"]*)\"?", re.IGNORECASE)


class Body:
    """The items of a multipart body, in order, in memory; to be closed, so that it is given back.

    starlette.formparsers.MultiPartException for a body that cannot be read or holds too much.
    """

    def __init__(self, items: list[tuple[str, UploadFile | str]]) -> None:
        self._items = items

    @classmethod
    async def read(cls, request: Request, max_files: int, max_fields: int) -> Body:
        """Parse what the request brings."""
        parser = _Parser(request.headers, request.stream(), max_files=max_files, max_fields=max_fields)
        return cls((await parser.parse()).multi_items())

    def items(self) -> Iterator[tuple[bytes, UploadFile | bytes]]:
        """Name and value of each: a file, or text as it was sent."""
        for name, value in self._items:
            yield name.encode("latin-1"), value if isinstance(value, UploadFile) else value.encode("latin-1")

    async def close(self) -> None:
        """Close the files."""
        for _, value in self._items:
            if isinstance(value, UploadFile):
                await value.close()


def filename(file: UploadFile) -> bytes:
    """The name of a file of a body, as it was sent; empty when it has none."""
    return (file.filename or "").encode("latin-1")


class _Parser(MultiPartParser):
    spool_max_size = 0  # never to the disk: a full temporary folder must not stop detection

    def on_headers_finished(self) -> None:
        self._charset = "latin-1"  # any bytes become characters and can be had back, so that nothing is guessed here
        disposition = self._current_part.content_disposition or b""
        if (extended := _EXTENDED.search(disposition)) is not None:
            name = unquote_to_bytes(extended[2])
            if extended[1].lower() == b"iso-8859-1":
                name = name.decode("latin-1").encode()
            quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            self._current_part.content_disposition = b'%s; filename="%s"' % (_EXTENDED.sub(b"", disposition), quoted)
        super().on_headers_finished()
