"""Puts a stage's page on the Artifacts page of the Prefect UI."""

from prefect.artifacts import create_markdown_artifact


def publish(key: str, markdown: str) -> None:
    """Shows ``markdown`` under ``key``; each run of a stage adds a version."""
    create_markdown_artifact(markdown, key=key)
