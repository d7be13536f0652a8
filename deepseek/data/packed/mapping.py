"""Files as memory: pages come in when they are touched, and writes never reach the file."""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from deepseek.data.packed.layout import HEADER_BYTES, Header
from deepseek.errors import InputError

__all__ = ["Advice", "advise", "map_shard", "read_header"]

Advice = Literal["normal", "random", "sequential", "willneed", "dontneed"]

# Not in Python's mmap before 3.13. Without it Linux refuses to map a file larger than memory.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_HINTS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or pack with a larger --shard_size",
    errno.ENOMEM: "the system does not lend out memory in advance; see vm.overcommit_memory",
}


def read_header(path: Path) -> Header:
    """The header of a shard.

    Raises:
        InputError: The file cannot be read, or is no sound shard.
    """
    with _opened(path) as handle:
        return _header(path, handle)


def map_shard(path: Path) -> tuple[Header, mmap.mmap]:
    """Map a shard after checking its header; of the file only that page is read.

    The mapping is private: memory that is written to is copied first, by the page, so a tensor
    over it may be written to like any other while the file never changes. Pages that nobody
    writes to are shared by all processes that map the file.

    Raises:
        InputError: The file cannot be read or mapped, or is no sound shard.
    """
    with _opened(path) as handle:
        header = _header(path, handle)
        flags = mmap.MAP_PRIVATE | _NORESERVE
        memory = mmap.mmap(handle, header.file_bytes, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        return header, memory


def advise(memory: mmap.mmap, advice: Advice) -> None:
    """Tell the kernel how a mapping will be used, where it listens to such hints.

    Raises:
        InputError: There is no such advice.
    """
    if advice not in get_args(Advice):
        raise InputError(f"expected advice {', '.join(get_args(Advice))}, got {advice!r}")
    option = getattr(mmap, f"MADV_{advice.upper()}", None)
    if option is not None:
        memory.madvise(option)


def _header(path: Path, handle: int) -> Header:
    return Header.from_bytes(os.pread(handle, HEADER_BYTES, 0), path, os.fstat(handle).st_size)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield handle
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(
            f"{path}: expected a packed file, cannot open it: {error.strerror}",
            hint=_HINTS.get(error.errno or 0),
        ) from error
