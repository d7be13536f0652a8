"""Latency and peak memory of a Transformer of plain PyTorch, compiled and in eager mode.

    python benchmarks/compiler/memory.py --threads 1

The model has the sizes of MiniLM and comes in two forms: attention and GELU written out, and by
``scaled_dot_product_attention``. Each run is a process of its own, in turns; memory is the most
that the process held beyond what it held with the model loaded, compilation included.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # measuring is shared with other rooms

import deepseek
from benchmarks.kernels.measure import record

WIDTH, HEADS, LAYERS, WORDS = 384, 12, 6, 30000
BARS = {"written": (0.55, 0.60), "sdpa": (0.80, 0.80)}  # shares of eager: seconds, bytes
CALLS = 3


class _Block(nn.Module):
    """A layer with a norm before attention and before the two products."""

    def __init__(self, *, written: bool) -> None:
        super().__init__()
        self.written = written
        self.before = nn.LayerNorm(WIDTH)
        self.after = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, N, D)`` to features."""
        y = self.before(x)
        q, k, v = (self._heads(layer(y)) for layer in (self.q, self.k, self.v))
        if self.written:
            scores = q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)
            mixed = torch.softmax(scores, dim=-1) @ v
        else:
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(self._gelu(self.up(self.after(x))))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)

    def _gelu(self, x: Tensor) -> Tensor:
        if not self.written:
            return nn.functional.gelu(x)
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2.0)))


class Transformer(nn.Module):
    """Words, places, layers, a norm."""

    def __init__(self, *, written: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(512, WIDTH)
        self.layers = nn.ModuleList(_Block(written=written) for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids ``(B, N)`` to features ``(B, N, D)``."""
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        normed: Tensor = self.last(x)
        return normed


def _run(form: str, runner: str, batch: int, length: int) -> None:
    """What a process of its own does: print the seconds of a call and the most memory."""
    torch.manual_seed(0)
    model = Transformer(written=form == "written").eval()
    ids = torch.randint(0, WORDS, (batch, length))
    if runner == "ours":
        from deepseek.kernels.target import current

        current()  # what importing takes belongs to no model
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    run = deepseek.compile(model) if runner == "ours" else model
    seconds = []
    with torch.inference_mode():
        for _ in range(CALLS):
            begin = time.perf_counter()
            run(ids)
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds[-1], "bytes": _resident("VmHWM") - before}))


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name + ":")).split()[1])


def main() -> None:
    """Measure both forms and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--forms", default=",".join(BARS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        _run(*given.child, given.batch, given.length)
        return
    sizes = ["--batch", str(given.batch), "--length", str(given.length)]
    for form in given.forms.split(","):
        found: dict[str, list[dict[str, float]]] = {"ours": [], "eager": []}
        for _ in range(given.rounds):
            for runner, runs in found.items():
                command = [sys.executable, __file__, "--threads", str(given.threads), *sizes]
                text = subprocess.check_output([*command, "--child", form, runner])
                runs.append(json.loads(text))
        setting = {"attention": form, "batch": given.batch, "length": given.length}
        for key, unit, figure, bar in (
            ("seconds", "s", "latency", BARS[form][0]),
            ("bytes", "B", "peak memory above the model", BARS[form][1]),
        ):
            ours, theirs = (
                statistics.median(run[key] for run in found[runner]) for runner in found
            )
            record(f"transformer, {figure}", setting, ours, theirs,
                   unit=unit, peer="eager", bar=1 / bar)  # fmt: skip


if __name__ == "__main__":
    main()
