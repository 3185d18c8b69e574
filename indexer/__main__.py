"""`python -m indexer` is `touchstone index`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexer.cli.process import run_process


def _loaded() -> Callable[[], Any]:
    import typer

    from indexer.cli.index import index

    return lambda: typer.run(index)


if __name__ == "__main__":
    run_process(_loaded)
