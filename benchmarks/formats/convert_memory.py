"""Peak memory of converting a checkpoint of 4 GB, beside that of the obvious few lines of Python.

Generates a torch checkpoint with the shapes of a language model in a temporary folder, converts it
to safetensors and that to shards, and removes everything again. Needs 14 GB of disk.

The peak is that of the resident memory of the process and its children together, sampled; mapped
pages of files count. Prints one JSON object for each conversion; ``ratio`` is theirs / ours.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

GB = 10**9
BAR = 1.5
SHARD = "1GB"
SAMPLE_EVERY = 0.01

PEER = "torch.load or load_file, then save_file of safetensors"
PLAIN_SAVE = """
import sys, torch
from safetensors.torch import save_file
save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])
"""
PLAIN_SHARDS = """
import sys
from pathlib import Path
from safetensors.torch import load_file, save_file
tensors, shard, size, number = load_file(sys.argv[1]), {}, 0, 0
Path(sys.argv[2]).mkdir()
def write():
    save_file(shard, f"{sys.argv[2]}/{number}.safetensors")
for name, tensor in tensors.items():
    if shard and size + tensor.nbytes > 10**9:
        write()
        shard, size, number = {}, 0, number + 1
    shard[name] = tensor
    size += tensor.nbytes
write()
"""


@dataclass(frozen=True)
class Run:
    """Peak resident memory in GB, and duration in seconds."""

    peak: float
    seconds: float


def tensors(gigabytes: float, seed: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights of a language model of 2,048 dimensions, in float32, of at least this size."""
    generator = torch.Generator().manual_seed(seed)
    size = 0

    def tensor(*shape: int) -> torch.Tensor:
        nonlocal size
        made = torch.randn(shape, generator=generator)
        size += made.nbytes
        return made

    yield "model.embed_tokens.weight", tensor(32_000, 2_048)
    yield "lm_head.weight", tensor(32_000, 2_048)
    layer = 0
    while size < gigabytes * GB:
        prefix = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{prefix}.self_attn.{name}.weight", tensor(2_048, 2_048)
        for name in ("gate_proj", "up_proj"):
            yield f"{prefix}.mlp.{name}.weight", tensor(5_632, 2_048)
        yield f"{prefix}.mlp.down_proj.weight", tensor(2_048, 5_632)
        yield f"{prefix}.input_layernorm.weight", tensor(2_048)
        layer += 1


def measured(command: list[str]) -> Run:
    """Run a command and watch the memory of its processes."""
    begin = time.perf_counter()
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(root))
            time.sleep(SAMPLE_EVERY)
    if process.returncode != 0:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}")
    return Run(peak=peak / GB, seconds=time.perf_counter() - begin)


def _resident(root: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    return total


def record(conversion: str, size: float, ours: Run, theirs: Run) -> dict[str, object]:
    """One line of the result."""
    return {
        "figure": "peak memory of a conversion",
        "setting": {
            "conversion": conversion,
            "checkpoint_gb": round(size, 2),
            "seconds_ours": round(ours.seconds, 1),
            "seconds_theirs": round(theirs.seconds, 1),
            "ours_also": "reads the result again, compares every bit and hashes the source",
        },
        "ours": round(ours.peak, 3),
        "theirs": round(theirs.peak, 3),
        "unit": "GB",
        "peer": PEER,
        "ratio": round(theirs.peak / ours.peak, 2),
        "bar": BAR,
        "met": ours.peak <= BAR,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "cpu": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "safetensors", "deepseek-toolkit")},
    }


def main() -> None:
    """Generate, convert, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    gigabytes: float = parser.parse_args().gigabytes
    ours = [sys.executable, "-c", "from ds_cli.main import convert; convert()", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        source, single = str(top / "in.pt"), str(top / "out.safetensors")
        torch.save(dict(tensors(gigabytes)), source)
        size = Path(source).stat().st_size / GB
        theirs = measured([sys.executable, "-c", PLAIN_SAVE, source, str(top / "plain")])
        (top / "plain").unlink()
        mine = measured([*ours, source, single])
        print(json.dumps(record("torch -> safetensors", size, mine, theirs)), flush=True)
        Path(source).unlink()
        shards = [single, str(top / "shards")]
        mine = measured([*ours, *shards, "--to", "safetensors", "--shard_size", SHARD])
        theirs = measured([sys.executable, "-c", PLAIN_SHARDS, single, str(top / "plain")])
        print(json.dumps(record("safetensors -> shards of 1 GB", size, mine, theirs)))


if __name__ == "__main__":
    main()
