"""The trained model as a folder that every tool of the Hugging Face world reads.

It is read from a checkpoint, so that it comes out the same for every layout.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from deepseek.outputs import staged
from deepseek.training.checkpoint.load import load_tensors, saved_sizes
from deepseek.training.quiet import quiet_transformers

__all__ = ["export_model"]


def export_model(
    model: nn.Module,
    checkpoint: Path,
    dest: Path,
    *,
    tokenizer: Path | None,
    report: dict[str, Any],
) -> None:
    """Write the model of a checkpoint to ``dest``, replacing what we wrote there before.

    The running average is taken where the checkpoint has one.

    Args:
        model: The architecture; its weights are overwritten.
        checkpoint: A complete checkpoint of it.
        dest: The folder.
        tokenizer: A folder whose files are copied along.
        report: What ``report.json`` says.
    """
    _fill(model, checkpoint)
    with staged(dest, overwrite=True) as folder:
        folder.mkdir()
        if tokenizer is not None:
            for file in sorted(tokenizer.iterdir()):
                shutil.copyfile(file, folder / file.name)
        if isinstance(model, PreTrainedModel):
            with quiet_transformers():
                model.save_pretrained(folder)
        else:
            _save_plain(model, folder)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")


def _fill(model: nn.Module, checkpoint: Path) -> None:
    saved = saved_sizes(checkpoint)
    sections: dict[str, dict[str, torch.Tensor]] = {"average": {}, "model": {}}
    for name, tensor in model.state_dict().items():
        section = "average" if f"average.{name}" in saved else "model"
        sections[section][name] = tensor
    load_tensors(checkpoint, sections, alone=True)


def _save_plain(model: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_model

    save_model(model, str(folder / "model.safetensors"))
