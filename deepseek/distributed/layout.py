"""How processes are laid out: so many replicas, each of so many shards, each a row of stages.

Everything a user can choose is named here, and checked here before any process starts. Imports no
torch, so that a configuration may use these names.
"""

from dataclasses import dataclass
from math import isqrt
from typing import Literal, Self, get_args

from deepseek.errors import InputError

__all__ = ["SHARDED", "Layout", "Schedule", "Strategy", "Wire", "check_wire"]

Strategy = Literal["none", "optimizer", "gradient", "full", "hybrid"]
"""What is kept in shards: nothing, the optimiser's state, gradients too, parameters too; hybrid
shards fully within a group and replicates the groups."""

Wire = Literal["fp32", "bf16", "int8"]
"""The precision in which gradients travel."""

Schedule = Literal[
    "gpipe", "1f1b", "interleaved", "bfs", "interleaved_zero_bubble", "zbv", "dualpipev"
]
"""In which order a stage runs the forward and backward passes of its micro-batches."""

SHARDED: frozenset[Strategy] = frozenset({"gradient", "full", "hybrid"})


def _divisors(number: int) -> list[int]:
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def _listing(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class Layout:
    """Processes as a box of ``stages`` x ``replicas`` x ``shards``.

    Attributes:
        replicas: Copies of the model that see different data and are kept equal.
        shards: Processes that share one copy: each keeps a part of its parameters.
        stages: Parts of the model, one after the other, each on other processes.
    """

    replicas: int = 1
    shards: int = 1
    stages: int = 1

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.replicas * self.shards * self.stages

    @property
    def data_size(self) -> int:
        """Processes (or columns of stages) that see different data: the batch is divided by it."""
        return self.replicas * self.shards

    @classmethod
    def of(
        cls,
        world_size: int,
        strategy: Strategy = "none",
        pipeline_stages: int = 1,
        *,
        shards: int | None = None,
    ) -> Self:
        """The layout of ``world_size`` processes for a strategy.

        Args:
            world_size: Processes in all.
            strategy: What is sharded.
            pipeline_stages: Parts of the model that run one after the other.
            shards: With ``hybrid``, the processes that share one copy of the model: those of one
                host, usually. The largest divisor below the square root by default.

        Raises:
            InputError: The processes cannot be divided so; the hint names the nearest that works.
        """
        if strategy not in get_args(Strategy):
            raise InputError(
                f"expected a sharding strategy, got {strategy!r}",
                hint=f"one of {', '.join(get_args(Strategy))}",
            )
        if world_size < 1 or pipeline_stages < 1:
            raise InputError(
                "expected at least one process and one pipeline stage, got "
                f"{world_size} processes and {pipeline_stages} stages"
            )
        if world_size % pipeline_stages:
            raise InputError(
                "expected a number of processes that the pipeline stages divide, got "
                f"{world_size} processes and {pipeline_stages} stages",
                hint=_nearest(world_size, pipeline_stages),
            )
        data = world_size // pipeline_stages
        if shards is not None and strategy != "hybrid":
            raise InputError(
                f"expected the hybrid strategy with a number of shards, got {strategy!r}"
            )
        if strategy not in SHARDED:
            return cls(replicas=data, stages=pipeline_stages)
        if strategy != "hybrid":
            return cls(shards=data, stages=pipeline_stages)
        if shards is None:
            shards = data // max(d for d in _divisors(data) if d <= isqrt(data))
        if shards < 1 or data % shards:
            raise InputError(
                f"expected shards that divide the {data} processes of a stage, got {shards}",
                hint=f"use {_listing(_divisors(data))} shards",
            )
        return cls(replicas=data // shards, shards=shards, stages=pipeline_stages)


def _nearest(world_size: int, stages: int) -> str:
    fewer = max(d for d in _divisors(world_size) if d < stages or d == 1)
    more = [d for d in _divisors(world_size) if d > stages][:1]
    below, above = world_size // stages * stages, -(-world_size // stages) * stages
    processes = _listing([count for count in (below, above) if count])
    return f"use {_listing([fewer, *more])} stages, or {processes} processes"


def check_wire(strategy: Strategy, wire: Wire) -> None:
    """Refuse a wire precision where the strategy has no exchange of ours.

    Raises:
        InputError: ``none`` and ``optimizer`` reduce gradients in fp32 only.
    """
    if wire not in get_args(Wire):
        raise InputError(
            f"expected a wire precision, got {wire!r}", hint=f"one of {', '.join(get_args(Wire))}"
        )
    if wire != "fp32" and strategy not in SHARDED:
        raise InputError(
            f"expected a sharded strategy with wire precision {wire}, got {strategy!r}",
            hint=f"use one of {', '.join(s for s in get_args(Strategy) if s in SHARDED)}",
        )
