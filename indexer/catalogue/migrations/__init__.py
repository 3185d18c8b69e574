"""Schema revisions: checks which one a database has, upgrades or downgrades it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

from indexer.domain.errors import SchemaMismatch

if TYPE_CHECKING:  # only a migration needs it: a command that opens the catalogue should not wait for its import
    from alembic.config import Config

NEEDED = "0021"  # the newest revision in migrations/versions


def is_empty(engine: Engine) -> bool:
    """Whether the database has no tables at all."""
    return not inspect(engine).get_table_names()


def check(engine: Engine) -> None:
    """Raise SchemaMismatch unless the database has exactly the schema of this version."""
    current = _revision(engine)
    if current == NEEDED:
        return
    _refuse_newer(current)
    raise SchemaMismatch(
        f"the catalogue has schema {current or 'none'} and this version needs {NEEDED}: run `touchstone migrate`"
    )


def revisions() -> tuple[str, ...]:
    """Every revision, oldest first."""
    from alembic.script import ScriptDirectory

    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())[::-1]


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to a revision, in one transaction. Raises SchemaMismatch when it is from the future."""
    current = _revision(engine)
    if current == NEEDED and revision == "head":
        return
    _refuse_newer(current)
    from alembic import command

    with engine.execution_options(immediate=True).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to a revision, in one transaction."""
    from alembic import command

    with engine.execution_options(immediate=True).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _revision(engine: Engine) -> str | None:
    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in revisions():
        raise SchemaMismatch(
            f"the catalogue has schema {revision}, from a newer version of Touchstone: run that version, "
            f"or restore the backup made before its `touchstone migrate`"
        )
