"""Options of a category's geometry, the same for every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import fail

if TYPE_CHECKING:
    from indexer.domain.geometry_choice import GeometryChoice

Cells = Annotated[
    int | None, typer.Option(help="Inspect the whole image, on a grid of at most this many cells.", show_default=False)
]
SmallestDefect = Annotated[
    float | None,
    typer.Option(
        help="Inspect the whole image, with cells twice as long as a defect of this many pixels (or mm, see below).",
        show_default=False,
    ),
]
MillimetresPerPixel = Annotated[
    float | None, typer.Option(help="Size of a pixel; --smallest-defect is then in mm.", show_default=False)
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT", help="Inspect the whole image, scaled to this many pixels.", show_default=False
    ),
]
Resized = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT", help="Scale to this many pixels and inspect --window of it.", show_default=False
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="LEFT,TOP,WIDTH,HEIGHT", help="The inspected part, in pixels after --resized.", show_default=False
    ),
]
OnMismatch = Annotated[
    str | None,
    typer.Option(
        help="Images with another aspect ratio: letterbox, refuse or stretch (default: letterbox).", show_default=False
    ),
]


def geometry_choice(
    cells: int | None,
    smallest_defect: float | None,
    millimetres_per_pixel: float | None,
    size: str | None,
    resized: str | None,
    window: str | None,
    on_mismatch: str | None,
) -> GeometryChoice:
    """The geometry that the options describe. Exits with 2 and one line if they contradict each other."""
    from typing import get_args

    from indexer.domain.errors import GeometryError
    from indexer.domain.geometry import OnMismatch as Choices
    from indexer.domain.geometry_choice import GeometryChoice

    chosen = next((choice for choice in get_args(Choices) if choice == on_mismatch), None)
    if on_mismatch is not None and chosen is None:
        fail(f"--on-mismatch is one of {', '.join(get_args(Choices))}, not {on_mismatch}")
    try:
        return GeometryChoice(
            cells=cells,
            smallest_defect=smallest_defect,
            millimetres_per_pixel=millimetres_per_pixel,
            size=None if size is None else pixels("--size", size),
            resized=None if resized is None else pixels("--resized", resized),
            window=None if window is None else _window(window),
            on_mismatch=chosen,
        )
    except GeometryError as error:
        fail(error)


def pixels(option: str, text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT. Exits with 2 and one line for anything else."""
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip())
    if match is None:
        fail(f"{option} is WIDTHxHEIGHT in pixels, such as 1024x576, not {text!r}")
    return int(match[1]), int(match[2])


def _window(text: str) -> tuple[int, int, int, int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        fail(f"--window is LEFT,TOP,WIDTH,HEIGHT in pixels, such as 32,32,448,448, not {text!r}")
    left, top, width, height = (int(part) for part in parts)
    return left, top, width, height
