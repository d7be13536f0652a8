"""What each sharding strategy sends: bytes on the wire per process and step, counted by the kernel.

Runs four processes in a network of their own (``unshare``), whose loopback device carries nothing
but their traffic, and reads that device's counter before and after some steps. Prints one JSON
object a line: a strategy against DistributedDataParallel in fp32 (a ratio above 1 means that less
is sent), and ``gradient`` against ``full``.

    python benchmarks/distributed/wire_bytes.py
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROCESSES = 4
STEPS = 4
WIDTH = 512
DEPTH = 4


@dataclass(frozen=True)
class Case:
    """One way to train."""

    strategy: str
    wire: str = "fp32"


CASES = (
    Case("none"), Case("optimizer"),
    Case("gradient"), Case("gradient", "bf16"), Case("gradient", "int8"),
    Case("full"), Case("full", "bf16"), Case("full", "int8"),
    Case("hybrid"), Case("hybrid", "bf16"),
)  # fmt: skip
# Largest share of DistributedDataParallel's bytes that is promised.
BARS = {Case("gradient", "bf16"): 0.8}
GRADIENT_OF_FULL = 0.70


def sent_bytes() -> int:
    """Bytes that the loopback device has sent."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if "lo:" in line)
    return int(line.split(":")[1].split()[8])


def measure(cases: tuple[Case, ...]) -> list[float]:
    """Bytes per process and step as a share of the parameters' bytes; runs on every rank."""
    return [measure_one(case) for case in cases]


def measure_one(case: Case) -> float:
    """The same for one case."""
    import torch
    import torch.distributed as dist
    from torch import nn

    from deepseek.distributed import Layout, Mesh, barrier, optimizer_for, shard

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
                for _ in range(DEPTH)
            )
            self.head = nn.Linear(WIDTH, WIDTH)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                hidden = hidden + block(hidden)
            return self.head(hidden)

    model = Model()
    size = sum(parameter.nbytes for parameter in model.parameters())
    mesh = Mesh.of(Layout.of(dist.get_world_size(), case.strategy))
    module = shard(model, mesh, strategy=case.strategy, wire=case.wire)
    optimizer = optimizer_for(module.parameters(), torch.optim.AdamW, mesh, strategy=case.strategy)

    def steps(count: int) -> int:
        for _ in range(count):
            optimizer.zero_grad()
            module(torch.randn(4, WIDTH)).square().mean().backward()
            optimizer.step()
        barrier()
        sent = sent_bytes()
        barrier()
        return sent

    before = steps(2)  # DistributedDataParallel sends its buckets anew after the first
    return (steps(STEPS) - before) / STEPS / dist.get_world_size() / size


def main() -> None:
    """Measure every case and print it."""
    if os.environ.get("WIRE_BYTES_INSIDE") is None:
        _inside()
        return
    import torch

    from deepseek.distributed import launch

    shares = dict(zip(CASES, launch(measure, CASES, nproc=PROCESSES), strict=True))
    setting = {"processes": PROCESSES, "steps": STEPS, "unit_of": "fp32 parameter bytes"}
    common = {
        "unit": "bytes / parameter bytes",
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "cpu": platform.processor() or platform.machine(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }

    def tell(figure: str, case: Case, peer: Case, bar: float | None) -> None:
        ours, theirs = shares[case], shares[peer]
        line = {
            "figure": figure,
            "setting": {**setting, "strategy": case.strategy, "wire": case.wire},
            "ours": round(ours, 3),
            "theirs": round(theirs, 3),
            "peer": f"{peer.strategy}, {peer.wire}",
            "ratio": round(theirs / ours, 3),
            "bar": None if bar is None else round(1 / bar, 3),
            "met": bar is None or ours <= bar * theirs,
            **common,
        }
        print(json.dumps(line), flush=True)

    for case in CASES:
        tell("wire bytes against DDP", case, Case("none"), BARS.get(case))
    tell("wire bytes of gradient against full", Case("gradient"), Case("full"), GRADIENT_OF_FULL)


def _inside() -> None:
    if shutil.which("unshare") is None:
        sys.exit("expected the program unshare, of util-linux: a network of one's own is counted")
    script = f'ip link set lo up && exec "{sys.executable}" "{__file__}"'
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", script]
    done = subprocess.run(
        command,
        env=os.environ | {"WIRE_BYTES_INSIDE": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
        check=False,
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
