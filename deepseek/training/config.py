"""What a training run is told. Importing this costs nothing: no torch, no transformers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.distributed.layout import SHARDED, Schedule, Strategy, Wire, check_wire
from deepseek.errors import InputError
from deepseek.units import parse_share

__all__ = ["OptimizerConfig", "ScheduleConfig", "TrainConfig"]

_FEWEST = {"none": 1, "optimizer": 2, "gradient": 2, "full": 2, "hybrid": 4}


def _positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise InputError(f"expected --{name} above 0, got {value}")


@dataclass(kw_only=True, slots=True, frozen=True)
class OptimizerConfig:
    """How gradients become steps."""

    name: Annotated[Literal["adamw", "sgd"], "Which optimizer."] = "adamw"
    lr: Annotated[float, "Learning rate at its highest."] = 1e-3
    weight_decay: Annotated[float, "Decay of matrices; biases and norms are spared."] = 0.1
    beta1: Annotated[float, "AdamW: memory of the gradient."] = 0.9
    beta2: Annotated[float, "AdamW: memory of its square."] = 0.95
    eps: Annotated[float, "AdamW: added to the root of the square."] = 1e-8
    momentum: Annotated[float, "SGD: memory of the gradient."] = 0.9
    clip: Annotated[float, "Largest norm of the gradient; 0 does not clip."] = 1.0
    kernel: Annotated[
        Literal["auto", "fused", "foreach", "plain"], "How the update is computed."
    ] = "auto"

    def __post_init__(self) -> None:
        _positive(**{"optimizer.lr": self.lr, "optimizer.eps": self.eps})
        for key in ("beta1", "beta2", "momentum"):
            if not 0.0 <= getattr(self, key) < 1.0:
                raise InputError(f"expected --optimizer.{key} in [0, 1), got {getattr(self, key)}")
        for key in ("weight_decay", "clip"):
            if getattr(self, key) < 0.0:
                raise InputError(
                    f"expected --optimizer.{key} of at least 0, got {getattr(self, key)}"
                )


@dataclass(kw_only=True, slots=True, frozen=True)
class ScheduleConfig:
    """How the learning rate moves."""

    name: Annotated[Literal["cosine", "linear", "constant"], "Its shape after the warm-up."] = (
        "cosine"
    )
    warmup: Annotated[float, "Share of the steps that lead up to it.", parse_share] = 0.1
    floor: Annotated[float, "Where it ends, as a share of the highest.", parse_share] = 0.1


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainConfig:
    """One training run. Left alone it trains a small GPT on the text of Python's own manual."""

    task: Annotated[
        Literal["causal_lm", "masked_lm", "sequence_classification", "image_classification"],
        "What the model learns to predict.",
    ] = "causal_lm"
    model: Annotated[
        str,
        "A checkpoint folder, a configuration (.json, .toml), a type such as gpt2, a preset, "
        "or module:Class of your own.",
    ] = "small_gpt"
    model_options: Annotated[
        tuple[str, ...], "Values of the model's configuration, as key=value; repeatable."
    ] = ()
    data: Annotated[
        str,
        "What to learn from: a file or folder of texts, records or pictures, a packed set, or "
        "topics: the text of Python's own help.",
    ] = "topics"
    eval_data: Annotated[
        str | None, "What to judge on, of the same kind; a share of the data if not given."
    ] = None
    eval_share: Annotated[float, "Share of the data held out to judge on.", parse_share] = 0.05
    tokenizer: Annotated[
        str | None,
        "A folder, `bytes`, or `bpe` learnt from the data; the model's own if it has one.",
    ] = None
    vocabulary: Annotated[int, "Size of a vocabulary that is trained on the data."] = 2048
    sequence_length: Annotated[int, "Tokens in a record."] = 128
    image_size: Annotated[
        int | None,
        "Pixels that pictures are scaled and cropped to; as the model wants them if not given.",
    ] = None
    output: Annotated[
        Path | None, "Folder of the run; the next free runs/MODEL-N if not given."
    ] = None
    overwrite: Annotated[bool, "Replace a run that stands there."] = False
    resume: Annotated[bool, "Go on from the last checkpoint of the run that stands there."] = False

    steps: Annotated[int, "How many times the weights are moved."] = 240
    batch_size: Annotated[int, "Records in a step, over all processes and micro-batches."] = 16
    accumulate: Annotated[
        int | None,
        "Micro-batches of a process; batch_size/256, with a pipeline at least its stages, if not "
        "given.",
    ] = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Annotated[Literal["fp32", "bf16", "fp16"], "What matrix products compute in."] = (
        "fp32"
    )
    compile: Annotated[
        Literal["none", "inductor", "deepseek"],
        "Compiler of the model's blocks: a backend of torch.compile that is installed.",
    ] = "none"
    gradient_checkpointing: Annotated[
        bool, "Compute activations again in the backward pass instead of keeping them."
    ] = False
    offload: Annotated[
        Literal["none", "activations", "parameters"], "What waits in a file instead of in memory."
    ] = "none"
    swap_fraction: Annotated[
        float, "The share of memory that may be in that file.", parse_share
    ] = 0.2
    ema: Annotated[
        float, "Decay of a running average of the weights, which is then what is exported; 0: none."
    ] = 0.0
    seed: Annotated[int, "Decides initial weights, order of records, dropout and masking."] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], "Where to compute."] = "auto"

    nproc: Annotated[
        int | None,
        "Local processes; as few as the layout needs if not given. torchrun overrules it.",
    ] = None
    shard_strategy: Annotated[
        Strategy, "What is kept in shards over the processes that see different data."
    ] = "none"
    wire: Annotated[Wire, "Precision in which sharded gradients travel."] = "fp32"
    pipeline_stages: Annotated[int, "Parts of the model that run one after the other."] = 1
    pipeline_schedule: Annotated[
        Schedule, "In which order a stage runs the passes of its micro-batches."
    ] = "interleaved"
    pipeline_balance: Annotated[
        Literal["weights", "measured"],
        "What stages are cut to have equal amounts of: weights to multiply with, or measured time.",
    ] = "weights"

    eval_every: Annotated[int, "Steps between evaluations; 0 evaluates at the end."] = 40
    patience: Annotated[int, "Evaluations without improvement before it stops; 0: never."] = 0
    log_every: Annotated[int, "Steps between lines of progress."] = 10
    tensorboard: Annotated[bool, "Write metrics for TensorBoard too, into the run's folder."] = (
        False
    )
    checkpoint_every: Annotated[int, "Steps between checkpoints; 0 saves at the end."] = 40
    keep: Annotated[int, "Checkpoints that are kept."] = 2
    plan: Annotated[bool, "Say what the run would need in memory and on the wire, and stop."] = (
        False
    )

    def __post_init__(self) -> None:
        _positive(
            steps=self.steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            sequence_length=self.sequence_length,
            log_every=self.log_every,
            keep=self.keep,
            nproc=self.nproc,
            pipeline_stages=self.pipeline_stages,
        )
        check_wire(self.shard_strategy, self.wire)
        if self.offload == "parameters" and self.shard_strategy in SHARDED:
            raise InputError(
                f"expected --shard_strategy none or optimizer with --offload parameters, got "
                f"{self.shard_strategy}",
                hint="--offload activations goes with every strategy",
            )
        if self.overwrite and self.resume:
            raise InputError("expected --overwrite or --resume, got both")
        if self.resume and self.output is None:
            raise InputError(
                "expected --output with --resume, got none", hint="name the folder of the run"
            )
        if not 0.0 <= self.eval_share <= 0.5:
            raise InputError(f"expected --eval_share of at most 50%, got {self.eval_share:.0%}")
        if not 0.0 <= self.ema < 1.0:
            raise InputError(f"expected --ema in [0, 1), got {self.ema}")

    @property
    def processes(self) -> int:
        """Local processes to start: as asked, or as few as the layout needs."""
        if self.nproc is not None:
            return self.nproc
        return self.pipeline_stages if self.pipeline_stages > 1 else _FEWEST[self.shard_strategy]
