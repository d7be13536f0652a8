"""Start local processes that work as one group, and end them together."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deepseek.distributed.messages import Advanced, Done, Failed, read
from deepseek.distributed.rank import process_group, run_rank
from deepseek.distributed.reporting import reporting
from deepseek.errors import InputError
from deepseek.progress import Progress, silent

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

__all__ = ["RankError", "launch"]

T = TypeVar("T")

_TICK_SECONDS = 0.2
_SETTLE_SECONDS = 1.0  # between the first failure seen and the choice of its cause
_TERMINATE_SECONDS = 3.0
_RENDEZVOUS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankError(RuntimeError):
    """A process of the group failed.

    Attributes:
        rank: Which; the others were ended because of it.
        trace: Its traceback, empty where it was killed.
    """

    def __init__(self, rank: int, summary: str, trace: str = "") -> None:
        super().__init__(f"rank {rank} failed: {summary}" + (f"\n{trace}" if trace else ""))
        self.rank = rank
        self.trace = trace


def launch(
    worker: Callable[..., T],
    *args: Any,
    nproc: int,
    progress: Progress = silent,
    grace: float = 60.0,
) -> T:
    """Run ``worker(*args)`` in ``nproc`` processes that form one group of ``torch.distributed``.

    Where torchrun has started this process, the worker runs here and joins torchrun's group; with
    one process it runs here without a group. Otherwise processes are spawned: as always with
    spawned processes, a script that calls this does so under ``if __name__ == "__main__"``.

    SIGINT and SIGTERM are passed on to every process once; a worker that handles them has
    ``grace`` seconds to finish. The processes end with this one, whatever ends it.

    Args:
        worker: Importable by name.
        args: Given to every process; they and the result can be pickled.
        nproc: Processes on this machine.
        progress: Hears what rank 0 gives to :func:`deepseek.distributed.report`.
        grace: Seconds between a signal and the end.

    Returns:
        What the worker returned on rank 0. Under torchrun, every rank gets it.

    Raises:
        InputError: ``nproc`` is no number of processes, or a rank raised this, or another error
            of the library.
        RankError: A rank failed in another way; the earliest failure is reported.
        KeyboardInterrupt: SIGINT came and the worker did not handle it.
        SystemExit: The same for SIGTERM, with code 143.
    """
    if nproc < 1:
        raise InputError(f"expected at least one process, got {nproc}")
    if all(name in os.environ for name in _RENDEZVOUS):
        return _join(worker, args, progress)
    if nproc == 1:
        with reporting(progress):
            return worker(*args)
    group = _Group(nproc, progress, grace)
    with group.signals():
        try:
            group.start(pickle.dumps((worker, args)))
            group.watch()
        finally:
            group.end()
    return cast("T", group.outcome())


def _join(worker: Callable[..., T], args: tuple[Any, ...], progress: Progress) -> T:
    import torch.distributed as dist
    from torch.distributed.elastic.multiprocessing.errors import record

    if dist.is_initialized():  # launched from within a worker: the group is there
        return worker(*args)
    with process_group(), reporting(progress if os.environ["RANK"] == "0" else silent):
        # `record` writes the error where torchrun looks for it, so that it shows the cause.
        result = [record(worker)(*args)]
        dist.broadcast_object_list(result, src=0)
    return cast("T", result[0])


class _Group:
    """The processes of one launch, and what is known of them."""

    def __init__(self, size: int, progress: Progress, grace: float) -> None:
        self._size = size
        self._progress = progress
        self._grace = grace
        self._processes: list[SpawnProcess] = []
        self._pipes: dict[Connection, int] = {}
        self._done: dict[int, Done] = {}
        self._failed: dict[int, Failed] = {}
        self._vanished: set[int] = set()
        self._signal: int | None = None
        self._deadline = float("inf")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Pass signals on to the processes, where this thread may handle signals at all."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._pass_on)
                  for number in (signal.SIGINT, signal.SIGTERM)}  # fmt: skip
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        again = self._signal is not None
        self._signal = number
        self._deadline = min(self._deadline, now if again else now + self._grace)
        for process in self._processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, number)

    def start(self, work: bytes) -> None:
        import torch.distributed as dist

        # The store lives here, on a port that the system chose: no rank races for one.
        self._store = dist.TCPStore(  # type: ignore[attr-defined]  # public, but not in its __all__
            "127.0.0.1", 0, is_master=True, wait_for_workers=False
        )
        context = multiprocessing.get_context("spawn")
        for rank in range(self._size):
            pipe, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=run_rank,
                args=(self._environment(rank, self._store.port), work, theirs, os.getpid()),
                name=f"rank {rank}",
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes[pipe] = rank

    def _environment(self, rank: int, port: int) -> dict[str, str]:
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self._size),
            "LOCAL_WORLD_SIZE": str(self._size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store exists: rank 0 must not open it
            # The machine's name may resolve to an address that it does not have.
            "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        }

    def watch(self) -> None:
        """Listen until every process has ended, or one has failed, or the grace is over."""
        while self._pipes and time.monotonic() < self._deadline:
            for pipe in wait(list(self._pipes), timeout=_TICK_SECONDS):
                self._hear(cast("Connection", pipe))

    def _hear(self, pipe: Connection) -> None:
        rank = self._pipes[pipe]
        try:
            message = read(pipe)
        except EOFError:
            del self._pipes[pipe]
            if rank not in self._done and rank not in self._failed:
                self._vanished.add(rank)
                self._settle()
            return
        match message:
            case Advanced():
                self._progress(message.stage, message.done, message.total)
            case Done():
                self._done[rank] = message
                if len(self._done) == self._size:
                    self._deadline = min(self._deadline, time.monotonic() + self._grace)
            case Failed():
                self._failed[rank] = message
                self._settle()

    def _settle(self) -> None:
        self._deadline = min(self._deadline, time.monotonic() + _SETTLE_SECONDS)

    def end(self) -> None:
        """Leave no process behind."""
        if self._pipes:
            for process in self._processes:
                process.terminate()
        until = time.monotonic() + _TERMINATE_SECONDS
        for process in self._processes:
            process.join(max(0.0, until - time.monotonic()))
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()

    def outcome(self) -> Any:
        """Rank 0's result, or the error that explains best why there is none."""
        if len(self._done) == self._size:
            return self._done[0].result
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise SystemExit(128 + self._signal)
        failures = sorted(self._failed.items(), key=lambda item: item[1].when)
        # A rank that vanished without a word was killed, and the others lost their connection;
        # only an abort can be what the failure of another did to it.
        for rank in sorted(self._vanished):
            exitcode = self._processes[rank].exitcode
            if not failures or exitcode != -signal.SIGABRT:
                raise RankError(rank, _how_it_ended(exitcode))
        rank, failure = failures[0]
        if failure.interrupted:
            raise KeyboardInterrupt
        if failure.error is not None:
            raise failure.error
        raise RankError(rank, failure.summary, failure.trace)


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"ended without a result, exit code {exitcode}"
