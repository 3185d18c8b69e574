"""`touchstone serve`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, EncoderName, Ray, fail, named_folder, read_settings

if TYPE_CHECKING:
    from service.settings import Settings


def serve(
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [TOUCHSTONE_HOST; default: 127.0.0.1].")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [TOUCHSTONE_PORT; default: 8000].")] = None,
    encoder: EncoderName = None,
    database_url: DatabaseUrl = None,
    open_access: Annotated[
        bool, typer.Option("--open", help="Require no API keys; on a loopback address only [TOUCHSTONE_ACCESS=open].")
    ] = False,
    exported: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FOLDER|s3://BUCKET/PREFIX",
            help="What `touchstone export` wrote, in place of --data; with --read-only.",
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            parser=named_folder,
            metavar="PATH",
            help="Folder on this machine for a copy of the export in a bucket, renewed at each start.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Detect only: record and change nothing [TOUCHSTONE_READ_ONLY].")
    ] = False,
    ray: Ray = None,
) -> None:
    """Start the HTTP service. All other settings are environment variables: see docs/settings.md.

    With --ray, replicas on the nodes of a Ray cluster encode and search, and this process does everything else, with
    the same answers. Data folder, database and encoder must have the same paths on every node: see docs/scale.md.

    With --from s3://…, files that the copy lacks are fetched first; if that fails, a complete copy is served as it is.

    Example:  touchstone serve --open --data my-factory
    """
    with _no_garbage_collections():
        from service.settings import Settings

        settings = read_settings(
            Settings,
            data=data,
            host=host,
            port=port,
            encoder=encoder,
            database_url=database_url,
            access="open" if open_access else None,
            read_only=read_only or None,
        )
        # torch and FastAPI take seconds to import; --help should not.
        from indexer.domain.errors import (
            CatalogueError,
            ClusterError,
            EncoderError,
            FeatureSpaceMismatch,
            ObjectStorageError,
        )
        from indexer.jobs.exported_folder import ExportError
        from service.auth.identity_provider import SignInUnavailable
        from service.observability.tracing import TracingUnavailable
        from service.server import serve as run

        if copy is not None and exported is None:
            fail("--copy needs --from s3://BUCKET/PREFIX")
        try:
            if ray is not None:
                if exported is not None:
                    fail("--ray needs a data folder that every node can open: not --from")
                try:
                    from service.ray_serving.front import ray_backend
                except ImportError:
                    fail("--ray needs Ray Serve: pip install 'touchstone[ray-serve]'")
                with ray_backend(settings, ray) as backend:
                    # Codes are searched on the cluster: here they are read by background work only, page by page.
                    run(settings.model_copy(update={"mmap_codes": settings.mmap_codes is not False}), backend)
                return
            if exported is None:
                run(settings)
                return
            if data is not None or database_url is not None:
                fail("--from stands in place of --data and --database-url")
            if not settings.read_only:
                fail("an exported folder is served only as it is: add --read-only")
            with _exported_folder(exported, copy) as folder, _of_export(folder, settings) as ready:
                run(ready)
        except (
            ClusterError,
            EncoderError,
            ExportError,
            FeatureSpaceMismatch,
            CatalogueError,
            ObjectStorageError,
            SignInUnavailable,
            TracingUnavailable,
            OSError,
        ) as error:
            fail(error)


@contextmanager
def _no_garbage_collections() -> Iterator[None]:
    """Until `service.server` enables them: they take nearly half a second, and find hardly anything among what is
    imported and built until then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _exported_folder(exported: str, copy: Path | None) -> Iterator[Path]:
    """The verified folder of an export."""
    from indexer.s3 import location_of

    location = location_of(exported)
    if isinstance(location, Path):
        from indexer.jobs.exported_folder import Manifest, verify

        if copy is not None:
            fail(f"{exported} is a folder, which is served as it is: not --copy")
        verify(location, Manifest.read(location))
        yield location
        return
    if copy is None:
        fail(f"{exported} is served from a copy on this machine: add --copy FOLDER")
    from indexer.jobs.exported_copy import copied_export
    from indexer.progress import progress

    with ExitStack() as stack:
        with progress() as shown:
            folder = stack.enter_context(copied_export(location, copy, shown.task("files").reach))
        yield folder


@contextmanager
def _of_export(folder: Path, settings: Settings) -> Iterator[Settings]:
    """Settings that serve an export; the command line and the environment override the manifest."""
    from indexer.jobs.exported_folder import ENCODER, Manifest, data_folder_of

    used = Manifest.read(folder).encoder
    model = str(folder / used.model) if used.model.startswith(f"{ENCODER}/") else used.model
    chosen = {"encoder": model, "layers": used.layers, "dtype": used.dtype, "runtime": used.runtime}
    with data_folder_of(folder) as data:
        lacking = {name: value for name, value in chosen.items() if name not in settings.model_fields_set}
        yield settings.model_copy(update={**lacking, "data": data, "database_url": None})
