"""Answers kept on disk under the hash of what they answer. Losing an entry, or the whole cache, costs time only."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onnxprune.drafts import draft

__all__ = ["Cache"]

DIGEST = hashlib.sha256().digest_size
ENTRY = ".entry"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cache:
    """Bytes by key in a folder of at most ``limit_bytes``, the least recently used leaving first; None keeps nothing.

    It never fails: a damaged entry counts as missing, and where nothing can be written nothing is kept. Several
    processes may share a folder.
    """

    folder: Path | None
    limit_bytes: int = 2 << 30

    @classmethod
    def default(cls) -> Cache:
        """The user's cache: ``$XDG_CACHE_HOME/onnxprune``, else ``~/.cache/onnxprune``."""
        try:
            root = Path(os.environ.get("XDG_CACHE_HOME", ""))
            return cls((root if root.is_absolute() else Path.home() / ".cache") / "onnxprune")
        except RuntimeError as error:  # no home
            log.info("no cache: %s", error)
            return cls(None)

    def get(self, key: str) -> bytes | None:
        """What was put under ``key``, None when it is missing or damaged."""
        if self.folder is None:
            return None
        path = _path(self.folder, key)
        try:
            held = path.read_bytes()
        except OSError:
            return None
        data = held[DIGEST:]
        if held[:DIGEST] != _seal(key, data):
            log.info("cache: entry %s is damaged and counts as missing", path.name)
            return None
        with suppress(OSError):
            os.utime(path)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key``, whole or not at all."""
        if self.folder is None or len(data) + DIGEST > self.limit_bytes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(_path(self.folder, key), _seal(key, data) + data)
            _shrink(self.folder, self.limit_bytes)
        except OSError as error:
            log.info("cache: nothing is kept in '%s': %s", self.folder, error)


def _path(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()}{ENTRY}"


def _seal(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + data).digest()


def _write(path: Path, data: bytes) -> None:
    with draft(path.parent) as place:
        whole = place / path.name
        whole.write_bytes(data)
        os.replace(whole, path)


def _shrink(folder: Path, limit: int) -> None:
    """Remove what was used longest ago until the rest fits."""
    ages = []
    for path in folder.iterdir():
        if path.suffix == ENTRY:
            with suppress(FileNotFoundError):  # another process was faster
                status = path.stat()
                ages.append((status.st_mtime_ns, status.st_size, path))
    excess = sum(size for _, size, _ in ages) - limit
    for _, size, path in sorted(ages):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
