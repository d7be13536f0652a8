"""Large results that are made where the caller gets them, instead of in the arena and copied.

A result qualifies whose memory only launches touch, from when it was taken in the arena on. Before
each replay the addresses in those launches' arguments are moved to a new tensor.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.compiler.arena import bounds
from deepseek.compiler.record import OperatorCall
from deepseek.kernels.pool import pooled

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterator, Sequence

    from deepseek.compiler.record import Recorder
    from deepseek.kernels.parallel import Launch
    from deepseek.kernels.replay import Replay

__all__ = ["Handover", "handover"]

_LEAST = 1 << 20  # bytes; a smaller result is copied in less time than it takes to be looked for
_WORD = 8  # of an argument


@dataclass(frozen=True, slots=True)
class Handover:
    """One result that every run makes in a tensor of its own.

    Attributes:
        like: The result in the arena.
        words: Where addresses in it are kept, and how far each is from its first byte.
    """

    like: Tensor
    words: tuple[tuple[ctypes.c_int64, int], ...]

    def renew(self) -> Tensor:
        """A new tensor, to which the launches write from now on."""
        fresh = pooled(torch.empty_like(self.like))
        begin = fresh.data_ptr()
        for word, offset in self.words:
            word.value = begin + offset
        return fresh


def handover(result: Tensor, recorder: Recorder, replay: Replay) -> Handover | None:
    """How a result that shares memory with no other can be made outside the arena, if it can."""
    low, high = bounds(result)
    if high - low < _LEAST:
        return None
    birth = recorder.birth(low, high)
    if birth is None or _is_touched(recorder.steps[birth:], low, high):
        return None
    before = sum(not isinstance(step, OperatorCall) for step in recorder.steps[:birth])
    words = tuple(_words(replay, before, low, high))
    return Handover(result, words) if words else None


def _is_touched(steps: Sequence[OperatorCall | Launch], low: int, high: int) -> bool:
    """Whether an operator of ATen reads or writes there, which would go on using the arena."""
    return any(
        begin < high and low < end
        for step in steps
        if isinstance(step, OperatorCall)
        for begin, end in map(bounds, step.operands)
    )


def _words(replay: Replay, first: int, low: int, high: int) -> Iterator[tuple[ctypes.c_int64, int]]:
    """The arguments that are addresses there: no size and no fp32 number is as large as one."""
    for number in range(first, len(replay.launches)):
        arguments = replay.launches[number].arguments
        for place, (word,) in enumerate(struct.iter_unpack("=q", arguments)):
            if low <= word < high:
                yield replay.argument(number, place * _WORD), word - low
