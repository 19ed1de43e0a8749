"""What the objects of one ``<stage>/<key>`` mean.

    <generation>/<attempt>/part-00000.parquet   each attempt to complete it uploads to a folder of its own
    <generation>/manifest.json                  names the attempt that counts; created once, never changed
    <generation>/manifest.damaged-0.json        says that the manifest before is not to be used
    <generation>/manifest.1.json                what was made again; and so on
    <generation>/.work/rows.jsonl/…             pieces of the journals of what is unfinished
    .lease/7.json                               who is at work, or was last; the highest number counts

Nothing that matters is overwritten or removed, so a writer that was paused for hours cannot spoil what others did.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

from pydantic import Field, ValidationError

from spot_core.errors import ArtifactError
from spot_core.store.manifest import FileEntry, Manifest
from spot_core.store.s3.objects import ObjectInfo, is_plain

LEASES, WORK = ".lease", ".work"
_GENERATION = re.compile(r"(\d+)/")
_TOMBSTONE = re.compile(r"(\d+)/manifest\.damaged-(\d+)\.json")


class RemoteManifest(Manifest):
    """A manifest, and where the files are that it names."""

    attempt: str = Field(pattern=r"^[0-9a-f]{12}$")
    etags: dict[str, str]
    """What the store called the content of each file; another one now is a reason to look at the content."""

    @property
    def entries(self) -> list[FileEntry]:
        return [*self.parts, *self.files]


def parsed(data: bytes, name: str) -> RemoteManifest:
    """A manifest that was read.

    Raises:
        ArtifactError: it is none.
    """
    try:
        manifest = RemoteManifest.model_validate_json(data)
    except ValidationError as error:
        raise ArtifactError(f"{name} is not a manifest: {error}") from error
    for entry in manifest.entries:
        if not is_plain(entry.path):
            raise ArtifactError(f"{name} is not a manifest: {entry.path!r} would lie outside of the artifact")
    return manifest


def tombstone(generation: int, revision: int) -> str:
    """Name of the object that says that a manifest is not to be used."""
    return f"{generation}/manifest.damaged-{revision}.json"


class Shelf:
    """A listing of one ``<stage>/<key>``."""

    def __init__(self, folder: str, objects: Mapping[str, ObjectInfo]) -> None:
        self.folder = folder
        self.objects = {name.removeprefix(f"{folder}/"): info for name, info in objects.items()}
        self._tombstones: defaultdict[int, set[int]] = defaultdict(set)
        for name in self.objects:
            if match := _TOMBSTONE.fullmatch(name):
                self._tombstones[int(match[1])].add(int(match[2]))

    def generations(self) -> list[int]:
        """Numbers of the generations of which there is anything, newest first."""
        found = {int(match[1]) for name in self.objects if (match := _GENERATION.match(name))}
        return sorted(found, reverse=True)

    def revision(self, generation: int) -> int:
        """How often this generation was found damaged."""
        number = 0
        while number in self._tombstones[generation]:
            number += 1
        return number

    def manifest(self, generation: int) -> str:
        """Name of the manifest that counts, or would, relative to the folder."""
        number = self.revision(generation)
        return f"{generation}/manifest.{number}.json" if number else f"{generation}/manifest.json"

    def complete(self, generation: int) -> bool:
        """Whether a manifest that counts is there."""
        return self.manifest(generation) in self.objects
