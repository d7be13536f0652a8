"""Import torch once: say what it is, and let two processes split off from it talk through gloo.

The two meet on the loopback device alone. They have their own time limit, so that a gloo that
hangs or crashes costs nothing but its own answer.
"""

import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

__all__ = ["all_reduce", "facts"]

_COUNT = 4096  # float32 values
_LIMIT = 5.0  # seconds for the two to meet and add up

_Pipe = tuple[int, int]


def facts() -> dict[str, Any]:
    """Version, time to import, kernels, threads, what it was built with, and how gloo did."""
    begin = time.perf_counter()
    import torch

    seconds = time.perf_counter() - begin
    distributed: Any = torch.distributed
    has = distributed.is_available()
    nccl: Any = torch.cuda.nccl
    return {
        "version": str(torch.__version__),
        "seconds": seconds,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "nccl": list(nccl.version()[:3]) if has and distributed.is_nccl_available() else None,
        "gloo": all_reduce(_LIMIT) if has and distributed.is_gloo_available() else None,
    }


def all_reduce(limit: float) -> dict[str, Any]:
    """Let two processes add up their numbers: ``seconds`` and ``bytes``, or an ``error``."""
    port, answers = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads; ours only use what torch sets up later.
        warnings.simplefilter("ignore", DeprecationWarning)
        children = [_split_off(rank, port, answers) for rank in (_first, _second)]
    for end in (*port, answers[1]):
        os.close(end)
    try:
        lines = _read_until_closed(answers[0], limit).splitlines()
    finally:
        os.close(answers[0])
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    outcomes: list[dict[str, Any]] = [json.loads(line) for line in lines]
    errors = [outcome for outcome in outcomes if "error" in outcome]
    if errors:
        return errors[0]
    if len(outcomes) < len(children):
        return {"error": f"no answer within {limit:g} s"}
    return outcomes[0]


def _split_off(rank: Callable[[_Pipe], float], port: _Pipe, answers: _Pipe) -> int:
    child = os.fork()
    if child:
        return child
    try:
        answer: dict[str, Any] = {"seconds": rank(port), "bytes": 4 * _COUNT}
    except Exception as error:  # noqa: BLE001 - the parent reports whatever it is
        answer = {"error": f"{type(error).__name__}: {error}"}
    os.write(answers[1], (json.dumps(answer) + "\n").encode())
    os._exit(0)


def _read_until_closed(source: int, limit: float) -> str:
    """What the children wrote, until both have ended or the time is up."""
    end = time.monotonic() + limit
    text = b""
    while select.select([source], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(source, 4096)
        if not part:
            break
        text += part
    return text.decode()


def _first(port: _Pipe) -> float:
    store = _store(0, is_master=True)
    os.write(port[1], str(store.port).encode())
    return _add_up(0, store)


def _second(port: _Pipe) -> float:
    os.close(port[1])
    number = os.read(port[0], 16)
    if not number:
        raise ConnectionError("the first process ended early")
    return _add_up(1, _store(int(number), is_master=False))


def _store(port: int, *, is_master: bool) -> Any:
    from torch import distributed

    meeting_place: Any = distributed
    patience = timedelta(seconds=_LIMIT)
    return meeting_place.TCPStore("127.0.0.1", port, 2, is_master, patience, wait_for_workers=False)


def _add_up(rank: int, store: Any) -> float:
    import torch

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    values = torch.arange(_COUNT, dtype=torch.float32) * (rank + 1)
    begin = time.perf_counter()
    distributed.all_reduce(values)
    seconds = time.perf_counter() - begin
    if not torch.equal(values, torch.arange(_COUNT, dtype=torch.float32) * 3):
        raise ArithmeticError("the all-reduce gave a wrong sum")
    distributed.barrier()
    return seconds


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(facts())}\n")
