"""Weights that wait in a file train the same and leave memory free."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.training.config import TrainConfig
from deepseek.training.parking import Parking
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entrance = nn.Linear(64, 64)
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
        self.exit = nn.Linear(64, 64, bias=False)
        self.exit.weight = self.entrance.weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = self.entrance(rows)
        for block in self.blocks:
            rows = torch.tanh(block(rows))
        result: torch.Tensor = self.exit(rows)
        return result


def step(park: Callable[[nn.Module], object]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = Blocks()
    parking = park(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    if isinstance(parking, Parking):
        optimizer.register_step_post_hook(parking.after_step)
    rows = torch.randn(32, 64)
    for _ in range(3):
        optimizer.zero_grad()
        model(rows).square().sum().backward()
        optimizer.step()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [*(p.detach() for p in model.parameters()), *gradients]


@pytest.mark.parametrize("limit", [1 << 30, 60_000, 0])
def test_weights_and_gradients_are_the_same_in_every_bit(tmp_path: Path, limit: int) -> None:
    plain = step(lambda model: None)
    held: list[int] = []

    def park(model: nn.Module) -> Parking:
        parking = Parking([model], tmp_path, limit)
        held.append(parking.held)
        return parking

    parked = step(park)
    assert all(torch.equal(a, b) for a, b in zip(plain, parked, strict=True))
    assert held[0] <= limit
    assert (held[0] > 0) == (limit > 0)
    assert list(tmp_path.iterdir()) == []


def test_all_weights_are_taken_once_where_there_is_room(tmp_path: Path) -> None:
    model = Blocks()
    assert Parking([model], tmp_path, 1 << 30).held == sum(p.nbytes for p in model.parameters())
    assert model.exit.weight is model.entrance.weight
    places = {p.untyped_storage().data_ptr() for p in model.parameters()}
    assert len(places) == len(list(model.parameters()))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "gradient_checkpointing": True,
            "ema": 0.5,
            "model_options": ("tie_word_embeddings=true",),
        },
        pytest.param({"nproc": 2, "pipeline_stages": 2}, marks=pytest.mark.slow),
        pytest.param({"nproc": 2, "shard_strategy": "optimizer"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_with_parked_weights_learns_the_same_and_resumes(
    tiny: Make, tmp_path: Path, losses: Losses, changes: dict[str, Any]
) -> None:
    train(tiny(output=tmp_path / "memory", **changes))
    parked = {**changes, "offload": "parameters", "swap_fraction": 0.01}
    train(tiny(output=tmp_path / "file", steps=3, **parked))
    train(tiny(output=tmp_path / "file", resume=True, **parked))
    assert losses(tmp_path / "file") == losses(tmp_path / "memory")
    models = [tmp_path / name / "model" / "model.safetensors" for name in ("memory", "file")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_shards_are_refused(tiny: Make) -> None:
    with pytest.raises(InputError, match="none or optimizer with --offload parameters"):
        tiny(shard_strategy="full", offload="parameters")


PEAK = """
import sys, torch
from pathlib import Path
from torch import nn
from deepseek.training.memory import peak_bytes
from deepseek.training.parking import Parking
torch.set_num_threads(1)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(1024, 1024, bias=False) for _ in range(30))
    def forward(self, rows):
        for block in self.blocks:
            rows = torch.tanh(block(rows))
        return rows
net = Net()
if sys.argv[1] == "file":
    parking = Parking([net], Path(sys.argv[2]), 1 << 30)
before = peak_bytes()
net(torch.randn(4096, 1024)).sum().backward()
print(before, peak_bytes())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read peaks from")
def test_the_measured_peak_is_lower(tmp_path: Path) -> None:
    def peak(where: str) -> int:
        command = [sys.executable, "-c", PEAK, where, str(tmp_path)]
        # Every tensor gets and gives back memory of its own: what malloc keeps would hide it.
        env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        return int(run.stdout.split()[1])

    weights = 30 * 1024 * 1024 * 4
    assert peak("file") < peak("memory") - 0.8 * weights
