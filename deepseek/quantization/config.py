"""What ``deepseek quantize`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.errors import InputError
from deepseek.quantization.options import MethodOptions
from deepseek.units import parse_share

__all__ = ["QuantizeConfig", "QuantizeFilesConfig"]


@dataclass(kw_only=True, slots=True, frozen=True)
class QuantizeConfig(MethodOptions):
    """How to quantize a model, and how much it may lose.

    Raises:
        InputError: A number lies outside its range.
    """

    method: Annotated[
        Literal["dynamic_range", "static", "smooth", "weight_only"],
        "dynamic_range: INT8 weights with a scale per channel, activations rounded per token "
        "at run time, over the range of the token. static: activations rounded by a range found "
        "on calibration data. smooth: either, after scales have moved from norms into weights. "
        "weight_only: weights of 8 or 4 bits in groups, "
        "activations as they are.",
    ] = "dynamic_range"
    max_drop: Annotated[
        float,
        "Largest accepted loss: of accuracy where there are labels, else of agreement with the "
        "original, or of the cosine of embeddings.",
        parse_share,
    ] = 0.005
    seed: Annotated[int, "Seed of the sample and of the confidence interval."] = 0

    def __post_init__(self) -> None:
        MethodOptions.__post_init__(self)
        if self.seed < 0:
            raise InputError(f"expected --seed of 0 or more, got {self.seed}")


@dataclass(kw_only=True, slots=True, frozen=True)
class QuantizeFilesConfig(QuantizeConfig):
    """The same from files to a folder.

    Raises:
        InputError: A number lies outside its range.
    """

    model: Annotated[Path, "Checkpoint to quantize: a torch or safetensors file, or a folder."]
    calib_data: Annotated[
        Path,
        "Folder (or file) of texts, perhaps with labels: .jsonl, .csv, .tsv, .txt, .parquet. "
        "What is named test or validation is held out to measure on; else a part of the texts is.",
    ]
    output: Annotated[Path, "Folder to write."]
    text_column: Annotated[str | None, "Column of the text, where its name does not tell."] = None
    label_column: Annotated[str | None, "Column of the label, where its name does not tell."] = None
    held_out: Annotated[
        float, "Share of the texts held out where no file is named for it.", parse_share
    ] = 0.5
    samples: Annotated[int, "Texts used at most, to calibrate and to measure on."] = 2500
    batch_size: Annotated[int, "Texts that go through the model together."] = 16
    max_length: Annotated[
        int | None, "Tokens of a text at most; by default what the model takes."
    ] = None
    model_config: Annotated[
        Path | None, "A config.json to use instead of the one beside the weights."
    ] = None
    tokenizer: Annotated[
        Path | None, "Folder with the tokenizer, where it does not lie beside the weights."
    ] = None
    allow_global: Annotated[
        tuple[str, ...], "A name (module.name) that a pickle may mention; repeatable."
    ] = ()
    allow_drop: Annotated[
        bool, "Keep the output even when it loses too much; the exit code is still 1."
    ] = False
    overwrite: Annotated[bool, "Replace an output that exists already."] = False

    def __post_init__(self) -> None:
        # Zero-argument super() finds no class here: slots=True builds a second one.
        QuantizeConfig.__post_init__(self)
        for name in ("samples", "batch_size", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"expected --{name} of 1 or more, got {value}")
        if not 0 < self.held_out < 1:
            raise InputError(f"expected --held_out between 0% and 100%, got {self.held_out:.0%}")
