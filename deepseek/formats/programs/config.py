"""What ``deepseek compile`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.formats.source import named_checkpoint
from deepseek.units import parse_share

__all__ = ["CompileConfig"]


@dataclass(kw_only=True, slots=True, frozen=True)
class CompileConfig:
    """The configuration of a compilation."""

    model: Annotated[
        Path, "Checkpoint to read: a file, a folder, or a name on the hub.", named_checkpoint
    ]
    output: Annotated[Path, "Folder to write the program into."]
    precision: Annotated[
        Literal["fp32", "bf16", "int8"],
        "How linear layers compute: as they are, in bf16, or with INT8 weights and activations.",
    ] = "fp32"
    max_error: Annotated[
        float | None,
        "Largest accepted error of outputs, as a share of the largest "
        "(fp32: 0.01%, bf16: 5%, int8: 25%).",
        parse_share,
    ] = None
    model_config: Annotated[
        Path | None, "A config.json to use instead of the one beside the weights."
    ] = None
    allow_global: Annotated[
        tuple[str, ...], "A name (module.name) that a pickle may mention; repeatable."
    ] = ()
    allow_mismatch: Annotated[
        bool, "Keep the program even when it differs from the model; the exit code is still 1."
    ] = False
    trace: Annotated[
        Path | None, "File to write a trace of one run into, for chrome://tracing or Perfetto."
    ] = None
    overwrite: Annotated[bool, "Replace an output that exists already."] = False
