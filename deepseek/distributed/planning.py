"""What a layout costs, told before it runs: bytes on the wire and the pipeline's idle time."""

from types import SimpleNamespace
from typing import Any, cast

from deepseek.distributed.layout import SHARDED, Layout, Schedule, Strategy, Wire
from deepseek.distributed.schedules import SCHEDULES, stage_count

__all__ = ["bubble", "wire_bytes"]

# Bytes of a gradient's value against fp32; int8 has a scale of four bytes for 256 values.
_WIRE_SHARE: dict[Wire, float] = {"fp32": 1.0, "bf16": 0.5, "int8": (1 + 4 / 256) / 4}


def wire_bytes(
    parameter_bytes: float,
    layout: Layout,
    strategy: Strategy,
    wire: Wire = "fp32",
    *,
    micro_batches: int = 1,
    schedule: Schedule = "interleaved",
) -> float:
    """Bytes that a process sends in a step for parameters and gradients, without activations.

    The benchmark ``wire_bytes.py`` counts the same within 1 %, on gloo.

    Args:
        parameter_bytes: What the parameters of one stage take in fp32.
        layout: How processes are laid out.
        strategy: What is sharded.
        wire: In which precision gradients travel.
        micro_batches: Accumulated ones, or those of a pipeline: ``full`` and ``hybrid`` gather
            parameters anew for each.
        schedule: Of a pipeline.
    """
    replicas, shards = layout.replicas, layout.shards
    around = (shards - 1) / shards
    if strategy not in SHARDED:
        passes = 3 if strategy == "optimizer" else 2  # reduce, spread; spread new parameters
        return parameter_bytes * passes * (replicas - 1) / replicas
    gathers = 2 * micro_batches
    if layout.stages > 1:  # those of a step's first pass and of its backward passes
        gathers = 1 + micro_batches
    if strategy == "gradient" or (layout.stages > 1 and SCHEDULES[schedule].splits_backward):
        gathers = 1
    across = 2 * (replicas - 1) / replicas / shards
    return parameter_bytes * (around * (gathers + _WIRE_SHARE[wire]) + across)


def bubble(schedule: Schedule, stages: int, micro_batches: int, chunks: int = 1) -> float:
    """Share of the time that a process of a pipeline waits, by simulating the schedule.

    Forward passes, backward passes to inputs and those to weights take one unit each, exchanges
    nothing, and all stages cost the same.

    Args:
        schedule: The order of passes.
        stages: Processes in a row.
        micro_batches: Of a step.
        chunks: Parts of a process, for the looped schedules.
    """
    orders = _orders(schedule, stages, micro_batches, chunks)
    total = stage_count(schedule, stages, chunks)
    finish: dict[tuple[str, int, int], float] = {}
    clock = dict.fromkeys(orders, 0.0)
    busy = dict.fromkeys(orders, 0.0)
    left = {rank: list(order) for rank, order in orders.items()}
    while any(left.values()):
        done = len(finish)
        for rank, order in left.items():
            while order and (start := _ready(order[0], finish, total)) is not None:
                kind, part, number, cost = order.pop(0)
                clock[rank] = max(clock[rank], start) + cost
                busy[rank] += cost
                finish[kind, part, number] = clock[rank]
        assert len(finish) > done, "a schedule in which everybody waits"
    return 1 - sum(busy.values()) / (len(orders) * max(clock.values()))


_Action = tuple[str, int, int, float]  # kind, part of the model, micro-batch, cost

_COST = {"F": 1.0, "B": 2.0, "I": 1.0, "W": 1.0}


def _ready(action: _Action, finish: dict[tuple[str, int, int], float], total: int) -> float | None:
    """When all that a pass waits for is done; None while that is not known."""
    kind, part, number, _ = action
    needs: list[tuple[str, int, int]] = []
    if kind == "F" and part > 0:
        needs = [("F", part - 1, number)]
    elif kind in "BI":
        after = "B" if ("B", part + 1, number) in finish else "I"
        needs = [("F", part, number)] + ([(after, part + 1, number)] if part < total - 1 else [])
    elif kind == "W":
        needs = [("I", part, number)]
    times = [finish.get(need) for need in needs]
    return None if None in times else max(cast("list[float]", times), default=0.0)


def _orders(
    schedule: Schedule, stages: int, micro_batches: int, chunks: int
) -> dict[int, list[_Action]]:
    """What each process does, in its order."""
    from torch.distributed.pipelining.schedules import get_schedule_class

    # As printed by torch 2.13, the last process of 1f1b runs a backward pass too early; with one
    # part a process, the interleaved order is the same and right.
    kind = SCHEDULES["interleaved" if schedule == "1f1b" else schedule]
    total = stage_count(schedule, stages, chunks)
    # The schedule asks its stages for numbers only.
    own = [
        SimpleNamespace(
            group_size=stages, group_rank=0, num_stages=total, stage_index=index, submod=None,
            is_first=index == 0, is_last=index == total - 1, group=None,
        )
        for index in range(total // stages)
    ]  # fmt: skip
    make = cast("Any", get_schedule_class(kind.torch_name))
    made = make(own if kind.looped else own[0], micro_batches, loss_fn=lambda *_: None)
    return {
        rank: [plain for action in order if action is not None for plain in _plain(action)]
        for rank, order in made.pipeline_order.items()
    }


def _plain(action: Any) -> list[_Action]:
    if action.sub_actions:
        return [plain for part in action.sub_actions for plain in _plain(part)]
    kind = action.computation_type.value
    if kind not in _COST:
        return []
    return [(kind, action.stage_index, action.microbatch_index, _COST[kind])]
