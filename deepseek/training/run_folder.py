"""The folder of a run: what is in it, and when it may be written to.

runs/small_gpt-1/
train.toml         the configuration; --config takes it back
metrics.jsonl      what happened, step by step
stages.json        what its parts took, with --pipeline_balance measured
tensorboard/       the same for TensorBoard, with --tensorboard
checkpoints/       to go on from
model/             the trained model, when the run is done
report.json        how it went
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from deepseek.errors import InputError
from deepseek.training.checkpoint.folder import CheckpointFolder, read_state
from deepseek.training.config import TrainConfig
from deepseek.training.config_file import config_to_toml, differences
from deepseek.training.metrics import trim_metrics

__all__ = ["RunFolder", "begin_run", "find_run"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places in the folder of a run."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.root / "train.toml"

    @property
    def metrics(self) -> Path:
        """What happened, step by step."""
        return self.root / "metrics.jsonl"

    @property
    def costs(self) -> Path:
        """What the parts of the model took, where stages are cut by that."""
        return self.root / "stages.json"

    @property
    def board(self) -> Path:
        """The same for TensorBoard."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """What to go on from."""
        return CheckpointFolder(self.root / "checkpoints")

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.root / "model"

    @property
    def report(self) -> Path:
        """How it went."""
        return self.root / "report.json"


def find_run(config: TrainConfig, name: str) -> RunFolder:
    """Where a run goes, or which one to go on with; nothing is changed yet.

    Args:
        config: The run.
        name: What the model is called.

    Raises:
        InputError: The folder exists and neither overwrite nor resume was asked for, or it is not
            the folder of a run, or there is nothing in it to resume.
    """
    run = RunFolder(config.output or _next_free(name))
    if config.resume:
        _check_resumable(run)
    elif run.root.exists():
        _check_replaceable(run, config)
    return run


def begin_run(run: RunFolder, config: TrainConfig, say: Callable[[str], None]) -> None:
    """Make the folder of a run, or open the one to go on with.

    Args:
        run: What ``find_run`` found.
        config: The run.
        say: Told what differs from when the run was started.
    """
    config = replace(config, output=run.root)
    if config.resume:
        for difference in differences(config, run.config):
            say(f"resuming with another value: {difference}")
        latest = run.checkpoints.latest()
        assert latest is not None, "a run without a checkpoint is not resumed"
        trim_metrics(run.metrics, after=read_state(latest)["step"])
    elif run.root.exists():
        shutil.rmtree(run.root)
    run.root.mkdir(parents=True, exist_ok=True)
    run.config.write_text(f"# deepseek train\n{config_to_toml(config)}", encoding="utf-8")


def _next_free(name: str) -> Path:
    places = (Path("runs") / f"{name}-{number}" for number in count(1))
    return next(place for place in places if not place.exists())


def _check_resumable(run: RunFolder) -> None:
    if not run.config.is_file():
        raise InputError(
            f"expected the folder of a run to resume, found none at {run.root}",
            hint="name it with --output",
        )
    if run.checkpoints.latest() is None:
        raise InputError(
            f"expected a checkpoint to resume from in {run.checkpoints.root}, found none",
            hint="--overwrite starts again",
        )


def _check_replaceable(run: RunFolder, config: TrainConfig) -> None:
    if not config.overwrite:
        raise InputError(
            f"expected a new folder for the run, {run.root} exists already",
            hint="--resume goes on with it, --overwrite replaces it",
        )
    if not run.config.is_file() and (not run.root.is_dir() or any(run.root.iterdir())):
        raise InputError(
            f"{run.root} is not the folder of a run; it is not replaced",
            hint="name another --output, or remove it yourself",
        )
