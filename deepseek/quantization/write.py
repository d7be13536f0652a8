"""The folder of a quantized model, as this toolkit and transformers load it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from deepseek.errors import InputError
from deepseek.formats.casting import pieces
from deepseek.formats.checkpoint import TensorInfo
from deepseek.formats.compressed_tensors import quantization_config
from deepseek.formats.scheme import is_linear
from deepseek.formats.writers.safetensors_file import write_safetensors
from deepseek.quantization.inputs.random import RANDOM
from deepseek.quantization.page.page import render_page
from deepseek.quantization.report import Report

__all__ = ["stamp", "write_folder", "write_reports"]

_SENTENCES = 3  # dimensions of [texts, tokens, features]


def write_folder(
    folder: Path,
    model: nn.Module,
    report: Report,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Write ``config.json``, ``model.safetensors``, the reports and the tokenizer.

    Args:
        folder: Where; nothing is there yet.
        model: The quantized model, with the configuration of its architecture.
        report: What was done to it.
        tokenizer: The tokenizer that goes with it.

    Raises:
        InputError: The model has no configuration to write.
    """
    settings = getattr(model, "config", None)
    if not hasattr(settings, "to_diff_dict"):
        raise InputError(
            f"expected a model with a configuration to write, found {type(model).__name__} without"
        )
    folder.mkdir()
    _write_json(folder / "config.json", _configuration(model, report))
    _write_tensors(folder / "model.safetensors", _tensors(model), stamp(report))
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        generation.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    write_reports(report, folder / "report.json", folder / "report.html")


def write_reports(report: Report, as_json: Path, as_page: Path) -> None:
    """Write a report for programs and one for people."""
    document = report.to_document()
    _write_json(as_json, document)
    as_page.write_text(render_page(document), encoding="utf-8")


def _configuration(model: nn.Module, report: Report) -> dict[str, Any]:
    rows = {
        layer.name: layer.in_features
        for layer in report.layers
        if layer.input_rank not in (_SENTENCES, None)
    }
    left_alone = [
        layer.name for layer in report.left_alone if is_linear(model.get_submodule(layer.name))
    ]
    conv1d = [layer.name for layer in report.layers if layer.kind == "Conv1D"]
    settings: Any = model.config
    return {
        **settings.to_diff_dict(),
        "architectures": [type(model).__name__],
        "dtype": str(_float_type(model)).removeprefix("torch."),
        "quantization_config": quantization_config(model, rows, left_alone, conv1d),
    }


def _float_type(model: nn.Module) -> torch.dtype:
    tensors: dict[str, Tensor] = model.state_dict()
    return next(t.dtype for t in tensors.values() if t.dtype.is_floating_point)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors by name; those that the architecture ties are written under one name."""
    tied = getattr(model, "all_tied_weights_keys", {})  # scales are written: transformers asks
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def stamp(report: Report) -> dict[str, str]:
    """What must be known of the tensors wherever they go."""
    made_up = report.source is not None and report.source.calib_data == RANDOM
    return {"format": "pt"} | ({"calib_data": RANDOM} if made_up else {})


def _write_tensors(path: Path, tensors: dict[str, Tensor], stamp: dict[str, str]) -> None:
    infos = {n: TensorInfo(shape=tuple(t.shape), dtype=t.dtype) for n, t in tensors.items()}
    write_safetensors(path, infos, lambda name: pieces(tensors[name]), stamp)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
