"""What the holder of a lease may do in an object store: complete an artifact, set one aside, remove one, and keep files
beside its generations (logs, and files that are exchanged with a person).
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from spot_core.errors import ArtifactError, ConfigError
from spot_core.store.backend import Found, Seal
from spot_core.store.manifest import Manifest, Recipe, write_atomically
from spot_core.store.s3.layout import LEASES, WORK, RemoteManifest, Shelf, parsed, tombstone
from spot_core.store.s3.lease import LeaseLostError, RemoteLease
from spot_core.store.s3.objects import Objects
from spot_core.store.s3.sync import JournalMirror, upload

log = logging.getLogger(__name__)

_EXCHANGED = "review"
_SHOWN = ("logs", _EXCHANGED)


class Beside:
    """Brings what a person has put into the store to this machine, and gives what was written here to everybody.

    Args:
        objects: the store.
        root: scratch folder of this machine.
        folder: ``<stage>/<key>``.
    """

    def __init__(self, objects: Objects, root: Path, folder: str) -> None:
        self._objects, self._root, self._folder = objects, root, folder
        self._known: set[str] = set()

    def pull(self) -> None:
        """Downloads what is to be exchanged and is not here; a file that is here counts more."""
        for name in self._objects.listing(f"{self._folder}/{_EXCHANGED}"):
            path = self._root / name
            if path.exists():
                self._known.add(name)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.half")
            if self._objects.download(name, half):
                half.replace(path)
                self._known.add(name)

    def push(self) -> None:
        """Uploads everything; what was here and in the store and is not here any more was used up, and is removed there."""
        try:
            for folder in _SHOWN:
                for path in sorted((self._root / self._folder / folder).rglob("*")):
                    if path.is_file() and not path.name.startswith("."):
                        self._objects.upload(path, path.relative_to(self._root).as_posix())
            self._objects.remove(name for name in self._known if not (self._root / name).exists())
        except (ArtifactError, ConfigError) as error:  # it is no part of the artifact
            log.warning("logs of %s stay on this machine: %s", self._folder, error)


class RemoteHeld:
    """The lease on one ``<stage>/<key>``, held."""

    def __init__(self, objects: Objects, root: Path, folder: str, lease: RemoteLease) -> None:
        self._objects, self._root, self._folder, self._lease = objects, root, folder, lease
        self._unfinished = True  # what is there is kept for a later holder to go on with

    def _shelf(self) -> Shelf:
        return Shelf(self._folder, self._objects.listing(self._folder))

    def set_aside(self, damaged: Found) -> str:
        """The files stay where they are; what says that they do not count is created, by whoever is first."""
        parent = f"{self._folder}/{damaged.generation}"
        name = tombstone(damaged.generation, damaged.revision)
        self._objects.create(f"{self._folder}/{name}", f"{parent}: {damaged.problem}".encode())
        return name

    @contextmanager
    def making(self, recipe: Recipe, generation: int) -> Iterator[tuple[Path, Seal]]:
        """Journals that another machine has begun are restored, and what is added is copied to the store."""
        folder, remote = self._root / self._folder / str(generation), f"{self._folder}/{generation}/{WORK}"
        mirror = JournalMirror(
            self._objects,
            folder / WORK,
            remote,
            lease=self._lease.number,
            lost=lambda: self._lease.lost,
        )
        if folder.exists() and not (folder / WORK).exists():
            shutil.rmtree(folder)  # copies of what was set aside
        beside = Beside(self._objects, self._root, self._folder)
        beside.pull()
        mirror.restore(grown_elsewhere=True)
        mirror.start()
        try:
            yield folder, partial(self._seal, generation)
        finally:
            mirror.stop(discard=not self._unfinished)
            beside.push()

    def _seal(self, generation: int, folder: Path, manifest: Manifest) -> Manifest:
        parent = f"{self._folder}/{generation}"
        attempt = _attempt(folder / WORK, self._shelf().revision(generation))
        try:
            self._lease.check()
            entries = [*manifest.parts, *manifest.files]
            etags = upload(
                self._objects,
                folder,
                entries,
                f"{parent}/{attempt}",
                record=folder / WORK / f"uploaded-{attempt}",
            )
            self._lease.check()
        except LeaseLostError:
            if (others := self._completed(generation)) is None:
                raise
            return self._adopt(generation, folder, attempt, others)
        sealed = RemoteManifest(**manifest.model_dump(), attempt=attempt, etags=etags)
        document = (sealed.model_dump_json(indent=1) + "\n").encode()
        while not self._objects.create(f"{self._folder}/{self._shelf().manifest(generation)}", document):
            if (others := self._completed(generation)) is not None:
                return self._adopt(generation, folder, attempt, others)
        self._unfinished = False
        return manifest

    def _completed(self, generation: int) -> RemoteManifest | None:
        name = f"{self._folder}/{self._shelf().manifest(generation)}"
        data = self._objects.read(name)
        return None if data is None else parsed(data, name)

    def _adopt(self, generation: int, folder: Path, attempt: str, others: RemoteManifest) -> Manifest:
        """Drops this process's own work for what was completed meanwhile."""
        log.warning(
            "%s/%d was completed by another process while this one was paused or cut off: its artifact is used, and the "
            "one made here is dropped",
            self._folder,
            generation,
        )
        self._objects.remove(self._objects.listing(f"{self._folder}/{generation}/{attempt}"))
        for path in folder.iterdir():
            if path.name != WORK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._unfinished = False
        return Manifest.model_validate(others.model_dump(include=set(Manifest.model_fields)))

    def remove(self, names: list[str]) -> None:
        """Manifests go first; the copies on this machine go too.

        Raises:
            LeaseLostError: this process was paused for too long, and somebody else is at work here.
        """
        self._lease.check()
        assert all(name.startswith(f"{self._folder}/") for name in names), names
        manifests = [name for name in names if "/manifest" in name]
        self._objects.remove(manifests)
        self._objects.remove(name for name in names if name not in set(manifests))
        left = {name for name in self._shelf().objects if not name.startswith(f"{LEASES}/")}
        for generation in {name.split("/")[2] for name in names}:
            if not any(name.startswith(f"{generation}/") for name in left):
                shutil.rmtree(self._root / self._folder / generation, ignore_errors=True)
        if not left:
            shutil.rmtree(self._root / self._folder)


def _attempt(work: Path, revision: int) -> str:
    """Name of the folder that this attempt uploads to; one that was killed goes on with the same.

    But not once what it completed was found damaged: what lies there is not to be trusted.
    """
    path = work / f"attempt-{revision}"
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex[:12])
    return path.read_text(encoding="utf-8")
