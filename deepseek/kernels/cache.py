"""Compiled kernels, and whatever else is made once, on disk, shared by all processes of one user.

An entry is one file: four bytes of magic, the SHA-256 of the content, the content. Object code is
run, so the directory must be the user's own and closed to everybody else; what does not
match its checksum is thrown away and built again. Files appear whole (written beside, then
renamed), so that any number of processes may read and write at once.
"""

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

__all__ = ["ObjectCache", "default_cache"]

_MAGIC = b"dsk1"
_DIGEST = 32
_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class ObjectCache:
    """Object files, or others, by key, in a private directory.

    Attributes:
        directory: Where the files are; made on the first write.
        limit: Total size in bytes beyond which the least recently used entries go.
    """

    directory: Path
    limit: int = _LIMIT

    def get(self, key: str) -> bytes | None:
        """The content stored under ``key``, or None if there is none that can be trusted."""
        path = self._path(key)
        try:
            if not self._is_private():
                return None
            content = path.read_bytes()
        except OSError:
            return None
        code = content[len(_MAGIC) + _DIGEST :]
        if content[: len(_MAGIC) + _DIGEST] != _MAGIC + sha256(code).digest():
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return code

    def put(self, key: str, code: bytes) -> bool:
        """Store content; False where the directory cannot be used, which is no error."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_private():
                return False
            handle, name = tempfile.mkstemp(dir=self.directory, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_MAGIC + sha256(code).digest() + code)
                Path(name).replace(self._path(key))
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            self._trim()
        except OSError:
            return False
        return True

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.o"

    def _is_private(self) -> bool:
        """Whether the directory is a real one, ours, and nobody else can write or read it."""
        status = self.directory.lstat()
        mine = status.st_uid == os.getuid()
        return stat.S_ISDIR(status.st_mode) and mine and not status.st_mode & 0o077

    def _trim(self) -> None:
        entries = []
        for path in self.directory.glob("*.o"):
            with suppress(OSError):  # another process may have removed it
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in entries) - self.limit
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            with suppress(OSError):
                path.unlink()
            excess -= size


def default_cache(kind: str = "kernels") -> ObjectCache:
    """The user's cache of a kind of things, a folder of its own.

    It lies in ``$DEEPSEEK_CACHE``, else in ``deepseek`` in the XDG cache directory.
    """
    chosen = os.environ.get("DEEPSEEK_CACHE")
    if chosen:
        return ObjectCache(Path(chosen) / kind)
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path("~/.cache").expanduser()
    return ObjectCache(root / "deepseek" / kind)
