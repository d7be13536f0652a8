"""Workers of the launcher's tests; importable by name, and a script that launches one."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from deepseek.distributed import launch, report
from deepseek.errors import InputError


def fail(how: str) -> None:
    """Rank 1 ends in some way while rank 0 waits for it."""
    if dist.get_rank() == 1:
        if how == "error":
            raise ValueError("something broke")
        if how == "input":
            raise InputError("expected a, got b", hint="use a")
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def describe(extra: str) -> dict[str, object]:
    """What a worker finds."""
    report("describing", 1, 2)
    return {
        "extra": extra,
        "world": dist.get_world_size() if dist.is_initialized() else 1,
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
        "variables": {n: os.environ.get(n) for n in ("RANK", "LOCAL_RANK", "WORLD_SIZE")},
        "tensor": torch.arange(3),
    }


def linger(folder: str, handles: bool) -> str:
    """Say that this rank runs, and wait for a signal; with a handler, end in good order."""
    told: list[int] = []
    if handles:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _: told.append(got))
    Path(folder, f"{dist.get_rank()}.pid").write_text(str(os.getpid()))
    while not told:
        time.sleep(0.05)
    Path(folder, f"{dist.get_rank()}.saved").write_text(str(len(told)))
    return "saved"


def main() -> None:
    """Launch what the arguments say, print what came of it."""
    worker, *args = sys.argv[1:]
    if worker == "linger":
        sys.stdout.write(launch(linger, args[0], args[1] == "handles", nproc=2))
    else:
        found = launch(describe, "by torchrun", nproc=1)
        variables = found["variables"]
        sys.stdout.write(f"{found['world']} {variables['RANK']} {os.environ['RANK']}\n")


if __name__ == "__main__":
    main()
