"""What Alembic runs: the migrations, on the connection that ``migrate.upgrade`` hands over."""

from alembic import context

from perpdesk.adapters.sqlstore.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
