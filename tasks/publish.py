"""Puts a stage's page, or its figures as a table, on the Artifacts page of the Prefect UI."""

from collections.abc import Iterable, Mapping
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact


def publish(key: str, markdown: str, *, description: str | None = None) -> None:
    """Shows ``markdown`` under ``key``; each run of a stage adds a version. May be called inside an event loop."""
    create_markdown_artifact(markdown, key=key, description=description, _sync=True)


def publish_table(key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Shows rows as a table of its own under ``key``."""
    create_table_artifact([dict(row) for row in rows], key=key)
