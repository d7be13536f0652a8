"""``deepseek convert``: a checkpoint into another format, with proof."""

from deepseek.formats.config import ConvertConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: ConvertConfig, talk: Talk) -> Outcome:
    """Turn a checkpoint into another format, and prove it.

    The output is loaded again and compared: tensors bit for bit, ONNX programs by what they compute
    at several batch sizes and lengths. One that differs is not kept, and the exit code is 1.
    """
    from deepseek.formats.convert import convert
    from ds_cli.views.convert import conversion_view

    with talk.progress() as progress:
        conversion = convert(config, progress=progress)
    if not (conversion.kept or config.dry_run):
        talk.say("nothing was kept, because the output differs; --allow_mismatch keeps it")
    return Outcome(
        document=conversion.document(),
        view=conversion_view(conversion),
        passed=conversion.passed,
    )


COMMAND = Command(name="convert", config=ConvertConfig, run=run, positional=("source", "dest"))
