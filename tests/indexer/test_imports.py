"""What an import loads: commands must start at once, and plain values must not bring SQL or torch along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from indexer import catalogue
from indexer.catalogue import migrations

_DOMAIN = sorted(Path(catalogue.__file__).parents[1].glob("domain/[a-z]*.py"))
HEAVY = {"ray", "torch", "cv2", "faiss", "transformers", "alembic", "numpy", "PIL"}


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running some code."""
    report = "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def loaded(code: str) -> set[str]:
    """The top-level packages of `modules_after`."""
    return {name.partition(".")[0] for name in modules_after(code)}


def rooms_after(code: str) -> set[str]:
    """The packages of `indexer` that are loaded after running some code."""
    return {name.split(".")[1] for name in modules_after(code) if name.startswith("indexer.")}


def test_the_catalogue_loads_neither_torch_nor_opencv() -> None:
    packages = loaded("from indexer.catalogue.catalogue import Catalogue")
    assert "sqlalchemy" in packages
    assert HEAVY & packages == set()


def test_listing_keys_loads_what_keys_need_only(tmp_path: Path) -> None:
    def modules_of(*command: str) -> set[str]:
        arguments = [*command, "--data", str(tmp_path)]
        return modules_after(f"from service.cli.app import app; app({arguments!r}, standalone_mode=False)")

    modules_of("migrate")
    modules = modules_of("keys", "list")
    assert "indexer.catalogue.api_keys" in modules
    assert not {"indexer.catalogue.tables", "indexer.catalogue.catalogue", "sqlalchemy.dialects.postgresql"} & modules
    packages = {name.partition(".")[0] for name in modules}
    assert (HEAVY | {"fastapi", "httpx", "psycopg", "rich"}) & packages == set()


def test_help_loads_no_settings_and_no_database() -> None:
    packages = loaded("from service.cli.app import app; app(['--help'], standalone_mode=False)")
    assert "typer" in packages
    assert (HEAVY | {"pydantic", "pydantic_settings", "sqlalchemy", "fastapi", "httpx"}) & packages == set()


def test_listing_published_encoders_loads_no_torch(tmp_path: Path) -> None:
    command = ["encoders", "--folder", str(tmp_path)]
    packages = loaded(f"from service.cli.app import app; app({command!r}, standalone_mode=False)")
    assert "huggingface_hub" in packages
    assert {"torch", "transformers", "cv2", "faiss", "sqlalchemy", "fastapi"} & packages == set()


@pytest.mark.parametrize("path", _DOMAIN, ids=lambda path: path.stem)
def test_domain_values_load_the_standard_library_only(path: Path) -> None:
    packages = loaded(f"import indexer.domain.{path.stem}")
    assert packages <= sys.stdlib_module_names | loaded("pass") | {"indexer"}


def test_the_domain_depends_on_nothing_and_the_catalogue_on_the_domain_only() -> None:
    names = ", ".join(f"indexer.domain.{path.stem}" for path in _DOMAIN)
    assert rooms_after(f"import {names}") == {"domain"}
    assert rooms_after("from indexer.catalogue.catalogue import Catalogue") == {"catalogue", "domain"}


def test_the_schema_that_is_needed_is_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.NEEDED == migrations.revisions()[-1]
