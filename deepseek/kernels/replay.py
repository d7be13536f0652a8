"""Starts many kernels by one native call.

A sequence of launches is laid out in memory as the regions that :mod:`.parallel` gives to its
threads. One function walks over them: it sets each region's counters back, and runs the region on a
team of torch's threads, or at once where one thread is enough.
"""

from __future__ import annotations

import ctypes
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from deepseek.kernels import parallel
from deepseek.kernels.jit import compile_text
from deepseek.kernels.target import host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.kernels.jit import Kernel
    from deepseek.kernels.parallel import Launch

__all__ = ["Replay"]

_LINE = 64
_HEAD = struct.Struct("=qqq40x")  # most threads, worker, fork-join; one cache line
_ENTRY = struct.Struct("=qq")  # region, team

_REPLAY = """
target triple = "{triple}"

; Run the launches of a table from one number to another.
define void @deepseek_replay(ptr %table, i64 %begin, i64 %end) nounwind {{
entry:
  %most = load i64, ptr %table, align 8
  %worker_at = getelementptr i64, ptr %table, i64 1
  %worker = load ptr, ptr %worker_at, align 8
  %fork_join_at = getelementptr i64, ptr %table, i64 2
  %fork_join = load ptr, ptr %fork_join_at, align 8
  %entries = getelementptr i64, ptr %table, i64 8
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %next, label %done
next:
  %index = phi i64 [ %begin, %entry ], [ %following, %ran ]
  %place = shl i64 %index, 1
  %region_at = getelementptr i64, ptr %entries, i64 %place
  %region = load ptr, ptr %region_at, align 8
  %team_at = getelementptr i64, ptr %region_at, i64 1
  %wanted = load i64, ptr %team_at, align 8
  %few = icmp slt i64 %wanted, %most
  %team = select i1 %few, i64 %wanted, i64 %most
  %task_at = getelementptr i64, ptr %region, i64 2
  %parts_at = getelementptr i64, ptr %region, i64 3
  %parts = load i64, ptr %parts_at, align 8
  %alone = icmp sle i64 %team, 1
  br i1 %alone, label %one, label %reset
one:
  %units = load i64, ptr %region, align 8
  %task = load ptr, ptr %task_at, align 8
  %lines = add i64 %parts, 1
  %arguments = getelementptr [{line} x i8], ptr %region, i64 %lines
  call void %task(ptr %arguments, i64 0, i64 %units)
  br label %ran
reset:
  %part = phi i64 [ 1, %next ], [ %part_next, %reset ]
  %counter = getelementptr [{line} x i8], ptr %region, i64 %part
  store i64 0, ptr %counter, align 8
  %part_next = add i64 %part, 1
  %unset = icmp sle i64 %part_next, %parts
  br i1 %unset, label %reset, label %many
many:
  %threads = trunc i64 %team to i32
  call void %fork_join(ptr %worker, ptr %region, i32 %threads, i32 0)
  br label %ran
ran:
  %following = add i64 %index, 1
  %more = icmp slt i64 %following, %end
  br i1 %more, label %next, label %done
done:
  ret void
}}
"""


class Replay:
    """Launches that can be started again, one after the other, from any number to any other.

    Attributes:
        launches: What is run. Their arguments, and what those point to, stay where they are.
    """

    def __init__(self, launches: Sequence[Launch]) -> None:
        self.launches = tuple(launches)
        regions = [
            parallel.region(
                launch.kernel, launch.arguments, launch.units, launch.chunk, launch.team
            )
            for launch in launches
        ]
        begins, end = [], _LINE
        for region in regions:
            begins.append(end)
            end += -(-len(region) // _LINE) * _LINE
        self._memory = ctypes.create_string_buffer(end)
        base = -(-ctypes.addressof(self._memory) // _LINE) * _LINE
        entries = []
        self._arguments: list[int] = []  # addresses
        for begin, region, launch in zip(begins, regions, launches, strict=True):
            place = base + begin - _LINE
            ctypes.memmove(place, region, len(region))
            entries.append(_ENTRY.pack(place, launch.team))
            self._arguments.append(place + len(region) - len(launch.arguments))
        self._entries = b"".join(entries)
        self._tables: dict[int, bytes] = {}

    def run(self, begin: int, end: int) -> None:
        """Start the launches from ``begin`` to before ``end`` and wait for them."""
        most = parallel.threads()
        table = self._tables.get(most)
        if table is None:
            table = self._tables[most] = self._table(most)
        _walker().call(table, begin, end)

    def argument(self, number: int, offset: int) -> ctypes.c_int64:
        """An argument of a launch, at so many bytes from its first, which may be set anew."""
        word = ctypes.c_int64.from_address(self._arguments[number] + offset)
        word.owner = self._memory  # type: ignore[attr-defined]  # which must live as long
        return word

    def failed(self) -> bool:
        """Whether a kernel has found a number that it cannot use since this was asked last."""
        found = False
        for launch in self.launches:
            if launch.failed is not None and launch.failed.value:
                launch.failed.value = 0
                found = True
        return found

    def _table(self, most: int) -> bytes:
        # Without a native fork-join every launch runs on the caller's thread.
        fork_join = parallel.fork_join_address() or 0
        head = _HEAD.pack(most if fork_join else 1, parallel.worker_address(), fork_join)
        return head + self._entries


@lru_cache(maxsize=1)
def _walker() -> Kernel:
    return compile_text("deepseek_replay", _REPLAY.format(triple=host().triple, line=_LINE), host())
