"""Alembic's folder: how the schema came to be. Within a minor version migrations only add, so that old and new processes share one
schema while a service is upgraded."""
