"""Artifacts in an object store, with work and copies in a scratch folder of this machine."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from spot_core.errors import ArtifactError
from spot_core.store.artifact import Artifact
from spot_core.store.backend import Found, Stored
from spot_core.store.local import lease, try_lease
from spot_core.store.manifest import FileEntry, Manifest
from spot_core.store.s3 import documents
from spot_core.store.s3.held import RemoteHeld
from spot_core.store.s3.layout import RemoteManifest, Shelf, parsed, tombstone
from spot_core.store.s3.lease import RemoteLease, Seen, without_life
from spot_core.store.s3.objects import Objects
from spot_core.store.s3.sync import Cache, JournalMirror, difference, identity_of

log = logging.getLogger(__name__)

_RUN = re.compile(r"runs/([^/]+)/run/\d+\.json")


class RemoteBackend:
    """An object store. See `remote.layout` for what lies where, and `backend.Backend` for what the methods do."""

    def __init__(self, location: str, root: Path, *, lease_seconds: float) -> None:
        self.root = root
        self._objects = Objects(location)
        self._lease_seconds = lease_seconds
        self._cache = Cache(self._objects, root)
        self._manifests: dict[tuple[str, str], RemoteManifest] = {}  # by name and tag: they never change
        self._looked_at: set[tuple[str, str]] = set()  # objects whose content was compared, by name and tag

    # --- reading ---------------------------------------------------------------------------------------------

    def completed(self, stage: str, key: str, wanted: Callable[[int], bool]) -> Iterator[Found]:
        """One listing, and for what is not known yet the manifest; contents only where the listing is suspicious."""
        folder = f"{stage}/{key}"
        shelf = Shelf(folder, self._objects.listing(folder))
        for generation in filter(wanted, shelf.generations()):
            if not shelf.complete(generation):
                continue
            revision = shelf.revision(generation)
            try:
                manifest = self._manifest(shelf, generation)
            except ArtifactError as error:
                yield Found(generation, None, str(error), revision)
                continue
            if manifest is None:  # removed just now
                continue
            problem = self._damage(shelf, generation, manifest)
            artifact = None if problem else self._artifact(shelf, generation, manifest)
            yield Found(generation, artifact, problem, revision)

    def manifest(self, stage: str, key: str, generation: int) -> RemoteManifest | None:
        shelf = Shelf(f"{stage}/{key}", self._objects.listing(f"{stage}/{key}"))
        return self._manifest(shelf, generation) if shelf.complete(generation) else None

    def _manifest(self, shelf: Shelf, generation: int) -> RemoteManifest | None:
        relative = shelf.manifest(generation)
        name = f"{shelf.folder}/{relative}"
        mark = (name, shelf.objects[relative].etag)
        if mark not in self._manifests:
            if (data := self._objects.read(name)) is None:
                return None
            self._manifests[mark] = parsed(data, name)
        return self._manifests[mark]

    def _damage(self, shelf: Shelf, generation: int, manifest: RemoteManifest) -> str:
        folder = self.root / shelf.folder / str(generation)
        for entry in manifest.entries:
            relative = f"{generation}/{manifest.attempt}/{entry.path}"
            if problem := difference(shelf.objects, relative, entry):
                return f"{shelf.folder}/{problem}"
            name, etag = f"{shelf.folder}/{relative}", shelf.objects[relative].etag
            if etag != manifest.etags.get(entry.path) and (name, etag) not in self._looked_at:
                log.info("%s was written again since it was completed: comparing its content", name)
                if problem := self._cache.download(folder, entry, name):
                    return problem
                self._looked_at.add((name, etag))
        return ""

    def _artifact(self, shelf: Shelf, generation: int, manifest: RemoteManifest) -> Artifact:
        folder = self.root / shelf.folder / str(generation)
        plain = Manifest.model_validate(manifest.model_dump(include=set(Manifest.model_fields)))
        return Artifact(folder, plain, fetch=partial(self._fetch, shelf, generation, manifest))

    def _fetch(
        self, shelf: Shelf, generation: int, manifest: RemoteManifest, entries: list[FileEntry]
    ) -> None:
        parent = f"{shelf.folder}/{generation}"
        problem = self._cache.fetch(
            self.root / parent, entries, lambda entry: f"{parent}/{manifest.attempt}/{entry.path}"
        )
        if problem:
            # said in the store, so that the next one who looks for the artifact makes it again
            self._objects.create(
                f"{shelf.folder}/{tombstone(generation, shelf.revision(generation))}", problem.encode()
            )
            raise ArtifactError(
                f"artifact {parent} is damaged ({problem}): run stage {manifest.stage!r} again"
            )

    # --- writing ---------------------------------------------------------------------------------------------

    def _new_lease(self, stage: str, key: str) -> RemoteLease:
        return RemoteLease(
            self._objects,
            f"{stage}/{key}/.lease",
            what=f"{stage}/{key}",
            scratch=identity_of(self.root),
            seconds=self._lease_seconds,
        )

    @contextmanager
    def lease(self, stage: str, key: str) -> Iterator[RemoteHeld]:
        """First the scratch folder's file lock, which the kernel frees, then the store's lease, which runs out."""
        with lease(self.root / stage / key, what=f"{stage}/{key}"):
            held = self._new_lease(stage, key)
            held.acquire()
            with self._releasing(held, stage, key) as mine:
                yield mine

    @contextmanager
    def try_lease(self, stage: str, key: str, *, dead: Seen | None = None) -> Iterator[RemoteHeld | None]:
        """Both without waiting."""
        with try_lease(self.root / stage / key) as mine:
            held = self._new_lease(stage, key)
            if not mine or not held.acquire(wait=False, dead=dead):
                yield None
                return
            with self._releasing(held, stage, key) as remote:
                yield remote

    @contextmanager
    def _releasing(self, held: RemoteLease, stage: str, key: str) -> Iterator[RemoteHeld]:
        try:
            yield RemoteHeld(self._objects, self.root, f"{stage}/{key}", held)
        finally:
            held.release()

    def dead_holders(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Seen]:
        return without_life({place: self._new_lease(*place) for place in places})

    # --- runs ------------------------------------------------------------------------------------------------

    def read_document(self, name: str) -> str | None:
        number, text = documents.read(self._objects, name)
        if number < 0 and (published := self._objects.read(name)) is not None:
            return published.decode(errors="replace")
        return text

    def update_document(self, name: str, change: Callable[[str | None], str]) -> str:
        return documents.update(self._objects, name, change)

    def write_document(self, name: str, text: str) -> None:
        self._objects.write(name, text.encode())

    def runs(self) -> list[str]:
        changed: dict[str, float] = {}
        for name, info in self._objects.listing("runs").items():
            if match := _RUN.fullmatch(name):
                changed[match[1]] = max(changed.get(match[1], 0.0), info.modified)
        return sorted(changed, key=changed.__getitem__, reverse=True)

    def publish(self, path: Path) -> None:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if not file.name.startswith("."):
                self._objects.upload(file, file.relative_to(self.root).as_posix())

    @contextmanager
    def shared_journals(self, folder: str) -> Iterator[Path]:
        mirror = JournalMirror(self._objects, self.root / folder, folder)
        mirror.restore()
        mirror.start()
        try:
            yield self.root / folder
        finally:
            mirror.stop()

    def inventory(self, folder: str = "") -> dict[str, Stored]:
        return {n: Stored(info.bytes, info.modified) for n, info in self._objects.listing(folder).items()}

    def attempt(self, stage: str, key: str, generation: int) -> str | None:
        manifest = self.manifest(stage, key, generation)
        return manifest.attempt if manifest else None
