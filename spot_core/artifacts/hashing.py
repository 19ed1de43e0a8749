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
