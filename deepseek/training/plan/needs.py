"""The memory of each process, by what it is for."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from deepseek.distributed import split
from deepseek.distributed.layout import SHARDED, Layout
from deepseek.distributed.schedules import parts_of, stage_count
from deepseek.training.checkpoint.pieces import PIECE
from deepseek.training.config import TrainConfig
from deepseek.training.layout import Share
from deepseek.training.plan.ledger import Ledger
from deepseek.training.plan.simulate import Pass, simulate
from deepseek.training.tasks import Batch

__all__ = ["Memory", "Needs", "needs_of"]

# Between tensors glibc keeps memory that nobody uses: of the activations of the default model 24 %
# at 32 records and 31 % at 8 on a Zen 3, almost none at 32 on a Sapphire Rapids. With thresholds
# fixed it keeps none, but every step asks anew. The share is the middle of what machines keep.
_ALLOCATOR = 0.12

_STATES = {"adamw": 2, "sgd": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of one process.

    Attributes:
        program: Python, torch and transformers, and what a first step makes them allocate.
        weights: Parameters and buffers.
        gradients: One for each weight that is trained.
        optimizer: What the optimizer remembers.
        average: The running average of the weights.
        exchange: Buffers in which weights and gradients travel.
        activations: What a step keeps for its backward pass, at its highest.
        allocator: What the allocator of the C library holds without use.
        checkpoint: The copy that is written in the background, and the file that is put together.
    """

    program: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    exchange: int
    activations: int
    allocator: int
    checkpoint: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a run needs of its processes.

    Attributes:
        parameters: Of the whole model.
        memory: Of the process that needs most.
        crossing: Bytes that one micro-batch sends from one stage to the next.
        micro_batches: In a step.
    """

    parameters: int
    memory: Memory
    crossing: int
    micro_batches: int


@dataclass(frozen=True, slots=True)
class _Held:
    """One process's part of the model, and what passes through it."""

    modules: Sequence[nn.Module]
    passes: Sequence[Pass]
    in_flight: int


def needs_of(
    make_model: Callable[[], nn.Module],
    batch: Batch,
    config: TrainConfig,
    layout: Layout,
    share: Share,
    program: int,
) -> Needs:
    """Simulate a micro-batch on every stage and add up what its process holds.

    Args:
        make_model: Builds the model; called where tensors are fake.
        batch: One micro-batch.
        config: The run.
        layout: Its processes.
        share: What each takes of a batch.
        program: Bytes of a process that has done nothing yet.
    """
    with (
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True) as fake,
        Ledger() as ledger,
    ):
        # Stages are told apart by the addresses of tensors, which fake ones do not have.
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        model = make_model()
        model.train()
        parameters = sum(p.numel() for p in model.parameters())
        inputs = {name: fake.from_tensor(tensor) for name, tensor in batch.inputs.items()}
        labels = fake.from_tensor(batch.labels)
        places = _on_each_place(model, ledger, inputs, labels, config, layout, share)
        memories = [_memory(held, config, layout, program) for held in places]
        crossing = places[0].passes[0].output.nbytes if layout.stages > 1 else 0
    return Needs(
        parameters=parameters,
        memory=max(memories, key=lambda memory: memory.total),
        crossing=crossing,
        micro_batches=share.parts,
    )


def _on_each_place(
    model: nn.Module,
    ledger: Ledger,
    inputs: Mapping[str, torch.Tensor],
    labels: torch.Tensor,
    config: TrainConfig,
    layout: Layout,
    share: Share,
) -> list[_Held]:
    if layout.stages == 1:
        passed = simulate(model, ledger, inputs, labels=labels, precision=config.precision)
        return [_Held([model], [passed], 1)]
    schedule = config.pipeline_schedule
    count = stage_count(schedule, layout.stages)
    stages, passes, hidden = split(model, count), [], None
    for number, stage in enumerate(stages):
        passed = simulate(
            stage,
            ledger,
            inputs,
            labels=labels if number == count - 1 else None,
            hidden=hidden,
            precision=config.precision,
        )
        passes.append(passed)
        hidden = passed.output
    held = []
    for place in range(layout.stages):
        own = parts_of(schedule, place, layout.stages)
        in_flight = _in_flight(schedule, place, layout.stages, share.parts)
        held.append(_Held([stages[i] for i in own], [passes[i] for i in own], in_flight))
    return held


def _in_flight(schedule: str, place: int, stages: int, micro_batches: int) -> int:
    """Micro-batches whose activations a process holds at once, in torch's schedules."""
    most = {
        "1f1b": stages - place,
        "interleaved": 2 * (stages - place - 1) + 1,
        "interleaved_zero_bubble": 2 * (stages - place - 1) + 1,
        "zbv": stages,
        "dualpipev": 2 * stages,
    }
    return min(micro_batches, most.get(schedule, micro_batches))


def _memory(held: _Held, config: TrainConfig, layout: Layout, program: int) -> Memory:
    own = {id(t): t for module in held.modules for t in (*module.parameters(), *module.buffers())}
    weights = sum(t.nbytes for t in own.values())
    trained = sum(t.nbytes for t in own.values() if t.requires_grad)
    sharded = config.shard_strategy in SHARDED
    shards = layout.shards if sharded else 1
    owners = layout.replicas if config.shard_strategy == "optimizer" else shards
    optimizer = _STATES[config.optimizer.name] * trained // owners
    average = trained // shards if config.ema else 0
    local = weights // shards
    saved = local + optimizer + average
    largest = max((t.nbytes for t in own.values()), default=0) // shards
    kept = sum(passed.kept for passed in held.passes)
    activations = (held.in_flight - 1) * kept + max(
        kept - passed.kept + passed.peak for passed in held.passes
    )
    return Memory(
        program=program,
        weights=local,
        gradients=trained // shards,
        optimizer=optimizer,
        average=average,
        exchange=_exchange(held.modules, config, shards, weights),
        activations=activations,
        allocator=int(_ALLOCATOR * activations) if config.device != "cuda" else 0,
        checkpoint=saved + 2 * min(saved, max(PIECE, largest)),
    )


def _exchange(modules: Sequence[nn.Module], config: TrainConfig, shards: int, weights: int) -> int:
    """Whole weights while they are used, and a block's gradients on their way."""
    if shards == 1:
        return 0
    largest = max(
        (sum(p.nbytes for p in block.parameters()) for module in modules
         for part in module.modules() if isinstance(part, nn.ModuleList) for block in part),
        default=weights,
    )  # fmt: skip
    whole = weights if config.shard_strategy == "gradient" else 2 * largest
    return whole + 2 * largest
