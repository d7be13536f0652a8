"""``deepseek data inspect``: what a packed data set holds, and whether it is whole."""

from deepseek.data.config import InspectConfig
from ds_cli.command import Command
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: InspectConfig, talk: Talk) -> Outcome:
    """Say what a packed data set holds, and show some records.

    --verify reads everything; damage ends in exit code 1.
    """
    from deepseek.data.inspection import inspect
    from ds_cli.views.inspection import inspection_document, inspection_view

    with talk.progress() as progress:
        inspection = inspect(config, progress=progress)
    return Outcome(
        document=inspection_document(inspection),
        view=inspection_view(inspection),
        passed=not inspection.damages,
    )


COMMAND = Command(name="data inspect", config=InspectConfig, run=run, positional=("path",))
