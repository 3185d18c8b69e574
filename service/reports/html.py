"""Lays a report out as one HTML page that needs no other file."""

from __future__ import annotations

import base64
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from service.reports.report import Report


def render_html(report: Report) -> bytes:
    """The page, with images in it; it can be printed."""
    return _template().render(report=report).encode()


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("service.reports", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["inline"] = _inline
    return environment.get_template("report.html.jinja")


def _inline(image: bytes) -> str:
    """A JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
