"""`python -m service` is `touchstone serve`."""

from service.cli.serve import serve

if __name__ == "__main__":
    import typer

    typer.run(serve)
