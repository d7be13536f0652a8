"""``deepseek compile``: a checkpoint into a program of kernels, with proof."""

from deepseek.formats.programs.config import CompileConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: CompileConfig, talk: Talk) -> Outcome:
    """Compile a model into a program of kernels, and prove it.

    One program serves every batch and length. It is compared with the model at several of them; one
    that differs is not kept, and the exit code is 1. No C++ compiler is needed, here or later.
    """
    from deepseek.formats.programs.compiling import compile_checkpoint
    from ds_cli.views.compile import show

    with talk.progress() as progress:
        report = compile_checkpoint(config, progress)
    if not report.kept:
        talk.say("nothing was kept, because the outputs differ; --allow_mismatch keeps it")
    return Outcome(document=report.document(), view=show(report), passed=report.parity.passed)


COMMAND = Command(name="compile", config=CompileConfig, run=run, positional=("model",))
