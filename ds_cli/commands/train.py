"""``deepseek train``: one process or many, sharded, pipelined, resumable to the bit."""

import os
import sys
from pathlib import Path

from deepseek.training.config import TrainConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: TrainConfig, talk: Talk) -> Outcome:
    """Train a model, on one process or many, so that it can be resumed to the bit.

    With nothing given, a small GPT learns from the text of Python's own help. The trained model is
    a Hugging Face folder that convert and quantize take.
    """
    from deepseek.distributed.launcher import RankError
    from deepseek.training.train import train
    from ds_cli.views.train import plan_view, report_view

    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun, one speaks for all
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
        train(config)
        return Outcome(document={}, view="")
    try:
        with talk.progress() as progress:
            report = train(config, progress=progress, say=talk.say)
    except RankError as error:
        talk.say(error.trace.rstrip())  # of the process that failed first; the error is one line
        raise RuntimeError(str(error).partition("\n")[0]) from error
    return Outcome(document=report, view=plan_view(report) if config.plan else report_view(report))


COMMAND = Command(name="train", config=TrainConfig, run=run)
