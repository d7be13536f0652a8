"""Where a program comes from: a file, or a model in torch that is exported and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PretrainedConfig

from deepseek.errors import GateError, InputError
from deepseek.formats.config_file import read_config
from deepseek.formats.exporting.compare import Limits, compare_outputs
from deepseek.formats.exporting.program import export, save
from deepseek.formats.exporting.signature import signature_of
from deepseek.formats.model import LoadedModel
from deepseek.formats.open import open_checkpoint
from deepseek.formats.tokenizers import load_tokenizer
from deepseek.progress import Progress
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.onnx.module import OnnxModule

__all__ = ["export_checked", "load_program"]

_OPSET = 20
_LIMITS = Limits(error=1e-3, cosine=0.9999)


def export_checked(model: nn.Module, architecture: str, dest: Path, progress: Progress) -> None:
    """Export a model, and hold the program against it at sizes it was not made with.

    Args:
        model: In float32.
        architecture: Its name.
        dest: The program to write.
        progress: Told of what is compared.

    Raises:
        InputError: The model cannot be exported.
        GateError: The program computes something else.
    """
    signature = signature_of(model, architecture)
    progress("exporting", 0, 1)
    save(export(model, signature, architecture, _OPSET), dest)
    progress("exporting", 1, 1)
    _, failures = compare_outputs(model, signature, dest, _LIMITS, progress)
    if failures:
        raise GateError(f"the ONNX program of {architecture} is not equal to it: {failures[0]}")


@dataclass(frozen=True, slots=True)
class _Guess:
    """A model that nobody described, by its program."""

    architecture: str
    labels: int


def load_program(config: QuantizeFilesConfig) -> LoadedModel:
    """A program, with the configuration and the tokenizer that lie beside it.

    Raises:
        InputError: It cannot be read or run.
    """
    path = config.model
    checkpoint = open_checkpoint(path, config=config.model_config)
    notes: list[str] = list(checkpoint.notes)
    beside = config.model_config or path.with_name("config.json")
    settings: PretrainedConfig | None = None
    if beside.exists():
        settings = AutoConfig.for_model(**read_config(beside))
    architecture = next(iter(getattr(settings, "architectures", None) or ()), "")
    model = OnnxModule(path, settings or PretrainedConfig(), architecture)
    if not architecture:
        guess = _guess(model)
        model.architecture = architecture = guess.architecture
        if guess.labels:
            model.config.num_labels = guess.labels
        notes.append(f"no config.json beside it: taken for a model of kind {architecture}")
    tokenizer = load_tokenizer(config.tokenizer or path.parent, model.config)
    return LoadedModel(
        model=model,
        config=model.config,
        architecture=architecture,
        tokenizer=tokenizer,
        checkpoint=checkpoint,
        notes=tuple(notes),
    )


def _guess(model: OnnxModule) -> _Guess:
    """What a program does, by the shapes of its inputs and outputs."""
    inputs, output = model.shapes()
    pictures = len(inputs[0]) == 4  # [B C H W]
    if len(output) == 2:
        kind = "ImageClassification" if pictures else "SequenceClassification"
        return _Guess(f"ProgramFor{kind}", _whole(output[-1]))
    if pictures:
        raise InputError(
            f"expected a program that tells classes of pictures, found an output of {len(output)} "
            "dimensions"
        )
    return _Guess("Program", 0)


def _whole(size: Any) -> int:
    return size if isinstance(size, int) else 0
