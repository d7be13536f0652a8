"""The parts that a process trains with, put together."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from deepseek.distributed import Mesh
from deepseek.training.average import WeightAverage
from deepseek.training.checkpoint.save import CheckpointWriter
from deepseek.training.data.records import Records
from deepseek.training.data.stream import Stream
from deepseek.training.engine import Engine
from deepseek.training.exchange import Exchange
from deepseek.training.metrics import Metrics
from deepseek.training.signals import StopRequest

__all__ = ["Rig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """What the loop works with; every part knows its own layout.

    Attributes:
        engine: Learns from a batch.
        optimizer: Moves the weights.
        average: Follows them.
        stream: Gives batches.
        held_out: What is judged on.
        writer: Saves.
        exchange: Adds up over processes.
        metrics: Where rows go.
        stop: Whether somebody asked for an end.
        mesh: Where this process stands.
        keeping: The context that says where activations wait for their backward pass.
    """

    engine: Engine
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    stream: Stream
    held_out: Records
    writer: CheckpointWriter
    exchange: Exchange
    metrics: Metrics
    stop: StopRequest
    mesh: Mesh
    keeping: Callable[[], AbstractContextManager[None]] = nullcontext
