"""One parallel-for for all kernels, on the threads that torch already has.

A kernel's units of work are divided among the threads, always in the same way: a thread finds in
its core's cache what it left there, such as its share of the weights at the last call. It takes
its units in chunks by an atomic counter; when it has done its own it takes from the others', so
that a thread whose core is busy with something else does fewer. The threads are those of the OpenMP
that torch loaded, so that kernels and torch's own operators never compete for cores; where torch
was built with another one, or with none, a pool of our own stands in. A process made by ``fork``
works on one thread, because the pool's threads did not survive the fork.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from deepseek.kernels.jit import compile_text
from deepseek.kernels.scoped import scoped
from deepseek.kernels.target import host

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from deepseek.kernels.jit import Kernel

__all__ = [
    "Launch", "fork_join_address", "listened", "listening", "region", "run", "threads",
    "worker_address", "worker_text",
]  # fmt: skip

_LINE = 64  # bytes of a cache line
_HEADER = struct.Struct("=qqqqq24x")  # units, chunk, task, parts, how a thread learns its number

_WORKER = """
target triple = "{triple}"

; Take chunks of units until none is left: first of the thread's own part, then of the others'.
define void @deepseek_worker(ptr %region) nounwind {{
entry:
  %chunk_at = getelementptr i64, ptr %region, i64 1
  %task_at = getelementptr i64, ptr %region, i64 2
  %parts_at = getelementptr i64, ptr %region, i64 3
  %numbering_at = getelementptr i64, ptr %region, i64 4
  %units = load i64, ptr %region, align 8
  %chunk = load i64, ptr %chunk_at, align 8
  %task = load ptr, ptr %task_at, align 8
  %parts = load i64, ptr %parts_at, align 8
  %numbering = load ptr, ptr %numbering_at, align 8
  %lines = add i64 %parts, 1
  %arguments = getelementptr [{line} x i8], ptr %region, i64 %lines
  %beyond = add i64 %units, %chunk
  %highest = sub i64 %beyond, 1
  %chunks = udiv i64 %highest, %chunk
  %numbered = icmp ne ptr %numbering, null
  br i1 %numbered, label %ask, label %begin
ask:
  %answer = call i32 %numbering()
  %number = zext i32 %answer to i64
  br label %begin
begin:
  %home = phi i64 [ 0, %entry ], [ %number, %ask ]
  br label %part
part:
  %visited = phi i64 [ 0, %begin ], [ %visited_next, %leave ]
  %unwrapped = add i64 %home, %visited
  %index = urem i64 %unwrapped, %parts
  %following = add i64 %index, 1
  %counter = getelementptr [{line} x i8], ptr %region, i64 %following
  %chunks_below = mul i64 %chunks, %index
  %first_chunk = udiv i64 %chunks_below, %parts
  %first = mul i64 %first_chunk, %chunk
  %chunks_within = mul i64 %chunks, %following
  %last_chunk = udiv i64 %chunks_within, %parts
  %last = mul i64 %last_chunk, %chunk
  %last_is_over = icmp sgt i64 %last, %units
  %limit = select i1 %last_is_over, i64 %units, i64 %last
  br label %take
take:
  %taken = atomicrmw add ptr %counter, i64 %chunk monotonic, align 8
  %unit = add i64 %first, %taken
  %some = icmp slt i64 %unit, %limit
  br i1 %some, label %work, label %leave
work:
  %unit_end = add i64 %unit, %chunk
  %end_is_over = icmp sgt i64 %unit_end, %limit
  %end = select i1 %end_is_over, i64 %limit, i64 %unit_end
  call void %task(ptr %arguments, i64 %unit, i64 %end)
  br label %take
leave:
  %visited_next = add i64 %visited, 1
  %more = icmp slt i64 %visited_next, %parts
  br i1 %more, label %part, label %done
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


def listening(listener: Callable[[Launch], None] | None) -> AbstractContextManager[None]:
    """Tell ``listener``, if any, of every launch of this thread within a with statement."""
    return scoped(_listeners, "listener", listener)


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
    content = region(kernel, arguments, units, chunk, team)
    _fork_join()(ctypes.create_string_buffer(content, len(content)), team)


def region(kernel: Kernel, arguments: bytes, units: int, chunk: int, parts: int) -> bytes:
    """What the threads of a run read: a header, a counter for each part of the units, arguments.

    Header and counters take a cache line each. There are as many parts as threads are expected.
    """
    header = _HEADER.pack(units, chunk, kernel.address, parts, _numbering_address())
    return header + bytes(_LINE * parts) + arguments


def _after_fork() -> None:
    global _forked  # noqa: PLW0603 - a fact about this process
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _worker() -> Kernel:
    """The code that every thread of a region runs, kept for as long as the process lives."""
    return compile_text("deepseek_worker", worker_text(), host())


def worker_text() -> str:
    """The IR of what every thread of a region runs."""
    return _WORKER.format(triple=host().triple, line=_LINE)


def worker_address() -> int:
    """Where the code begins that every thread of a region runs."""
    return _worker().address


@lru_cache(maxsize=1)
def fork_join_address() -> int | None:
    """A native function (worker, region, team, 0) that runs a region, where there is one."""
    return _gomp_address("GOMP_parallel")


@lru_cache(maxsize=1)
def _numbering_address() -> int:
    """A native function that tells a thread its number in its team; 0 where there is none."""
    return _gomp_address("omp_get_thread_num") or 0


def _gomp_address(function: str) -> int | None:
    library = _torch_gomp()
    if library is None:
        return None
    return ctypes.cast(getattr(ctypes.CDLL(str(library)), function), ctypes.c_void_p).value


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


@lru_cache(maxsize=1)
def _torch_gomp() -> Path | None:
    """The GNU OpenMP library that torch runs on, or None if it runs on something else."""
    maps = Path("/proc/self/maps")
    if "OpenMP" not in torch.__config__.parallel_info() or not maps.exists():
        return None
    lines = maps.read_text().splitlines()
    mapped = {Path(name) for name in {line.split()[-1] for line in lines if ".so" in line}}
    if any(path.name.startswith(("libiomp5", "libomp")) for path in mapped):
        return None
    gomp = sorted(path for path in mapped if path.name.startswith("libgomp"))
    own = [path for path in gomp if Path(torch.__file__).parent in path.parents]
    return next(iter(own or gomp), None)
