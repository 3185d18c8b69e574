"""`python -m service` is `touchstone serve`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexer.cli.process import run_process


def _loaded() -> Callable[[], Any]:
    import typer

    from service.cli.serve import serve

    return lambda: typer.run(serve)


if __name__ == "__main__":
    run_process(_loaded)
