"""``deepseek data pack``: files into a data set that is read without being copied."""

from deepseek.data.config import PackConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: PackConfig, talk: Talk) -> Outcome:
    """Pack texts, tables, images or arrays into memory-mapped files.

    Memory does not grow with the source.
    --resume goes on with a packing that was interrupted.
    """
    from deepseek.data.packing.job import job_folder
    from deepseek.data.packing.pack import pack
    from ds_cli.views.packing import packing_document, packing_view

    try:
        with talk.progress() as progress:
            packing = pack(config, progress=progress)
    except KeyboardInterrupt:
        if job_folder(config.output).exists():
            talk.say("what is finished was kept; --resume goes on with it")
        raise
    return Outcome(document=packing_document(packing), view=packing_view(packing))


COMMAND = Command(name="data pack", config=PackConfig, run=run, positional=("source",))
