"""Objects in a cache as DVC lays it out."""

import hashlib
from pathlib import Path


def sha256(content: bytes) -> str:
    """Return the digest of an archive."""
    return hashlib.sha256(content).hexdigest()


def put_object(root: Path, content: bytes, end: str = "") -> str:
    """Put content into DVC's cache and return its md5; a folder's ends in `.dir`."""
    md5 = hashlib.md5(content).hexdigest() + end
    path = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def is_cached(root: Path, content: bytes, end: str = "") -> bool:
    """Return whether DVC's cache has that content."""
    md5 = hashlib.md5(content).hexdigest() + end
    return (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).is_file()
