"""A function over many chunks in worker processes: results in order, few of them at a time."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from deepseek.errors import InputError

__all__ = ["ordered_map"]

_AHEAD = 2  # chunks that wait for each worker

_Chunk = TypeVar("_Chunk")
_Result = TypeVar("_Result")


def ordered_map(
    function: Callable[[_Chunk], _Result], chunks: Iterable[_Chunk], workers: int
) -> Generator[_Result, None, None]:
    """What ``function`` makes of each chunk, in their order.

    Args:
        function: Can be pickled where there are workers.
        chunks: Taken only a few at a time, so that memory stays bounded.
        workers: Processes to start; 0 computes here.

    Raises:
        InputError: A worker was killed, as happens when memory runs out.
    """
    if not workers:
        yield from map(function, chunks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin)
    waiting: deque[Future[_Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(function, chunk))
            if len(waiting) > workers * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            "expected the workers to finish, but one of them was killed",
            hint="perhaps memory ran out: try fewer --workers",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
