"""Runs revisions on the connection that `indexer.catalogue.migrations` hands over."""

from alembic import context

from indexer.catalogue.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite can, Alembic does not assume it: a killed migration leaves nothing
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
