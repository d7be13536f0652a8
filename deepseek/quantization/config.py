"""What ``deepseek quantize`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.errors import InputError
from deepseek.formats.source import named_checkpoint
from deepseek.quantization.formats import format_of
from deepseek.quantization.options import MethodOptions
from deepseek.units import parse_seconds, parse_share

__all__ = ["QuantizeConfig", "QuantizeFilesConfig"]


@dataclass(kw_only=True, slots=True, frozen=True)
class QuantizeConfig(MethodOptions):
    """How to quantize a model, and how much it may lose.

    Raises:
        InputError: A number lies outside its range.
    """

    method: Annotated[
        Literal["dynamic_range", "static", "smooth", "weight_only", "auto"],
        "dynamic_range: INT8 weights with a scale per channel, activations rounded per token "
        "at run time, over the range of the token. static: activations rounded by a range found "
        "on calibration data. smooth: either, after scales have moved from norms into weights. "
        "weight_only: weights of 8 or 4 bits in groups, "
        "activations as they are. auto: tries all and keeps the best.",
    ] = "dynamic_range"
    metric: Annotated[
        Literal[
            "auto",
            "accuracy",
            "next_token_accuracy",
            "f1",
            "spearman",
            "agreement",
            "cosine",
            "kl",
            "perplexity",
        ],
        "What is measured. auto: accuracy (spearman for scores) where there are labels, else "
        "agreement with the original, of next tokens with the text, or the cosine of embeddings.",
    ] = "auto"
    max_drop: Annotated[
        float,
        "Largest accepted loss; the upper end of its 95 % interval is held against it. "
        "Of perplexity a share, of kl nats.",
        parse_share,
    ] = 0.005
    search: Annotated[
        Literal["auto", "always", "never"],
        "Layers return to floating point, found by a search on calibration data. auto: where the "
        "whole model misses the budget there. always: measures every layer in any case.",
    ] = "auto"
    smallest: Annotated[
        bool, "Quantize for size: layers too that are not faster in INT8 on this machine."
    ] = False
    time_budget: Annotated[
        float, "Time for the search; then the best so far is judged.", parse_seconds
    ] = 600.0
    seed: Annotated[int, "Seed of the sample and of the confidence interval."] = 0

    def __post_init__(self) -> None:
        MethodOptions.__post_init__(self)
        self.refuse_unused(self.method)
        if self.seed < 0:
            raise InputError(f"expected --seed of 0 or more, got {self.seed}")
        if self.time_budget <= 0:
            raise InputError(f"expected --time_budget above 0 s, got {self.time_budget:g} s")


@dataclass(kw_only=True, slots=True, frozen=True)
class QuantizeFilesConfig(QuantizeConfig):
    """The same from files to a folder.

    Raises:
        InputError: A number lies outside its range.
    """

    model: Annotated[
        Path,
        "Checkpoint to quantize: a torch or safetensors file, a folder, or a program: .onnx.",
        named_checkpoint,
    ]
    calib_data: Annotated[
        Path,
        "Folder (or file) of texts, perhaps with labels: .jsonl, .csv, .tsv, .txt, .parquet; of "
        "images in class folders; of arrays: .npy, .npz. random: made-up inputs. "
        "What is named test or validation is held out to measure on; else a part of the texts is.",
    ]
    output: Annotated[Path, "Folder to write; or NAME.onnx."]
    format: Annotated[
        Literal["hf", "onnx"] | None,
        "hf: a folder for this toolkit and transformers. onnx: a program for ONNX Runtime, which "
        "quantizes and measures it. By default as the ending of --output or --model says.",
    ] = None
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
    resume: Annotated[bool, "Go on with a search that was interrupted."] = False
    overwrite: Annotated[bool, "Replace an output that exists already."] = False

    def __post_init__(self) -> None:
        # Zero-argument super() finds no class here: slots=True builds a second one.
        QuantizeConfig.__post_init__(self)
        format_of(self.format, self.model, self.output)
        for name in ("samples", "batch_size", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"expected --{name} of 1 or more, got {value}")
        if not 0 < self.held_out < 1:
            raise InputError(f"expected --held_out between 0% and 100%, got {self.held_out:.0%}")
