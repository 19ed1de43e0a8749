"""manifest.json: written last, it makes a folder an artifact."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from spot_core.artifacts.hashing import combined_sha256, file_sha256
from spot_core.artifacts.recipe import Recipe
from spot_core.errors import ArtifactError

MANIFEST = "manifest.json"


def _inside(path: str) -> str:
    """Returns ``path`` if it stays below the folder that it is relative to, on any system."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} is no path of a file within the artifact")
    return path


class FileEntry(BaseModel):
    """One file of an artifact. ``rows`` is None for what is not a Parquet file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(_inside)]
    bytes: int
    sha256: str
    rows: int | None = None


class Manifest(BaseModel):
    """Names everything that went into an artifact and every file that came out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    key: str
    generation: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    code_version: int
    digest: str
    rows: int
    parts: list[FileEntry]
    files: list[FileEntry]
    schema_version: int
    packages: dict[str, str]
    created: str
    seconds: float
    statistics: dict[str, Any]

    @staticmethod
    def digest_of(parts: list[FileEntry], files: list[FileEntry]) -> str:
        """Content digest of an artifact: it depends on the files' names and bytes alone."""
        return combined_sha256({entry.path: entry.sha256 for entry in [*parts, *files]})

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.stage, self.settings, self.inputs, self.code_version)


def entry_for(folder: Path, path: Path, *, rows: int | None = None) -> FileEntry:
    """Describes a file below ``folder``."""
    return FileEntry(
        path=path.relative_to(folder).as_posix(),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        rows=rows,
    )


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder, or None where there is none.

    Raises:
        ArtifactError: the file is there but is no manifest.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{folder / MANIFEST} is not a manifest: {error}") from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; what stands there then takes the place of ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a file under a temporary name, flushes it to the disk, and renames it."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Seals a folder."""
    document = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True)
    write_atomically(folder / MANIFEST, document + "\n")
