"""Life of one process of a group: what it is told, how it ends.

Imports torch only inside functions, after the number of threads has been set.
"""

import ctypes
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType

from deepseek.distributed.messages import Advanced, Done, Failed, write
from deepseek.distributed.reporting import reporting
from deepseek.errors import DeepseekError
from deepseek.progress import silent

__all__ = ["process_group", "run_rank"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SECONDS = 0.5


def run_rank(environment: Mapping[str, str], work: bytes, pipe: Connection, parent: int) -> None:
    """The main function of a local process.

    Args:
        environment: Its place in the group, as ``torch.distributed`` reads it.
        work: The pickled worker and its arguments.
        pipe: Where its messages go.
        parent: The process that started it: this one ends with it.
    """
    os.setsid()  # a terminal's Ctrl-C reaches the parent, which passes it on once
    _end_with(parent)
    os.environ.update(environment)
    lead = environment["RANK"] == "0"
    try:
        # The worker is unpickled only now: importing its module may import torch.
        worker, args = pickle.loads(work)  # noqa: S301  # written by our own parent
        with process_group(), reporting(partial(_advance, pipe) if lead else silent):
            result = worker(*args)
        write(pipe, Done(result if lead else None))
    except BaseException as error:  # noqa: BLE001  # whatever ends a rank is told to the parent
        write(pipe, _failed(error))
        pipe.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # others may wait for this rank forever: do not wait for them in turn


def _advance(pipe: Connection, stage: str, done: int, total: int | None) -> None:
    write(pipe, Advanced(stage, done, total))


def _failed(error: BaseException) -> Failed:
    return Failed(
        when=time.monotonic(),
        summary="".join(traceback.format_exception_only(error)).strip().splitlines()[0],
        trace="".join(traceback.format_exception(error.with_traceback(_from_worker(error)))),
        error=error if isinstance(error, DeepseekError) else None,
        interrupted=isinstance(error, KeyboardInterrupt),
    )


def _from_worker(error: BaseException) -> TracebackType | None:
    """The traceback without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_ours(trace):
        trace = trace.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename == __file__


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; where it cannot, watch the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


@contextmanager
def process_group() -> Iterator[None]:
    """Join the group that the environment names, with this process's share of the threads."""
    # Whoever names the group also says how many processes share this machine.
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = max(1, _cores() // local)
    os.environ["OMP_NUM_THREADS"] = str(threads)

    import torch
    import torch.distributed as dist

    torch.set_num_threads(threads)
    # The pipeline's runtime logs a page of its schedule on any error, on every rank.
    logging.getLogger("torch.distributed.pipelining.schedules").setLevel(logging.CRITICAL)
    if torch.cuda.is_available() and torch.cuda.device_count() >= local:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl")
    else:
        dist.init_process_group("gloo")
    yield
    # Not in a `finally`: after an error, the others may never come to the end.
    dist.destroy_process_group()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
