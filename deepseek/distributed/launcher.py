"""Start local processes that train together, watch them, and end them together."""

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from deepseek.errors import DeepseekError, InputError

__all__ = ["RankError", "launch"]

T = TypeVar("T")


class RankError(DeepseekError):
    """A process of a group failed; the message holds its traceback."""


def launch(worker: Callable[..., T], *args: Any, nproc: int) -> T:
    """Run ``worker(*args)`` in ``nproc`` processes that form one group.

    Args:
        worker: Importable by name; its arguments and result can be pickled.
        args: Given to every process.
        nproc: Local processes; with one, the worker runs in this process and without a group.

    Returns:
        What the worker returned on rank 0.

    Raises:
        RankError: A process failed.
    """
    if nproc < 1:
        raise InputError(f"expected at least one process, got {nproc}")
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        with _group():
            return worker(*args)
    if nproc == 1:
        return worker(*args)
    context = multiprocessing.get_context("spawn")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    readers, processes = [], []
    for rank in range(nproc):
        reader, writer = context.Pipe(duplex=False)
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(nproc),
            "LOCAL_WORLD_SIZE": str(nproc),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        process = context.Process(
            target=_rank, args=(environment, pickle.dumps((worker, args)), writer)
        )
        process.start()
        writer.close()
        readers.append(reader)
        processes.append(process)
    result: Any = None
    try:
        left = dict(zip(readers, range(nproc), strict=True))
        while left:
            for reader in wait(list(left)):
                rank = left.pop(reader)
                ok, value = reader.recv()
                if not ok:
                    raise RankError(f"rank {rank} failed\n{value}")
                if rank == 0:
                    result = value
    finally:
        for process in processes:
            if process.is_alive() and result is None:
                process.terminate()
        for process in processes:
            process.join()
    return result


def _rank(environment: dict[str, str], work: bytes, writer: Connection) -> None:
    os.environ.update(environment)
    torch.set_num_threads(
        max(1, len(os.sched_getaffinity(0)) // int(environment["LOCAL_WORLD_SIZE"]))
    )
    try:
        worker, args = pickle.loads(work)  # noqa: S301  # written by our own parent process
        with _group():
            writer.send((True, worker(*args)))
    except BaseException:
        writer.send((False, traceback.format_exc()))
        raise


@contextmanager
def _group() -> Iterator[None]:
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
