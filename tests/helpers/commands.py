"""Runs commands at the tests' small geometry: in this process, or in a separate one that can be killed."""

from __future__ import annotations

import os
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.references.reference_store import ReferenceStore
from service.cli.app import app
from tests.helpers.forked import ForkedProcess
from tests.helpers.new_catalogue import new_data_folder


def environment(data: Path, **more: str) -> dict[str, str]:
    settings = {"DATA": str(data), "RESIZE": "128", "CROP": "112", "DEVICE": "cpu", **more}
    return {**os.environ, "OMP_NUM_THREADS": "1", **{f"TOUCHSTONE_{name}": value for name, value in settings.items()}}


def touchstone(*arguments: str | Path, data: Path, sized: bool = True, **more: str) -> Result:
    """`touchstone …` to its end, in this process: starting one takes seconds. sized: False chooses no sizes."""
    variables: dict[str, str | None] = {**environment(data, **more)}
    if not sized:
        variables |= {"TOUCHSTONE_RESIZE": None, "TOUCHSTONE_CROP": None}
    return CliRunner().invoke(app, list(map(str, arguments)), env=variables)


def indexed(data: Path, parts: Path, **more: str) -> Path:
    """A data folder to which `touchstone index` has added all images of a folder."""
    new_data_folder(data)
    done = touchstone("index", parts, data=data, **more)
    assert done.exit_code == 0, done.output
    return data


def started(*arguments: str | Path, data: Path) -> ForkedProcess:
    """`touchstone …`, running."""
    return ForkedProcess(run_in, Path.cwd(), *map(str, arguments), environment=environment(data))


def run_in(folder: Path, *arguments: str) -> None:
    """`touchstone …` in a folder: what a process of its own is to do."""
    os.chdir(folder)
    app(arguments)


def small_encoder(crop: int = 112) -> Encoder:
    return load_encoder(EncoderSettings("filterbank", resize=128, crop=crop, device="cpu"))


def opened(data: Path, crop: int = 112, codec: str = "fp16") -> ReferenceStore:
    return ReferenceStore.open(data, small_encoder(crop).space, codec=codec)


def references(reference_store: ReferenceStore) -> dict[str, str]:
    """Category by file name, of every live reference; fails if an image is there twice."""
    page = reference_store.catalogue.references.page(limit=1000)
    assert page.next_cursor is None
    assert len({reference.image_sha256 for reference in page.items}) == len(page.items)
    return {reference.filename: reference.category for reference in page.items}
