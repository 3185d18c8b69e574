"""`touchstone`, also as `python -m service.cli`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from indexer.cli.process import run_process


def main() -> NoReturn:
    """Run the command line as this process, and exit."""
    run_process(_loaded)


def _loaded() -> Callable[[], Any]:
    from service.cli.app import app

    return app


if __name__ == "__main__":
    main()
