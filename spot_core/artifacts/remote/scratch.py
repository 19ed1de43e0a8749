"""Where a store that is no folder keeps its work on this machine."""

import hashlib
import os
import re
import uuid
from pathlib import Path

import platformdirs
from filelock import FileLock

from spot_core.artifacts.manifest import write_atomically

SCRATCH = "SPOT_SCRATCH"
"""Environment variable: folder for unfinished work and copies of artifacts, of every store that is no folder."""


def scratch_of(location: str) -> Path:
    """The scratch folder of a store: below ``SPOT_SCRATCH``, else in the user's cache."""
    base = os.environ.get(SCRATCH)
    parent = Path(base).expanduser() if base else platformdirs.user_cache_path("spot-pipeline") / "stores"
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", location).strip("-")[:60]
    return parent.resolve() / f"{readable}-{hashlib.sha256(location.encode()).hexdigest()[:8]}"


def identity_of(root: Path) -> str:
    """What tells this scratch folder from that of another machine; made up once."""
    path = root / ".scratch-id"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            # A process id is none: containers that share the folder all have a process 1.
            write_atomically(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")
