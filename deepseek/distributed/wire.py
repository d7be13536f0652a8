"""How gradients travel to the shard that keeps them: every process sends each other one its part.

gloo's own reduce-scatter sends as much as an all-reduce. Sending every process its part, all to
all, and adding up there sends half of that, and the parts can travel in fewer bits while the sum
is always taken in fp32.

bf16 halves the bytes. int8 quarters them: each block of 256 values has a scale, and what rounding
takes away is added to the next step's gradient (error feedback, Seide et al. 2014, "1-Bit
Stochastic Gradient Descent"), so that it is late, not lost. That remainder is state: it takes as
much memory as a gradient in fp32, and an exact resume must restore it.

    W processes of the group, N values of a part, B values of a block
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from deepseek.distributed.layout import Wire

__all__ = ["AllToAll", "load_wire_state", "set_wire", "wire_state"]

_BLOCK = 256
_LARGEST = 127


def _send(parts: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Exchange rows: row i goes to process i. Shape [W, ...] both ways."""
    received = torch.empty_like(parts)
    dist.all_to_all_single(received, parts, group=group)
    return received


def _fp32(parts: Tensor, _: Tensor | None, group: dist.ProcessGroup) -> Tensor:
    return _send(parts, group)


def _bf16(parts: Tensor, _: Tensor | None, group: dist.ProcessGroup) -> Tensor:
    return _send(parts.bfloat16(), group).float()


def _int8(parts: Tensor, late: Tensor | None, group: dist.ProcessGroup) -> Tensor:
    assert late is not None
    width, count = parts.shape
    due = parts + late
    blocks = nn.functional.pad(due, (0, -count % _BLOCK)).view(width, -1, _BLOCK)  # [W, N/B, B]
    scales = blocks.abs().amax(dim=-1, keepdim=True) / _LARGEST
    codes = (blocks / scales.clamp_min(torch.finfo(torch.float32).tiny)).round().to(torch.int8)
    late.copy_(due - _decode(codes, scales, count))
    # One exchange, not two: the scales travel as the last bytes of each row.
    row = torch.cat([codes.flatten(1).view(torch.uint8), scales.flatten(1).view(torch.uint8)], 1)
    received = _send(row, group)
    codes = received[:, : codes[0].numel()].view(torch.int8).view_as(codes)
    scales = received[:, codes[0].numel() :].contiguous().view(torch.float32).view_as(scales)
    return _decode(codes, scales, count)


def _decode(codes: Tensor, scales: Tensor, count: int) -> Tensor:
    return (codes * scales).flatten(1)[:, :count]


_EXCHANGES: dict[Wire, Callable[[Tensor, Tensor | None, dist.ProcessGroup], Tensor]] = {
    "fp32": _fp32,
    "bf16": _bf16,
    "int8": _int8,
}


@dataclass(eq=False)
class AllToAll:
    """FSDP's reduce-scatter by an all-to-all exchange and a sum in fp32.

    Attributes:
        wire: In which precision parts travel.
        late: With int8, what earlier steps have not sent yet, [W, N]; the own part is never
            sent and owes nothing.
    """

    wire: Wire
    late: Tensor | None = field(default=None, init=False)

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for one exchange."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: dist.ReduceOp | dist.ReduceOp.RedOpType,
        *,
        async_op: bool = False,
    ) -> None:
        """Reduce ``input_tensor`` [W * N] into this process's ``output_tensor`` [N]."""
        assert not async_op
        parts = input_tensor.view(group.size(), -1)
        if self.wire == "int8" and self.late is None:
            self.late = torch.zeros_like(parts, dtype=torch.float32)
        received = _EXCHANGES[self.wire](parts.float(), self.late, group)
        received[group.rank()] = parts[group.rank()]
        if self.late is not None:
            self.late[group.rank()] = 0
        output_tensor.copy_(received.sum(dim=0))
        if op == dist.ReduceOp.AVG:
            output_tensor /= group.size()


_EXCHANGE_OF: WeakKeyDictionary[nn.Module, AllToAll] = WeakKeyDictionary()


def set_wire(module: nn.Module, wire: Wire) -> None:
    """Let every part of a module that ``fully_shard`` prepared exchange gradients so."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            exchange = _EXCHANGE_OF[part] = AllToAll(wire)
            part.set_custom_reduce_scatter(cast("Any", exchange))


def wire_state(module: nn.Module) -> dict[str, Tensor]:
    """What int8 exchanges still owe, by the module's name, once a step was made.

    It belongs in a checkpoint that must resume exactly: one's own for each process, valid in the
    same layout only. The tensors are the live ones.
    """
    exchanges = {name: _EXCHANGE_OF.get(part) for name, part in module.named_modules()}
    return {
        name: exchange.late
        for name, exchange in exchanges.items()
        if exchange is not None and exchange.late is not None
    }


def load_wire_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Restore what :func:`wire_state` returned, before the first step."""
    for name, part in module.named_modules():
        exchange = _EXCHANGE_OF.get(part)
        if exchange is not None and name in state:
            exchange.late = state[name].clone()
