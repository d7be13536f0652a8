"""What ``deepseek convert`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.errors import InputError
from deepseek.formats.rename import rules_of
from deepseek.formats.source import named_checkpoint
from deepseek.units import parse_bytes, parse_share

__all__ = ["MAX_OPSET", "MIN_OPSET", "ConvertConfig"]

MIN_OPSET = 14  # the first with the operators that attention needs
MAX_OPSET = 23  # the last that torch 2.13 exports


@dataclass(kw_only=True, slots=True, frozen=True)
class ConvertConfig:
    """The configuration of a conversion.

    Raises:
        InputError: A number lies outside its range, or two values contradict each other.
    """

    source: Annotated[
        Path,
        "Checkpoint to read: a torch, safetensors, ONNX or GGUF file, or a folder.",
        named_checkpoint,
    ]
    dest: Annotated[
        Path,
        "Output to write: NAME.safetensors, NAME.pt (.pth .bin .ckpt), NAME.onnx, or a folder.",
    ]
    to: Annotated[
        Literal["safetensors", "torch", "hf", "onnx"] | None,
        "Format to write. By default the ending of DEST says it; no ending: a Hugging Face folder.",
    ] = None
    dtype: Annotated[
        Literal["keep", "fp32", "fp16", "bf16"],
        "Type of the floating-point tensors written; integers are left alone.",
    ] = "keep"
    shard_size: Annotated[
        int | None, "Largest size of one safetensors file in a folder.", parse_bytes
    ] = None
    opset: Annotated[
        int | None, f"ONNX operator set, {MIN_OPSET} to {MAX_OPSET}; 20 by default."
    ] = None
    map: Annotated[
        tuple[str, ...],
        "Rename tensors: OLD=NEW for a prefix, re:PATTERN=NEW for a regular expression; "
        "repeatable.",
    ] = ()
    model_config: Annotated[
        Path | None, "A config.json to use instead of the one beside the weights."
    ] = None
    tokenizer: Annotated[
        Path | None, "Folder with the tokenizer files to take into a Hugging Face folder."
    ] = None
    allow_global: Annotated[
        tuple[str, ...], "A name (module.name) that a pickle may mention; repeatable."
    ] = ()
    max_error: Annotated[
        float | None,
        "Largest accepted error of ONNX outputs, as a share of the largest output "
        "(fp32: 0.01%, fp16: 2%).",
        parse_share,
    ] = None
    allow_mismatch: Annotated[
        bool, "Keep the output even when it differs from the source; the exit code is still 1."
    ] = False
    dry_run: Annotated[bool, "List what would be written, and write nothing."] = False
    overwrite: Annotated[bool, "Replace an output that exists already."] = False

    def __post_init__(self) -> None:
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise InputError(f"expected --opset {MIN_OPSET} to {MAX_OPSET}, got {self.opset}")
        rules_of(self.map)
        if self.shard_size is not None and self.shard_size <= 0:
            raise InputError(f"expected --shard_size above zero, got {self.shard_size}")
