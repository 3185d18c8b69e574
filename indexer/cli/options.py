"""Options shared by commands; how a command prints or fails."""

from __future__ import annotations

import io
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from indexer.domain.bit_depth import BitDepth
    from indexer.settings import DataSettings

S = TypeVar("S", bound="DataSettings")


def named_folder(text: str) -> Path:
    """A folder of the command line: an empty name, such as of a variable that is not set, is not the current folder."""
    if not text:
        raise typer.BadParameter("the name of the folder is empty")
    return Path(text)


Data = Annotated[
    Path | None,
    typer.Option(parser=named_folder, metavar="PATH", help="Data folder [TOUCHSTONE_DATA; default: touchstone-data]."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="Catalogue's SQLAlchemy URL [TOUCHSTONE_DATABASE_URL; default: SQLite in the data folder]."),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        help="builtin, builtin-fine, filterbank, timm:MODEL, hub id, folder or checkpoint "
        "[TOUCHSTONE_ENCODER; default: builtin]."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Work on this Ray cluster: HOST:PORT of its head node, auto on one of its nodes, or local.",
    ),
]


def read_settings(kind: type[S], **options: object) -> S:
    """The settings; options of the command line override the environment. Exits with 2 and one line if invalid."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        return kind(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    except SettingsError as error:  # a secret's file that cannot be read
        fail(str(error.__cause__ or error))
    except ValidationError as error:
        first = error.errors()[0]
        name, *place = map(str, first["loc"])
        where = f" ({'.'.join(place)})" if place else ""
        fail(f"TOUCHSTONE_{name.upper()}{where}: {first['msg']}")


def printer() -> Console:
    """Standard output for tables and lines, without markup: 160 columns if it is not a terminal, never coloured."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file's name may contain characters that the terminal cannot show
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)


def at_most(bound: float) -> str:
    """A bound with four decimals, none of which makes it smaller."""
    return f"{math.ceil(bound * 1e4) / 1e4:.4f}"


def sign() -> None:
    """Make this command's user the actor of the audit trail."""
    from indexer.domain.actor import Actor, acting

    acting.set(Actor(f"command of user {os.getuid()}"))


def bit_depth_option(bits: int | None) -> BitDepth | None:
    """A bit depth from the command line. Exits with 2 and one line for an unsupported one."""
    from indexer.domain.bit_depth import BIT_DEPTHS

    depth = next((choice for choice in BIT_DEPTHS if choice == bits), None)
    if depth is None and bits is not None:
        fail(f"--bit-depth is one of {', '.join(map(str, BIT_DEPTHS))}, not {bits}")
    return depth


def fail(reason: str | Exception) -> NoReturn:
    """One line on standard error, and exit code 2."""
    print(f"touchstone: {' '.join(_described(reason).split())}", file=sys.stderr)
    raise typer.Exit(2)


def _described(reason: str | Exception) -> str:
    """One error, for a person: of the system's the file and what is wrong with it, of a database's its own words."""
    if isinstance(reason, OSError) and reason.strerror:
        files = " → ".join(os.fsdecode(name) for name in (reason.filename, reason.filename2) if name)
        return f"{files}: {reason.strerror}" if files else reason.strerror
    return str(getattr(reason, "orig", None) or reason)  # SQLAlchemy adds the statement and a link
