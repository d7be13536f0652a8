"""One parallel-for for all kernels, on the threads that torch already has.

A kernel's units of work are given out in chunks by an atomic counter: a thread whose core is busy
with something else takes fewer. The threads are those of the OpenMP that torch loaded, so that
kernels and torch's own operators never compete for cores; where torch was built with another one,
or with none, a pool of our own stands in. A process made by ``fork`` works on one thread, because
the pool's threads did not survive the fork.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from deepseek.kernels.jit import compile_text
from deepseek.kernels.target import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deepseek.kernels.jit import Kernel

__all__ = [
    "HEADER", "Launch", "fork_join_address", "listened", "listening", "run", "threads",
    "worker_address",
]  # fmt: skip

HEADER = struct.Struct("=qqqq32x")
"""What begins a region: next unit, units, chunk, task; one cache line. The arguments follow."""

_WORKER = """
target triple = "{triple}"

; Take chunks of a region's units until none is left.
define void @deepseek_worker(ptr %region) nounwind {{
entry:
  %units_at = getelementptr i64, ptr %region, i64 1
  %chunk_at = getelementptr i64, ptr %region, i64 2
  %task_at = getelementptr i64, ptr %region, i64 3
  %arguments = getelementptr i64, ptr %region, i64 8
  %units = load i64, ptr %units_at, align 8
  %chunk = load i64, ptr %chunk_at, align 8
  %task = load ptr, ptr %task_at, align 8
  br label %next
next:
  %begin = atomicrmw add ptr %region, i64 %chunk monotonic, align 8
  %some = icmp slt i64 %begin, %units
  br i1 %some, label %work, label %done
work:
  %full_end = add i64 %begin, %chunk
  %beyond = icmp sgt i64 %full_end, %units
  %end = select i1 %beyond, i64 %units, i64 %full_end
  call void %task(ptr %arguments, i64 %begin, i64 %end)
  br label %next
done:
  ret void
}}
"""

_forked = False
_listeners = threading.local()


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a kernel, as it was asked for.

    Attributes:
        kernel: A task function.
        arguments: Its packed arguments.
        units: Units of work.
        chunk: Units that a thread takes at a time.
        team: Threads that it ran on.
        failed: What the kernel sets where it finds a number that it cannot use.
    """

    kernel: Kernel
    arguments: bytes
    units: int
    chunk: int
    team: int
    failed: ctypes.c_byte | None


def threads() -> int:
    """How many threads a kernel may use now: torch's setting, or one after a fork."""
    return 1 if _forked else torch.get_num_threads()


@contextmanager
def listening(listener: Callable[[Launch], None]) -> Iterator[None]:
    """Tell ``listener`` of every launch of this thread within a with statement."""
    before = getattr(_listeners, "listener", None)
    _listeners.listener = listener
    try:
        yield
    finally:
        _listeners.listener = before


def listened() -> bool:
    """Whether launches of this thread are told to anybody."""
    return getattr(_listeners, "listener", None) is not None


def run(
    kernel: Kernel,
    arguments: bytes,
    units: int,
    chunk: int = 1,
    failed: ctypes.c_byte | None = None,
) -> None:
    """Run all units of a kernel and wait for them.

    Args:
        kernel: A task function.
        arguments: Its packed arguments. What they point to must stay alive during the call.
        units: How many units of work there are.
        chunk: How many a thread takes at a time; also, no thread is used for less.
        failed: What the kernel may set, if it has such an argument; the caller looks at it.
    """
    team = min(threads(), -(-units // chunk)) if units > chunk else 1
    listener = getattr(_listeners, "listener", None)
    if listener is not None:
        listener(Launch(kernel, arguments, units, chunk, team, failed))
    if team == 1:
        kernel.call(arguments, 0, units)
        return
    header = HEADER.pack(0, units, chunk, kernel.address)
    region = ctypes.create_string_buffer(header + arguments, len(header) + len(arguments))
    _fork_join()(region, team)


def _after_fork() -> None:
    global _forked  # noqa: PLW0603 - a fact about this process
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _worker() -> Kernel:
    """The code that every thread of a region runs, kept for as long as the process lives."""
    return compile_text("deepseek_worker", _WORKER.format(triple=host().triple), host())


def worker_address() -> int:
    """Where the code begins that every thread of a region runs."""
    return _worker().address


@lru_cache(maxsize=1)
def fork_join_address() -> int | None:
    """A native function (worker, region, team, 0) that runs a region, where there is one."""
    library = _torch_gomp()
    if library is None:
        return None
    start = ctypes.CDLL(str(library)).GOMP_parallel
    return ctypes.cast(start, ctypes.c_void_p).value


@lru_cache(maxsize=1)
def _fork_join() -> Callable[[Any, int], None]:
    """A function (region, team) that runs the worker on so many threads and waits."""
    address = _worker().address
    library = _torch_gomp()
    if library is None:
        return _own_pool(address)
    start = ctypes.CDLL(str(library)).GOMP_parallel
    start.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    start.restype = None

    def fork_join(region: Any, team: int) -> None:
        start(address, region, team, 0)

    return fork_join


def _own_pool(worker: int) -> Callable[[Any, int], None]:
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(worker)
    pool = ThreadPoolExecutor(max_workers=max(1, (os.cpu_count() or 1) - 1))

    def fork_join(region: Any, team: int) -> None:
        address = ctypes.addressof(region)
        others = [pool.submit(work, address) for _ in range(team - 1)]
        work(address)
        for other in others:
            other.result()

    return fork_join


def _torch_gomp() -> Path | None:
    """The GNU OpenMP library that torch runs on, or None if it runs on something else."""
    maps = Path("/proc/self/maps")
    if "OpenMP" not in torch.__config__.parallel_info() or not maps.exists():
        return None
    mapped = {Path(line.split()[-1]) for line in maps.read_text().splitlines() if ".so" in line}
    if any(path.name.startswith(("libiomp5", "libomp")) for path in mapped):
        return None
    gomp = sorted(path for path in mapped if path.name.startswith("libgomp"))
    own = [path for path in gomp if Path(torch.__file__).parent in path.parents]
    return next(iter(own or gomp), None)
