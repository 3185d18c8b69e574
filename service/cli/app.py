"""The commands of `touchstone`, each of which has a module of its own."""

from __future__ import annotations

import typer

from indexer.cli.index import index
from service.cli import encoders, geometry, keys
from service.cli.backup import backup, restore, verify
from service.cli.condense import condense
from service.cli.evaluate import HELP, evaluate
from service.cli.export import export
from service.cli.migrate import migrate
from service.cli.prune import prune
from service.cli.rebuild import rebuild
from service.cli.serve import serve

app = typer.Typer(
    help="Touchstone detects defects in product images without training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(serve)
app.command()(export)
app.command()(index)
app.command()(rebuild)
app.command()(condense)
app.command()(migrate)
app.command()(prune)
app.command(help=HELP)(evaluate)
app.command()(backup)
app.command()(restore)
app.command()(verify)
app.add_typer(keys.app, name="keys")
app.add_typer(encoders.app, name="encoders")
app.add_typer(geometry.app, name="geometry")
