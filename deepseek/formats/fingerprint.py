"""What identifies the files a conversion started from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek.progress import Progress, silent

__all__ = ["Fingerprint", "fingerprints"]

_BLOCK = 2**22
_MEGABYTE = 10**6


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """A file and its content.

    Attributes:
        path: Where it lies.
        bytes: Its size.
        sha256: The hash of its content, hexadecimal.
    """

    path: Path
    bytes: int
    sha256: str


def fingerprints(paths: Sequence[Path], progress: Progress = silent) -> tuple[Fingerprint, ...]:
    """Hash files, block by block.

    Args:
        paths: The files.
        progress: Told about every block, in megabytes.
    """
    total = sum(path.stat().st_size for path in paths)
    found: list[Fingerprint] = []
    done = 0
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                progress("hashing the source, MB", done // _MEGABYTE, total // _MEGABYTE)
        size = path.stat().st_size
        found.append(Fingerprint(path=path, bytes=size, sha256=digest.hexdigest()))
    return tuple(found)
