"""Checkpoints are complete or not there, and the last good one survives everything."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from deepseek.distributed import training_state
from deepseek.errors import InputError
from deepseek.training.average import WeightAverage
from deepseek.training.checkpoint.folder import CheckpointFolder, read_state
from deepseek.training.checkpoint.load import load_tensors, restore, saved_sizes
from deepseek.training.checkpoint.save import CheckpointWriter
from deepseek.training.config import TrainConfig
from deepseek.training.metrics import read_metrics
from deepseek.training.train import train

Make = Callable[..., TrainConfig]


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Inside, no file can grow beyond ``limit`` bytes: the system says so as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def stepped() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def save(root: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    warnings: list[str] = []
    writer = CheckpointWriter(CheckpointFolder(root), 2, warnings.append)
    writer.save(step, training_state([model], optimizer), {"step": step})
    return writer.wait()


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = stepped()
    assert save(tmp_path, 7, model, optimizer)
    latest = CheckpointFolder(tmp_path).latest()
    assert latest is not None
    assert read_state(latest)["step"] == 7
    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    moved = torch.optim.AdamW(other.parameters(), lr=0.1, fused=True)
    restore(latest, [other], moved, WeightAverage([other], 0.0))
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    before = training_state([model], optimizer)["optimizer"]
    after = training_state([other], moved)["optimizer"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_may_change_while_they_are_written(tmp_path: Path) -> None:
    model, _ = stepped()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    writer = CheckpointWriter(CheckpointFolder(tmp_path), 2, lambda _: None)
    writer.save(1, {"model": model.state_dict()}, {"step": 1})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.0)
    assert writer.wait()
    load_tensors(tmp_path / "step-00000001", {"model": model.state_dict()})
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_no_part_of_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    model, optimizer = stepped()
    assert save(tmp_path, 1, model, optimizer)
    names = {path.suffix for path in (tmp_path / "step-00000001").iterdir()}
    assert names == {".safetensors", ".json"}
    sizes = saved_sizes(tmp_path / "step-00000001")
    assert sizes["model.0.weight"] == torch.Size([8, 4])
    assert sizes["optimizer.0.weight.exp_avg"] == torch.Size([8, 4])
    assert sizes["optimizer.0.weight.step"] == torch.Size([])


def test_only_the_newest_are_kept_and_leftovers_go(tmp_path: Path) -> None:
    model, optimizer = stepped()
    (tmp_path / "step-00000002.part").mkdir(parents=True)
    for step in (1, 3, 5, 7):
        assert save(tmp_path, step, model, optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "latest", "step-00000005", "step-00000007"
    ]  # fmt: skip


@pytest.mark.parametrize("pointer", [None, "", "step-99999999\n", "../elsewhere\n"])
def test_the_newest_complete_one_is_found_without_a_good_pointer(
    tmp_path: Path, pointer: str | None
) -> None:
    model, optimizer = stepped()
    assert save(tmp_path, 1, model, optimizer)
    assert save(tmp_path, 2, model, optimizer)
    latest = tmp_path / "latest"
    latest.unlink() if pointer is None else latest.write_text(pointer)
    assert CheckpointFolder(tmp_path).latest() == tmp_path / "step-00000002"
    (tmp_path / "step-00000002" / "state.json").unlink()
    assert CheckpointFolder(tmp_path).latest() == tmp_path / "step-00000001"


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer = stepped()
    assert save(tmp_path, 1, model, optimizer)
    other = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Linear(9, 2))
    moved, average = torch.optim.AdamW(other.parameters()), WeightAverage([other], 0.0)
    with pytest.raises(InputError, match=r"expected the tensor 0.weight of \(9, 4\)"):
        restore(tmp_path / "step-00000001", [other], moved, average)


def test_a_full_disk_is_told_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    model, optimizer = stepped()
    assert save(tmp_path, 1, model, optimizer)
    warnings: list[str] = []
    writer = CheckpointWriter(CheckpointFolder(tmp_path), 1, warnings.append)
    with full_disk(1000):
        writer.save(2, {"model": model.state_dict()}, {"step": 2})
        assert not writer.wait()
    assert len(warnings) == 1
    assert "the checkpoint of step 2 could not be written" in warnings[0]
    assert "File too large" in warnings[0]
    assert CheckpointFolder(tmp_path).latest() == tmp_path / "step-00000001"
    assert save(tmp_path, 3, model, optimizer)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000001", "step-00000003"]


def test_a_run_on_a_full_disk_goes_on_and_says_so(tiny: Make, tmp_path: Path) -> None:
    config = tiny(checkpoint_every=2, keep=1)
    train(config)
    weights = sum(p.stat().st_size for p in (tmp_path / "run" / "model").iterdir())
    with full_disk(weights // 2), pytest.raises(InputError, match="could not be written"):
        train(tiny(checkpoint_every=2, steps=12, resume=True))
    notes = [
        row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "note"
    ]
    assert [note["text"].partition(" could")[0] for note in notes] == [
        f"the checkpoint of step {step}" for step in (8, 10, 12)
    ]
    latest = CheckpointFolder(tmp_path / "run" / "checkpoints").latest()
    assert latest is not None
    assert latest.name == "step-00000006"
    train(tiny(steps=12, resume=True))
