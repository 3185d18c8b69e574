"""`python -m indexer` is `touchstone index`."""

import typer

from indexer.cli.index import index

if __name__ == "__main__":
    typer.run(index)
