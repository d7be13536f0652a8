"""Several processes end together: killed, told to stop, or started again by torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deepseek.training.config import TrainConfig
from deepseek.training.config_file import config_to_toml
from deepseek.training.metrics import read_metrics
from deepseek.training.train import train

Make = Callable[..., TrainConfig]
Losses = Callable[[Path], list[float]]

pytestmark = pytest.mark.slow

PROGRAM = "from ds_cli.main import main; main()"
SECONDS = 300


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def begin(
    config: TrainConfig, folder: Path, started: list[subprocess.Popen[str]], *launcher: str
) -> subprocess.Popen[str]:
    file = folder / "start.toml"
    file.write_text(config_to_toml(config))
    program = folder / "program.py"
    program.write_text(f"if __name__ == '__main__':\n    {PROGRAM}\n")
    process = subprocess.Popen(
        [sys.executable, *launcher, str(program), "train", "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    started.append(process)
    return process


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not any(row["step"] >= step for row in read_metrics(run / "metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def test_a_killed_worker_ends_all_with_one_error(
    tiny: Make, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    config = tiny(steps=100_000, nproc=2, shard_strategy="gradient", checkpoint_every=5)
    process = begin(config, tmp_path, started)
    wait_for_step(tmp_path / "run", 6, process)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    ranks[1].kill()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 3
    assert out == ""
    assert err.count("error:") == 1
    assert not any(rank.is_running() for rank in ranks)


def test_a_polite_kill_reaches_every_process_and_saves(
    tiny: Make, tmp_path: Path, losses: Losses, started: list[subprocess.Popen[str]]
) -> None:
    layout = {"nproc": 2, "pipeline_stages": 2}
    process = begin(tiny(steps=400, **layout), tmp_path, started)
    wait_for_step(tmp_path / "run", 3, process)
    ranks = ranks_of(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, err
    assert "saved, go on with --resume" in err
    assert not any(rank.is_running() for rank in ranks)
    done = len(losses(tmp_path / "run"))
    assert 3 <= done < 400
    train(tiny(steps=done + 3, resume=True, **layout))
    train(tiny(output=tmp_path / "whole", steps=done + 3, **layout))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_torchrun_starts_a_run_again_after_a_worker_died(
    tiny: Make, tmp_path: Path, losses: Losses, started: list[subprocess.Popen[str]]
) -> None:
    layout = {"nproc": 2, "shard_strategy": "gradient"}
    config = tiny(steps=60, checkpoint_every=5, **layout)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--max_restarts=1",
                "--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0"]  # fmt: skip
    process = begin(config, tmp_path, started, *torchrun)
    wait_for_step(tmp_path / "run", 12, process)
    victim = ranks_of(process)[-1]
    victim.kill()
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    train(tiny(output=tmp_path / "whole", steps=60, **layout))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    # One process of the group exports, without waiting for the others, who are done.
    exported = [tmp_path / name / "model" / "model.safetensors" for name in ("run", "whole")]
    assert exported[0].read_bytes() == exported[1].read_bytes()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["ending"] == "done"
