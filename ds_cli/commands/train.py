"""``deepseek train``."""

from typing import TYPE_CHECKING

from deepseek.training.config import TrainConfig
from ds_cli.command import Command
from ds_cli.outcome import Outcome

if TYPE_CHECKING:
    from ds_cli.console import Talk

__all__ = ["COMMAND"]


def run(config: TrainConfig, talk: "Talk") -> Outcome:
    """Train a model: on one process or many, sharded, pipelined, resumable to the bit.

    With nothing given, a small GPT learns from the text of Python's own manual.
    """
    from deepseek.training.train import train

    with talk.progress() as progress:
        report = train(config, progress=progress, say=talk.say)
    return Outcome(document=report, view=str(report))


COMMAND = Command(name="train", config=TrainConfig, run=run)
