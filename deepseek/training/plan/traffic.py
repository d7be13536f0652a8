"""Bytes that a process sends in a step.

Measured between four hosts, in bytes of the model's parameters: 1.50 for gradients summed by a
ring; sharded strategies reduce by an all-to-all at ``wire`` precision (0.75 at fp32, 0.38 at bf16)
and gather weights once (``gradient``) or twice (``full``), 0.75 each.
"""

from dataclasses import dataclass

from deepseek.distributed.layout import SHARDED, Layout, Strategy, Wire

__all__ = ["Traffic", "traffic_of"]

_FLOAT = 4
_WIRE_BYTES: dict[Wire, int] = {"fp32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Bytes that one process sends in a step.

    Attributes:
        gradients: To add them up.
        weights: To have them whole.
        stages: Activations and their gradients, between stages.
    """

    gradients: int
    weights: int
    stages: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.gradients + self.weights + self.stages


def traffic_of(
    parameters: int,
    layout: Layout,
    strategy: Strategy,
    wire: Wire,
    *,
    crossing: int,
    micro_batches: int,
) -> Traffic:
    """What a process of a layout sends.

    Args:
        parameters: Of the whole model; stages share them.
        layout: The processes.
        strategy: What is sharded.
        wire: The precision of gradients on their way.
        crossing: Bytes that a micro-batch sends from a stage to the next.
        micro_batches: In a step.
    """
    own = parameters // layout.stages
    between = 2 * crossing * micro_batches if layout.stages > 1 else 0
    if strategy not in SHARDED:
        ring = 2 * _others(layout.replicas) * own * _FLOAT
        gathered = _others(layout.replicas) * own * _FLOAT if strategy == "optimizer" else 0
        return Traffic(gradients=int(ring), weights=int(gathered), stages=between)
    times = 1 if strategy == "gradient" else 2
    reduced = _others(layout.shards) * own * _WIRE_BYTES[wire]
    between_groups = 2 * _others(layout.replicas) * own / layout.shards * _FLOAT
    gathered = times * _others(layout.shards) * own * _FLOAT
    return Traffic(gradients=int(reduced + between_groups), weights=int(gathered), stages=between)


def _others(processes: int) -> float:
    return (processes - 1) / processes
