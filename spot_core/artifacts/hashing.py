"""Content hashes of files and folders."""

import hashlib
from pathlib import Path


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
