"""What each part of a model costs, and how to cut it so that the dearest stage is cheapest."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepseek.distributed.anatomy import Anatomy, anatomy
from deepseek.distributed.standins import first_of

__all__ = ["Costs", "balance", "estimate_costs", "measure_costs"]

_TIMED_PASSES = 3


@dataclass(frozen=True)
class Costs:
    """Cost of a forward and backward pass by part, in any unit.

    Attributes:
        entrance: Before the first block.
        blocks: Each block.
        exit: After the last block.
    """

    entrance: float
    blocks: tuple[float, ...]
    exit: float


def balance(costs: Costs, stages: int) -> list[int]:
    """Blocks of each stage, at least one, such that the dearest stage is as cheap as can be.

    The entrance is on the first stage, the exit on the last.
    """
    each = list(costs.blocks)
    each[0] += costs.entrance
    each[-1] += costs.exit
    upto = [0.0]
    for cost in each:
        upto.append(upto[-1] + cost)
    count = len(each)
    # best[n] is the cost of the dearest stage, and the sizes, of the first n blocks.
    best = {n: (upto[n], [n]) for n in range(1, count + 1)}
    for stage in range(2, stages + 1):
        best = {
            n: min(
                (max(best[m][0], upto[n] - upto[m]), [*best[m][1], n - m])
                for m in range(stage - 1, n)
            )
            for n in range(stage, count + 1)
        }
    return best[count][1]


def estimate_costs(model: nn.Module, parts: Anatomy | None = None) -> Costs:
    """Costs by the number of weights that are multiplied with: matrices, not looked-up tables."""
    parts = parts or anatomy(model)
    blocks = model.get_submodule(parts.blocks).children()

    def of(*names: str) -> float:
        return float(sum(_weights(model.get_submodule(name)) for name in names))

    return Costs(of(*parts.entrance), tuple(float(_weights(b)) for b in blocks), of(*parts.exit))


def _weights(module: nn.Module) -> int:
    return sum(
        parameter.numel()
        for part in module.modules()
        if not isinstance(part, nn.Embedding)
        for parameter in part.parameters(recurse=False)
        if parameter.ndim > 1
    )


def measure_costs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Costs:
    """Seconds of each part, forward and backward, by the median of three passes.

    In a group, rank 0 measures and all get its figures: cuts must agree. Gradients are left None
    and the state of the random numbers as it was.

    Args:
        model: On the device where it trains.
        inputs: Keyword arguments, a micro-batch.

    Raises:
        InputError: The model has no single list of blocks.
    """
    found: list[Costs | None] = [None]
    if not dist.is_initialized() or dist.get_rank() == 0:
        parts = anatomy(model)
        with torch.random.fork_rng():
            runs = [_timed(model, parts, inputs) for _ in range(_TIMED_PASSES + 1)][1:]
        model.zero_grad(set_to_none=True)
        each = [median(column) for column in zip(*runs, strict=True)]
        found = [Costs(each[0], tuple(each[1:-1]), each[-1])]
    if dist.is_initialized():
        dist.broadcast_object_list(found, src=0)
    assert found[0] is not None
    return found[0]


def _timed(model: nn.Module, parts: Anatomy, inputs: Mapping[str, Tensor]) -> list[float]:
    """Seconds of the entrance, of each block, and of the exit."""
    blocks = list(model.get_submodule(parts.blocks).children())
    forward: list[float] = []
    backward: dict[int, float] = {}

    def enter(number: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        forward.append(_now())
        first_of(args, kwargs).register_hook(partial(leave, number))

    def leave(number: int, _: Tensor) -> None:
        backward[number] = _now()

    def behind(_: nn.Module, __: object, output: Any) -> None:
        forward.append(_now())
        hidden = output if isinstance(output, Tensor) else output[0]
        hidden.register_hook(partial(leave, len(blocks)))

    hooks = [
        block.register_forward_pre_hook(partial(enter, number), with_kwargs=True)
        for number, block in enumerate(blocks)
    ]
    hooks.append(blocks[-1].register_forward_hook(behind))
    try:
        start = _now()
        output = model(**inputs)
        value = output if isinstance(output, Tensor) else output[0]
        turn = _now()
        value.float().mean().backward()
        end = _now()
    finally:
        for hook in hooks:
            hook.remove()
    ahead = [start, *forward, turn]
    back = [end, *(backward[number] for number in range(len(blocks) + 1)), turn]
    return [(ahead[i + 1] - ahead[i]) + (back[i] - back[i + 1]) for i in range(len(blocks) + 2)]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
