"""`python -m service.cli` is `touchstone`."""

from service.cli import app

app()
