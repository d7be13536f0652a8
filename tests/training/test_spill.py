"""Activations that wait in a file give the same gradients and leave memory free."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.training.config import TrainConfig
from deepseek.training.spill import Spill
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64)) for _ in range(6)]
    return nn.Sequential(*blocks)


def gradients(keeping: Callable[[], object] | None, *, twice: bool = False) -> list[torch.Tensor]:
    net = model()
    rows = torch.randn(512, 64, generator=torch.Generator().manual_seed(1))
    for _ in range(2 if twice else 1):
        net.zero_grad()
        if keeping is None:
            net(rows).square().sum().backward()
        else:
            with keeping():  # type: ignore[attr-defined]
                net(rows).square().sum().backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def test_gradients_are_the_same_in_every_bit(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 64 << 20)
    pairs = zip(gradients(None), gradients(spill, twice=True), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert spill.most >= 6 * 2 * 512 * 64 * 4
    assert list(tmp_path.iterdir()) == []


def test_the_file_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 300_000)
    pairs = zip(gradients(None), gradients(spill, twice=True), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert 0 < spill.most <= 300_000


def test_views_of_one_tensor_lie_in_the_file_once(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 64 << 20)
    whole = torch.randn(512, 192, requires_grad=True)
    with spill():
        doubled = whole * 2
        query, key, value = doubled.split(64, dim=1)
        (query * key * value).sum().backward()
    assert whole.grad is not None
    once = 512 * 192 * 4
    assert once <= spill.most <= 2 * once + 512 * 64 * 4 + 4 * 4096


def test_a_tensor_changed_in_place_is_another(tmp_path: Path) -> None:
    def grads(keeping: Callable[[], object] | None) -> torch.Tensor:
        source = torch.linspace(0, 1, 512 * 64, requires_grad=True)

        def work() -> None:
            first = source * 3
            squared = first.detach().clone()
            one = source * squared
            squared.add_(1)
            del squared
            (one * source).sum().backward()

        if keeping is None:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                work()
            return torch.zeros(0)
        with keeping():  # type: ignore[attr-defined]
            work()
        assert source.grad is not None
        return source.grad

    grads(None)
    found = grads(Spill(tmp_path, 64 << 20))
    line = torch.linspace(0, 1, 512 * 64)
    assert torch.allclose(found, 2 * line * 3 * line)


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of disk at"):
        Spill(tmp_path, 1 << 60)


def test_a_run_with_a_file_learns_the_same(tiny: Make, tmp_path: Path, losses: Losses) -> None:
    train(tiny(output=tmp_path / "memory"))
    train(tiny(output=tmp_path / "file", offload="activations", swap_fraction=0.001))
    assert losses(tmp_path / "memory") == losses(tmp_path / "file")


PEAK = """
import sys, torch
from pathlib import Path
from torch import nn
from deepseek.training.memory import peak_bytes
from deepseek.training.spill import Spill
torch.set_num_threads(1)
net = nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.GELU()) for _ in range(40)])
keeping = Spill(Path(sys.argv[2]), 1 << 30) if sys.argv[1] == "file" else None
rows = torch.randn(4096, 256)
net(rows[:8]).sum().backward()
before = peak_bytes()
if keeping is None:
    net(rows).sum().backward()
else:
    with keeping():
        net(rows).sum().backward()
print(peak_bytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read peaks from")
def test_the_measured_peak_is_lower(tmp_path: Path) -> None:
    def peak(where: str) -> int:
        command = [sys.executable, "-c", PEAK, where, str(tmp_path)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    in_memory, in_file = peak("memory"), peak("file")
    assert in_memory > 40 * 4096 * 256 * 4
    assert in_file < 0.4 * in_memory
