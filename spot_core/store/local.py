"""Artifacts in a folder of this machine, or one that several machines share.

One writer per artifact key, across processes: a file lock that the kernel frees when its holder dies."""

import json
import logging
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spot_core.errors import ArtifactError
from spot_core.store.artifact import Artifact
from spot_core.store.backend import Found, Seal, Stored
from spot_core.store.manifest import (
    MANIFEST,
    Manifest,
    Recipe,
    VerifiedFiles,
    read_manifest,
    write_atomically,
    write_manifest,
)

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_REMIND_SECONDS = 30.0
LOCK, OWNER = ".lease.lock", ".lease.json"


class Reminder:
    """Says who is waited for: at once, and again every half minute."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = -_REMIND_SECONDS

    def waits_for(self, holder: str) -> None:
        if time.monotonic() - self._said > _REMIND_SECONDS:
            self._said = time.monotonic()
            log.info("%s is being made by another process (%s): waiting for it", self._what, holder)


@contextmanager
def lease(folder: Path, *, what: str) -> Iterator[None]:
    """Holds the right to write below ``folder``; waits, saying so, while another process holds it."""
    lock = FileLock(folder / LOCK)
    reminder = Reminder(what)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except FileNotFoundError:  # the holder has removed the folder
            continue
        except Timeout:
            reminder.waits_for(_owner_of(folder / OWNER))
    try:
        (folder / OWNER).write_text(json.dumps(this_process()), encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def try_lease(folder: Path) -> Iterator[bool]:
    """Holds the right to write below ``folder`` if nobody else does; says whether."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def this_process() -> dict[str, str | int]:
    """What others are told about who holds a lease."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def described(held: dict) -> str:
    """A holder, for people."""
    return f"pid {held.get('pid')} on {held.get('host')}"


def _owner_of(path: Path) -> str:
    """For people only: the file may be one holder behind."""
    try:
        return described(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return "unknown"


class LocalBackend:
    """A folder: completion is a rename, a lease is a file lock, and nothing needs to be carried anywhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = VerifiedFiles()

    def completed(self, stage: str, key: str, wanted: Callable[[int], bool]) -> Iterator[Found]:
        """See `Backend.completed`."""
        parent = self.root / stage / key
        if not parent.is_dir():
            return
        numbers = (int(p.name) for p in parent.iterdir() if p.name.isdecimal() and (p / MANIFEST).exists())
        for generation in sorted(filter(wanted, numbers), reverse=True):
            folder = parent / str(generation)
            try:
                manifest = read_manifest(folder)
            except ArtifactError as error:
                yield Found(generation, None, str(error))
                continue
            if manifest is None:  # set aside just now
                continue
            problem = self._damage(folder, manifest)
            yield Found(generation, None if problem else Artifact(folder, manifest), problem)

    def manifest(self, stage: str, key: str, generation: int) -> Manifest | None:
        """See `Backend.manifest`."""
        return read_manifest(self.root / stage / key / str(generation))

    def _damage(self, folder: Path, manifest: Manifest) -> str:
        for entry in [*manifest.parts, *manifest.files]:
            if not self._files.match(folder / entry.path, size=entry.bytes, sha256=entry.sha256):
                return f"{folder / entry.path} is missing or does not match its hash"
        return ""

    @contextmanager
    def lease(self, stage: str, key: str) -> Iterator["_LocalHeld"]:
        """See `Backend.lease`. The kernel frees it when its holder dies; one that is paused keeps it."""
        folder = self.root / stage / key
        with lease(folder, what=f"{stage}/{key}"):
            yield _LocalHeld(self.root, folder)

    @contextmanager
    def try_lease(self, stage: str, key: str, *, dead: Any = None) -> Iterator["_LocalHeld | None"]:
        """See `Backend.try_lease`."""
        assert dead is None, "the kernel has freed what a dead process held"
        folder = self.root / stage / key
        with try_lease(folder) as mine:
            yield _LocalHeld(self.root, folder) if mine else None

    def dead_holders(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """See `Backend.dead_holders`: the kernel frees what a dead process held."""
        return {}

    def read_document(self, name: str) -> str | None:
        """See `Backend.read_document`."""
        try:
            return (self.root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def update_document(self, name: str, change: Callable[[str | None], str]) -> str:
        """See `Backend.update_document`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            before = self.read_document(name)
            if (text := change(before)) != before:
                write_atomically(path, text)
        return text

    def write_document(self, name: str, text: str) -> None:
        """See `Backend.write_document`."""
        write_atomically(self.root / name, text)

    def runs(self) -> list[str]:
        """See `Backend.runs`."""
        records = sorted(
            self.root.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        return [path.parent.name for path in records]

    def publish(self, path: Path) -> None:
        """See `Backend.publish`: it is where everybody looks."""
        assert path.is_relative_to(self.root), f"{path} is not in the store"

    @contextmanager
    def shared_journals(self, folder: str) -> Iterator[Path]:
        """See `Backend.shared_journals`."""
        yield self.root / folder

    def inventory(self, folder: str = "") -> dict[str, Stored]:
        """See `Backend.inventory`."""
        files = {}
        for path in (self.root / folder).rglob("*"):
            try:
                status = path.lstat()
            except FileNotFoundError:  # somebody is at work
                continue
            if not stat.S_ISDIR(status.st_mode):
                files[path.relative_to(self.root).as_posix()] = Stored(status.st_size, status.st_mtime)
        return files

    def attempt(self, stage: str, key: str, generation: int) -> str | None:
        """See `Backend.attempt`: here is only one."""
        return None


class _LocalHeld:
    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder

    def set_aside(self, damaged: Found) -> str:
        folder = self._folder / str(damaged.generation)
        number = 0
        while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(aside)
        return aside.name

    @contextmanager
    def making(self, recipe: Recipe, generation: int) -> Iterator[tuple[Path, Seal]]:
        yield self._folder / str(generation), _seal

    def remove(self, names: list[str]) -> None:
        """Manifests go first, so that what is half removed is no artifact; empty folders go too."""
        for name in sorted(names, key=lambda name: not name.endswith(f"/{MANIFEST}")):
            path = self._root / name
            assert path.is_relative_to(self._folder), f"{path} is not below {self._folder}"
            path.unlink(missing_ok=True)
        for folder in sorted((p for p in self._folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        if {path.name for path in self._folder.iterdir()} <= {LOCK, OWNER}:
            shutil.rmtree(self._folder)


def _seal(folder: Path, manifest: Manifest) -> Manifest:
    write_manifest(folder, manifest)
    return manifest
