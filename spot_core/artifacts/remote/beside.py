"""What lies beside the generations of an artifact: logs, and files that are exchanged with a person."""

import logging
import uuid
from pathlib import Path

from spot_core.artifacts.remote.objects import Objects
from spot_core.errors import ArtifactError, ConfigError

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
