"""``deepseek quantize``: a checkpoint and texts in, an INT8 folder and a verdict out."""

from pathlib import Path

from deepseek.quantization.config import QuantizeFilesConfig
from ds_cli.command import Command, Instead
from ds_cli.console import Talk
from ds_cli.outcome import Outcome

__all__ = ["COMMAND"]


def run(config: QuantizeFilesConfig, talk: Talk) -> Outcome:
    """Shrink a model to INT8 or less within an accuracy budget.

    Linear layers get INT8 weights and round their activations as they run, or
    what else --method says; norms are left alone, embeddings without
    --embeddings. The loss is measured on held-out texts:
    accuracy where they have labels, else agreement with the original, or the
    cosine of embeddings. The folder is written when the loss is within
    --max_drop; when it is not, the exit code is 1.

    deepseek quantize --model bert.ckpt --calib_data ./dataset --output int8
    """
    from deepseek.quantization.quantize_files import quantize_files
    from ds_cli.views.quantize import show

    with talk.progress() as progress:
        report = quantize_files(config, progress)
    return Outcome(document=report.to_document(), view=show(report), passed=report.quality.passed)


def compare(paths: tuple[Path, Path], talk: Talk) -> Outcome:
    """Lay two reports side by side."""
    del talk
    from deepseek.quantization.side_by_side import lay_side_by_side
    from ds_cli.views.side_by_side import show

    document = lay_side_by_side(*paths)
    return Outcome(document=document, view=show(document))


COMMAND = Command(
    name="quantize",
    config=QuantizeFilesConfig,
    run=run,
    instead=Instead(
        flag="compare", help="Lay two reports side by side, and do nothing else.", run=compare
    ),
)
