"""Where the console's files are: under an address that their version is part of."""

from __future__ import annotations

import re

import httpx


def console_file(client: httpx.Client, name: str) -> str:
    """The path of one of the console's files, in the folder that its page names."""
    folder = re.search(r'src="(console/\w+)/main\.js"', client.get("/").raise_for_status().text)
    assert folder is not None
    return f"/{folder[1]}/{name}"
